"""What a backfill leaves in the history database: a decision for each of its days."""

import datetime as dt
import random
from collections.abc import Callable

import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.replacement import Outcome, Version, decide_publication
from assets.schemas import DEPLOYMENT_HISTORY, Dataset
from assets.schemas.dictionary import DATE, Column, count, identifier
from pipelines.history.database import HistoryDatabase
from pipelines.history.replacement import end_of_day
from pipelines.history.schema import HistorySchema, HistoryTable
from tests.integration.history_rows import (
    DAY,
    HOUR,
    MORNING_AFTER,
    event,
    events,
    replace_day,
    rows_of,
    stored,
    stored_keys,
)

BY_DATE = Dataset(
    name="day_counts",
    grain="one row a day and flake",
    description="Counts.",
    # Within a day; over all days the date belongs to it.
    key=("flake_id",),
    order_by="flake_id",
    columns=(
        Column("snapshot_date", DATE, "The day."),
        identifier("flake_id", "The flake."),
        identifier("commit_id", "A record that the source may forget.", nullable=True),
        count("commits", "commits", "How many records."),
    ),
    record_counts=("commits",),
)


def some_rows(chance: random.Random, date: dt.date) -> pa.Table:
    return rows_of(
        BY_DATE,
        [
            {
                "snapshot_date": date,
                "flake_id": flake_id,
                "commit_id": chance.choice([None, 1, 1, 1, 1]),
                "commits": chance.choice([5, 5, 5, 6]),
            }
            for flake_id in range(3)
            if chance.random() < 0.9
        ],
    )


def test_a_backfill_decides_for_each_day(history: HistoryDatabase, url: str) -> None:
    dates = [DAY + dt.timedelta(days=number) for number in range(4)]
    new, newer, fuller, empty = dates
    replace_day(
        history,
        DEPLOYMENT_HISTORY,
        newer,
        events(event("a", 1, 1, newer)),
        extracted_at=MORNING_AFTER + 240 * HOUR,
    )
    replace_day(
        history,
        DEPLOYMENT_HISTORY,
        fuller,
        events(event("b", 1, 2, fuller), event("c", 1, 3, fuller)),
        extracted_at=MORNING_AFTER + 96 * HOUR,
    )
    backfill = events(event("d", 2, 4, new), event("e", 3, 5, new), event("b", 1, 2, fuller))
    outcomes = history.replace_days(
        DEPLOYMENT_HISTORY,
        dates[::-1],
        backfill,
        extracted_at=MORNING_AFTER + 120 * HOUR,
    )
    assert {date: outcome.decision for date, outcome in outcomes.items()} == {
        newer: Outcome.KEPT_NEWER,
        fuller: Outcome.KEPT_RICHER,
        empty: Outcome.PUBLISHED,
        new: Outcome.PUBLISHED,
    }
    assert [outcomes[date].rows for date in dates] == [2, 1, 2, 0]
    assert stored_keys(url) == [("d", 4), ("e", 5), ("a", 1), ("b", 2), ("c", 3)]


def test_decides_about_a_closed_day_as_about_its_file(
    new_database: Callable[..., str],
) -> None:
    """Days that lose or gain rows, records and counts, in a table by date."""
    url = new_database()
    schema = HistorySchema(tables=(HistoryTable(BY_DATE, time_column="snapshot_date"),))
    history = HistoryDatabase(SecretStr(url), schema)
    history.migrate()
    chance = random.Random(20261123)
    dates = [DAY - dt.timedelta(days=number) for number in range(200)]
    then = {date: some_rows(chance, date) for date in dates}
    now = {date: then[date] if chance.random() < 0.2 else some_rows(chance, date) for date in dates}
    closed_at, read_again_at = MORNING_AFTER, MORNING_AFTER + HOUR
    history.replace_days(BY_DATE, dates, pa.concat_tables(then.values()), extracted_at=closed_at)
    outcomes = history.replace_days(
        BY_DATE, dates, pa.concat_tables(now.values()), extracted_at=read_again_at
    )
    expected = {
        date: decide_publication(
            BY_DATE,
            Version(then[date], end_of_day(date), closed_at),
            Version(now[date], end_of_day(date), read_again_at),
        ).outcome
        for date in dates
    }
    assert {date: outcome.decision for date, outcome in outcomes.items()} == expected
    assert set(expected.values()) == {
        Outcome.PUBLISHED,
        Outcome.KEPT_UNCHANGED,
        Outcome.KEPT_RICHER,
    }
    left = [
        (now if outcomes[date].decision is Outcome.PUBLISHED else then)[date]
        for date in sorted(dates)
    ]
    assert stored(url, BY_DATE).equals(pa.concat_tables(left))
