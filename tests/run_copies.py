"""Copies of one real run in Dagster's storage, as if years of runs had been.

Belongs here: what the benchmark and the tests of the removal of old runs share. Does not belong
here: what should become of the copies.

A real run takes seconds, and a year has 35,000. A copy has the rows of the run that it is made of,
under another id, day and time, in the same tables and files.
"""

import datetime as dt
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

from pipelines.instance.tags import PARTITION_TAG

Row = dict[str, Any]

_AT = re.compile(r'(?<="timestamp": )\d+\.\d+')
_MATERIALIZATION = "ASSET_MATERIALIZATION"


@dataclass(frozen=True)
class RunCopy:
    """A run that never was.

    Attributes:
        day: that it is for.
        ended_at: when.
        failed: whether it failed, and materialized nothing.
        run_id: its own.
    """

    day: dt.date
    ended_at: dt.datetime
    failed: bool = False
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def copies_of_a_day(day: dt.date, *, each: dt.timedelta, failed: int = 0) -> list[RunCopy]:
    """The runs that the schedules start for a day, in order: those of the day, and its closing.

    Args:
        day: in UTC.
        each: the time between two of them.
        failed: how many of them fail; the last ones before midnight.
    """
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    runs = int(dt.timedelta(days=1) / each)
    ended = [midnight + each * number + dt.timedelta(seconds=15) for number in range(runs)]
    of_the_day = [
        RunCopy(day, at, failed=number >= runs - failed) for number, at in enumerate(ended)
    ]
    return [*of_the_day, RunCopy(day, midnight + dt.timedelta(days=1, minutes=5))]


class RunCopier:
    """Makes copies of the newest run of an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        events, runs = instance.event_log_storage, instance.run_storage
        assert isinstance(events, SqlEventLogStorage)
        assert isinstance(runs, SqlRunStorage)
        self._events, self._runs = events, runs
        [record] = instance.get_run_records(limit=1)
        self._run_id = record.dagster_run.run_id
        self._day = record.dagster_run.tags[PARTITION_TAG]
        assert record.end_time is not None
        self._ended = record.end_time
        with runs.connect() as connection:
            [self._run] = self._rows(connection, RunsTable)
            self._tags = self._rows(connection, RunTagsTable)
        with events.index_connection() as connection:
            self._index = self._rows(connection, SqlEventLogStorageTable)
            self._checks = self._rows(connection, AssetCheckExecutionsTable)
            ids = [row["id"] for row in self._index]
            tags = sa.select(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids))
            self._event_tags = [dict(row) for row in connection.execute(tags).mappings()]
            self._assets = [
                dict(row) for row in connection.execute(sa.select(AssetKeyTable)).mappings()
            ]
        with events.run_connection(self._run_id) as connection:
            self._shard = self._rows(connection, SqlEventLogStorageTable)

    def add(self, copies: Sequence[RunCopy]) -> None:
        """Adds copies to the storage; the last one that did not fail is the newest run."""
        with self._runs.connect() as connection:
            connection.execute(RunsTable.insert(), [self._run_of(copy) for copy in copies])
            connection.execute(
                RunTagsTable.insert(),
                [
                    self._changed(row, copy, "run_id", "value")
                    for copy in copies
                    for row in self._tags
                ],
            )
        with self._events.index_connection() as connection:
            for copy in copies:
                self._add_events(connection, copy)
            self._add_newest(connection, [copy for copy in copies if not copy.failed][-1])
        if isinstance(self._events, SqliteEventLogStorage):
            for copy in copies:
                self._add_shard(self._events, copy)

    def _rows(self, connection: sa.Connection, table: sa.Table) -> list[Row]:
        query = sa.select(table).where(table.c.run_id == self._run_id).order_by(table.c.id)
        return [dict(row) for row in connection.execute(query).mappings()]

    def _changed(self, row: Mapping[str, Any], copy: RunCopy, *texts: str) -> Row:
        changed = {name: value for name, value in row.items() if name != "id"}
        later = copy.ended_at.timestamp() - self._ended
        for name in texts:
            if changed[name] is not None:
                text = changed[name].replace(self._run_id, copy.run_id)
                text = text.replace(self._day, copy.day.isoformat())
                changed[name] = _AT.sub(lambda at: repr(float(at[0]) + later), text)
        for name, value in changed.items():
            if isinstance(value, dt.datetime):
                changed[name] = value + dt.timedelta(seconds=later)
        return changed

    def _run_of(self, copy: RunCopy) -> Row:
        row = self._changed(self._run, copy, "run_id", "run_body", "partition")
        row["end_time"] = copy.ended_at.timestamp()
        row["start_time"] = row["end_time"] + self._run["start_time"] - self._ended
        if copy.failed:
            row["status"] = dg.DagsterRunStatus.FAILURE.value
            row["run_body"] = row["run_body"].replace(
                '"DagsterRunStatus.SUCCESS"', '"DagsterRunStatus.FAILURE"'
            )
        return row

    def _events_of(self, rows: Sequence[Row], copy: RunCopy) -> Iterator[tuple[int, Row]]:
        """The events of a copy, each with the id of that which it is a copy of."""
        for row in rows:
            if not (copy.failed and row["dagster_event_type"] == _MATERIALIZATION):
                yield row["id"], self._changed(row, copy, "run_id", "event", "partition")

    def _add_events(self, connection: sa.Connection, copy: RunCopy) -> None:
        original_ids, events = zip(*self._events_of(self._index, copy), strict=True)
        inserting = SqlEventLogStorageTable.insert().returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        new_ids = connection.execute(inserting, list(events)).scalars()
        id_of = dict(zip(original_ids, new_ids, strict=True))
        if tags := [
            self._changed(row, copy, "value") | {"event_id": id_of[row["event_id"]]}
            for row in self._event_tags
            if row["event_id"] in id_of
        ]:
            connection.execute(AssetEventTagsTable.insert(), tags)
        checks = [self._changed(row, copy, "run_id", "evaluation_event") for row in self._checks]
        connection.execute(AssetCheckExecutionsTable.insert(), checks)

    def _add_newest(self, connection: sa.Connection, copy: RunCopy) -> None:
        for row in self._assets:
            changed = self._changed(row, copy, "last_materialization", "last_run_id")
            newest = {
                name: changed[name]
                for name in (
                    "last_materialization",
                    "last_run_id",
                    "last_materialization_timestamp",
                )
            }
            connection.execute(
                AssetKeyTable.update().where(AssetKeyTable.c.id == row["id"]).values(**newest)
            )

    def _add_shard(self, events: SqliteEventLogStorage, copy: RunCopy) -> None:
        file = Path(events.path_for_shard(copy.run_id))
        shutil.copyfile(events.path_for_shard(self._run_id), file)
        with closing(sqlite3.connect(file)) as connection:
            # It need not outlive a power cut.
            connection.execute("PRAGMA synchronous = OFF")
            kept = dict(self._events_of(self._shard, copy))
            connection.executemany(
                "UPDATE event_logs SET run_id = ?, event = ?, partition = ? WHERE id = ?",
                [(row["run_id"], row["event"], row["partition"], i) for i, row in kept.items()],
            )
            connection.executemany(
                "DELETE FROM event_logs WHERE id = ?",
                [(row["id"],) for row in self._shard if row["id"] not in kept],
            )
            connection.commit()
