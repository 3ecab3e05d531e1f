"""Between pandas columns and the integer arrays that are sorted and searched.

Belongs here: the integers that stand for text, instants and nothing, and their way back into
columns. Does not belong here: ranges of these arrays and searches in them (`ranges`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

# As pandas keeps it. The smaller kind ends at 2 GB, the paths of some ten million derivations.
TEXT = pa.large_string()

NOTHING = -1
"""The code of a null, and of a value that a look-up does not find."""

# Instants and spans of time are counted in microseconds, instants since 1970 (UTC).
NEVER = int(np.iinfo(np.int64).max)
"""An instant that does not come: the end of what lasts, and when what has not happened happens."""
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_HOUR = 3600 * MICROSECONDS_PER_SECOND


def in_microseconds(span: "pd.Series[Any]") -> "pd.Series[float]":
    """A column of spans of time as numbers, null where there is none."""
    return pd.Series(np.asarray(span, "timedelta64[us]") / np.timedelta64(1, "us"), span.index)


def rows_at(frame: pd.DataFrame, labels: "Integers | pd.Series[int]") -> pd.DataFrame:
    """The rows of those labels in their order; nothing but nulls at `NOTHING`."""
    return frame.reindex(labels).reset_index(drop=True)


def category(codes: Integers, words: Sequence[str]) -> "pd.Categorical[str]":
    """A column of words by their place in an ordered vocabulary; null at `NOTHING`."""
    return pd.Categorical.from_codes(codes, pd.Index(words), ordered=True)


def text_chunks(column: "pd.Series[Any]") -> pa.ChunkedArray:
    """The column as Arrow text, whether it came plain or dictionary-encoded; nothing is copied."""
    array = pa.Array.from_pandas(column)
    chunks = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return chunks.cast(TEXT)


def text_array(column: "pd.Series[Any]") -> pa.Array:
    """The column as one Arrow array of text, whether it came plain or dictionary-encoded."""
    return text_chunks(column).combine_chunks()


def text_codes(column: "pd.Series[Any]") -> tuple[Integers, pa.Array]:
    """Codes of a column of text (`NOTHING` for null), and the distinct values that they index."""
    array = pa.Array.from_pandas(column)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return _without_nulls(array.indices), array.dictionary.cast(TEXT)


def without_blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null instead of a text that is empty or blank, which is no key."""
    is_blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
    return pc.if_else(is_blank, pa.scalar(None, TEXT), texts)


def find_text(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Integers:
    """The index of each value in `among`, `NOTHING` for null and for what is not there."""
    return _without_nulls(pc.index_in(values, value_set=among, skip_nulls=True))


def translate(codes: Integers, translation: Integers | Booleans) -> Integers:
    """Replaces each code by its translation; `NOTHING` stays `NOTHING`."""
    if len(translation) == 0:
        return np.full(len(codes), NOTHING, np.int64)
    return np.where(codes == NOTHING, NOTHING, translation[codes]).astype(np.int64, copy=False)


def microseconds(column: "pd.Series[Any]", missing: int = NEVER) -> Integers:
    """A column of instants as microseconds since 1970 (UTC)."""
    naive = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(naive), missing, naive.view(np.int64))


def instant_microseconds(instant: pd.Timestamp) -> int:
    """An instant as microseconds since 1970 (UTC)."""
    return int(np.datetime64(instant.tz_convert("UTC").tz_localize(None), "us").astype(np.int64))


def instants(values: Integers) -> "pd.Series[Any]":
    """Microseconds since 1970 as a column of instants in UTC, null where `NEVER`."""
    values = np.where(values == NEVER, np.iinfo(np.int64).min, values)
    return pd.Series(values.view("datetime64[us]")).dt.tz_localize("UTC")


def _without_nulls(codes: pa.Array | pa.ChunkedArray) -> Integers:
    filled = codes.cast(pa.int64()).fill_null(NOTHING)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.int64)
