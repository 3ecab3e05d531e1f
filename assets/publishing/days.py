"""The days that the dated datasets are divided into, and the instant that each stands for."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
import pandas as pd

from assets.publishing.instants import minute

FIRST_DAY = "2024-01-01"

# Today's partition exists while the day lasts, so that it can be published every few minutes.
DAILY = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1, timezone="UTC")


class DayNotReached(Exception):
    """A day was asked for that had not begun when the fleet database was read."""


@dataclass(frozen=True)
class Day:
    """One day (UTC) of a dated dataset.

    Attributes:
        date: the partition.
        snapshot_at: T, the instant that the partition's rows describe.
        extracted_at: when the source tables were read.
    """

    date: dt.date
    snapshot_at: pd.Timestamp
    extracted_at: pd.Timestamp


def end_of(date: dt.date) -> pd.Timestamp:
    """The first instant (UTC) after the day."""
    return pd.Timestamp(date, tz="UTC").as_unit("us") + pd.Timedelta(1, "D")


def day_as_of(date: dt.date, extracted_at: pd.Timestamp) -> Day:
    """The day as the tables show it: whole if it was over when they were read, else up to then.

    Raises:
        DayNotReached: the tables were read before the day began.
    """
    if pd.Timestamp(date, tz="UTC") >= extracted_at:
        raise DayNotReached(
            f"{date} had not begun when the fleet database was read ({minute(extracted_at)} "
            "UTC). Choose that day or an earlier one."
        )
    return Day(date, min(end_of(date), extracted_at), extracted_at)


def days_as_of(partition_keys: Sequence[str], extracted_at: pd.Timestamp) -> list[Day]:
    """The days of a run's partitions, in order."""
    return [day_as_of(dt.date.fromisoformat(key), extracted_at) for key in sorted(partition_keys)]


def not_closed(days: Sequence[Day], now: pd.Timestamp) -> str | None:
    """Why days that are over by our clock can't be closed, in words; None where all can.

    Args:
        days: as of one reading of the fleet database.
        now: by our clock.
    """
    late = [day for day in days if day.snapshot_at < end_of(day.date) <= now]
    if not late:
        return None
    [last] = late[-1:]
    return (
        f"{', '.join(str(day.date) for day in late)} is over by our clock, but by the fleet "
        f"database's it was {last.snapshot_at:%Y-%m-%d %H:%M:%S} UTC when it was read: the day is "
        "published as of then and is not closed. It is closed by a run that reads the database "
        "after its midnight."
    )
