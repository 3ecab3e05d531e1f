"""How the page writes names, numbers and spans of time."""

import pandas as pd
import pytest

from assets.page.flake_names import NO_FLAKE, flake_names
from assets.page.wording import (
    change,
    counted,
    grouped,
    percentage,
    short_hash,
    span,
)
from assets.publishing.instants import minute, utc_minute


def test_a_short_hash_is_never_longer_than_eight_characters() -> None:
    assert short_hash("0123456789abcdef") == "01234567"
    assert short_hash("\u202e\u202e\u202e") == r"\u202e\u"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "60 min"),
        (3_600, "1 h"),
        (47 * 3_600, "47 h"),
        (2 * 86_400, "2 days"),
        (3.24 * 86_400, "3.2 days"),
        (1_234 * 86_400, "1,234 days"),
        (-7_200, "\u22122 h"),
    ],
)
def test_a_span_has_the_unit_that_a_person_would_use(seconds: float, expected: str) -> None:
    assert span(seconds).replace("\xa0", " ") == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0 %"),
        (0.0001, "<1 %"),
        (0.5, "50 %"),
        (0.994, ">99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_percentage_is_0_or_100_only_when_it_is_exactly_that(share: float, expected: str) -> None:
    assert percentage(share).replace("\xa0", " ") == expected


def test_numbers_are_grouped_and_counted() -> None:
    assert [grouped(12_345), grouped(2.5), grouped(40.0)] == ["12,345", "2.5", "40"]
    assert [counted(1, "system"), counted(1_000, "system")] == ["1\xa0system", "1,000\xa0systems"]
    assert [change(3), change(-2), change(0)] == ["+3", "\u22122", "±0"]


def test_instants_are_written_in_utc_wherever_they_come_from() -> None:
    tokyo = pd.Timestamp("2026-11-23 01:30", tz="Asia/Tokyo")

    assert utc_minute(tokyo) == "2026-11-22 16:30 UTC"
    assert minute(tokyo.to_pydatetime()) == "2026-11-22 16:30"


def test_flakes_that_share_a_name_are_told_apart_by_their_id() -> None:
    frame = pd.DataFrame(
        {"flake_id": [1, 2, 3, 4], "flake_name": ["core", "core", "edge", None]}
    ).astype({"flake_id": "Int64"})

    names = flake_names([frame, None, frame])

    assert [names[flake_id] for flake_id in (1, 2, 3, 4, 99, None)] == [
        "core (flake 1)",
        "core (flake 2)",
        "edge",
        "flake 4",
        "flake 99",
        NO_FLAKE,
    ]
