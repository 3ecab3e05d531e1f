"""The integers that stand for text and instants, however pandas keeps the column."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.encoding import (
    NOTHING,
    TEXT,
    find_text,
    instant_microseconds,
    microseconds,
    text_array,
    text_codes,
    without_blank,
)

VALUES = ["b", None, "a", "b"]
IN_CHUNKS = pa.chunked_array([VALUES[:2], VALUES[2:]], pa.string())


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pd.Series(VALUES, dtype="str"), id="text"),
        pytest.param(pd.Series(VALUES, dtype="category"), id="category"),
        pytest.param(pd.Series(IN_CHUNKS, dtype=pd.ArrowDtype(pa.string())), id="chunks"),
    ],
)
def test_texts_are_the_same_however_they_are_kept(column: "pd.Series[Any]") -> None:
    codes, values = text_codes(column)

    assert values.type == TEXT
    assert [values[code].as_py() if code != NOTHING else None for code in codes] == VALUES
    assert text_array(column).equals(pa.array(VALUES, TEXT))


def test_what_is_null_is_found_nowhere() -> None:
    among = pa.array(["a", "b", None], TEXT)

    assert find_text(pa.array(["b", None, "c"], TEXT), among).tolist() == [1, NOTHING, NOTHING]


def test_blank_text_is_no_key() -> None:
    texts = pa.chunked_array([["", " \t\n", "a", " a", None]], TEXT)

    assert without_blank(texts).to_pylist() == [None, None, "a", " a", None]


def test_an_instant_is_the_same_in_every_time_zone() -> None:
    instant = pd.Timestamp("2026-03-10T12:00:00.000001Z")
    elsewhere = instant.tz_convert("Pacific/Auckland")

    assert instant_microseconds(elsewhere) == instant_microseconds(instant)
    assert microseconds(pd.Series([elsewhere])).tolist() == [instant_microseconds(instant)]
