"""Which instant a partition stands for."""

import datetime as dt

import pandas as pd
import pytest

from assets.publishing.days import (
    DAILY,
    FIRST_DAY,
    DayNotReached,
    day_as_of,
    days_as_of,
    end_of,
    not_closed,
)

NOON = pd.Timestamp("2026-03-10T12:00:00.000001Z")


def test_today_is_as_of_the_extract() -> None:
    day = day_as_of(dt.date(2026, 3, 10), NOON)
    assert day.snapshot_at == NOON


def test_a_past_day_is_as_of_its_end() -> None:
    day = day_as_of(dt.date(2026, 3, 9), NOON)
    assert day.snapshot_at == pd.Timestamp("2026-03-10T00:00:00Z")
    assert day.extracted_at == NOON


def test_a_day_read_right_after_its_end_is_closed() -> None:
    midnight = pd.Timestamp("2026-03-10T00:00:00Z")
    assert day_as_of(dt.date(2026, 3, 9), midnight).snapshot_at == midnight


def test_a_reading_at_midnight_sees_nothing_of_the_day_that_begins() -> None:
    midnight = pd.Timestamp("2026-03-10T00:00:00Z")
    with pytest.raises(DayNotReached, match="2026-03-10 had not begun"):
        day_as_of(dt.date(2026, 3, 10), midnight)

    first_instant = midnight + pd.Timedelta(1, "us")
    assert day_as_of(dt.date(2026, 3, 10), first_instant).snapshot_at == first_instant


def test_today_is_a_partition_from_its_first_instant_utc() -> None:
    midnight = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    before = DAILY.get_partition_keys(midnight - dt.timedelta(microseconds=1))
    after = DAILY.get_partition_keys(midnight)
    assert (before[0], before[-1]) == (FIRST_DAY, "2026-03-09")
    assert after[-1] == "2026-03-10"


def test_a_day_that_has_not_begun_is_refused() -> None:
    with pytest.raises(DayNotReached, match="2026-03-11 had not begun"):
        day_as_of(dt.date(2026, 3, 11), NOON)


def test_the_days_of_a_run_come_in_order() -> None:
    days = days_as_of(["2026-03-09", "2026-02-28"], NOON)
    assert [day.date.isoformat() for day in days] == ["2026-02-28", "2026-03-09"]


def test_a_day_that_is_over_by_our_clock_alone_is_named() -> None:
    two_to_midnight = pd.Timestamp("2026-03-09T23:58:00Z")
    days = days_as_of(["2026-03-08", "2026-03-09"], two_to_midnight)
    midnight = end_of(dt.date(2026, 3, 9))

    assert not_closed(days, midnight - pd.Timedelta(1, "us")) is None
    reason = not_closed(days, midnight)
    assert reason is not None
    assert reason.startswith("2026-03-09 is over by our clock")
    assert "2026-03-09 23:58:00 UTC" in reason


def test_a_day_read_at_its_end_is_closed_whatever_our_clock_says() -> None:
    days = days_as_of(["2026-03-09"], pd.Timestamp("2026-03-10T00:00:00Z"))
    assert not_closed(days, pd.Timestamp("2026-04-01T00:00:00Z")) is None
