"""A writer that replaces days without end, for tests to kill or to let overlap with others."""

import datetime as dt
from itertools import count
from multiprocessing.connection import Connection

import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.replacement import Outcome
from assets.schemas import DEPLOYMENT_HISTORY
from pipelines.history.database import HistoryDatabase
from tests.integration.history_rows import event, rows_of

DATES = [dt.date(2026, 11, 20) + dt.timedelta(days=number) for number in range(3)]


def extracted_at(version: int) -> dt.datetime:
    """Before the end of every day, so that a version may have fewer rows than the one before."""
    return dt.datetime(2026, 11, 20, tzinfo=dt.UTC) + dt.timedelta(seconds=version)


def row_count(version: int) -> int:
    return 100 + version % 100


def versioned_rows(date: dt.date, version: int) -> pa.Table:
    """A day of which every row says its version: as many rows as the version has."""
    return rows_of(
        DEPLOYMENT_HISTORY,
        [
            event(f"host-{number}", 1 + number / 60, number, date, commits_included=version)
            for number in range(row_count(version))
        ],
    )


def replace(history: HistoryDatabase, dates: list[dt.date], version: int) -> list[dt.date]:
    """Replaces days by a version; returns those that were taken."""
    outcomes = history.replace_days(
        DEPLOYMENT_HISTORY,
        dates,
        pa.concat_tables([versioned_rows(date, version) for date in dates]),
        extracted_at=extracted_at(version),
    )
    return [date for date in dates if outcomes[date].decision is Outcome.PUBLISHED]


def write_without_end(
    url: str, first_version: int, acknowledged: "Connection[tuple[dt.date, int], None]"
) -> None:
    """Replaces now one day, now all of them, and says each time what it was told to be kept."""
    history = HistoryDatabase(SecretStr(url))
    for version in count(first_version):
        dates = DATES if version % 4 == 0 else [DATES[version % 3]]
        replace(history, dates, version)
        for date in dates:
            acknowledged.send((date, version))
