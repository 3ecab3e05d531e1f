"""Which of Dagster's records of old runs may go, and taking them away.

Dagster keeps every run for ever, and with it what the run materialized and judged. Deleting a run
deletes these too, so a run stays as long as it holds what Dagster shows for an asset, a day or a
check.

Belongs here: the records of runs, whichever storage they are in. Does not belong here: when they
are removed (`pipelines.schedules`), and how long ticks are kept (`retention` in `dagster.yaml`).
"""

import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, RunRecord
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME

from pipelines.instance.runs import COMMAND_TAG

SHOWN_WHOLE = dt.timedelta(days=1)
"""How long every run stays, for whoever looks at what happened today."""

_FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_JUDGED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}

_WORTH_GIVING_BACK = 50_000_000
"""Bytes: what is free within a file is used again, so that only a backlog is worth a copy of it."""


@dataclass(frozen=True)
class Removal:
    """What became of the old runs.

    Attributes:
        removed: runs that are gone.
        kept: finished runs of ours that stay.
        is_complete: whether every run was looked at; else the time was over.
    """

    removed: int
    kept: int
    is_complete: bool


def is_of_location(run: dg.DagsterRun, location: str | None) -> bool:
    """Whether a run is of this project, where a Dagster instance serves several.

    Args:
        run: any run.
        location: the name of our code location; None where it is not known.
    """
    origin = run.remote_job_origin
    if origin is None:
        # Of a command, ours or of another project with a job of the same name.
        return COMMAND_TAG in run.tags
    return location == origin.repository_origin.code_location_origin.location_name


def remove_old_runs(
    instance: dg.DagsterInstance,
    is_ours: Callable[[dg.DagsterRun], bool],
    *,
    now: dt.datetime,
    failed_kept: dt.timedelta,
    patience: dt.timedelta,
) -> Removal:
    """Removes the finished runs that later ones have replaced, newest first.

    A run is replaced when none of its materializations is the newest of its asset and partition,
    and none of its results the newest of a check. What is removed in part, because the process was
    killed, is still listed as a run, and removed by the next call.

    Args:
        instance: whose runs.
        is_ours: whether a run may be removed at all.
        now: as of when; runs that ended less than `SHOWN_WHOLE` before stay.
        failed_kept: how long runs that failed or were canceled stay whatever replaced them.
        patience: after which no further run is looked at.
    """
    deadline = time.monotonic() + patience.total_seconds()
    materialized = _runs_with_newest_materializations(instance)
    judged = _NewestResults(instance)
    removed = kept = 0
    is_complete = True
    for run_id in instance.get_run_ids(dg.RunsFilter(statuses=_FINISHED)):
        if time.monotonic() > deadline:
            is_complete = False
            break
        record = instance.get_run_record_by_id(run_id)
        # Somebody else may have deleted it since.
        if record is None or not is_ours(record.dagster_run):
            continue
        if _is_recent(record, now, failed_kept) or run_id in materialized:
            kept += 1
            continue
        checks = _checks_of(instance, run_id)
        if any(judged.in_run(check) == run_id for check in checks):
            kept += 1
        else:
            _remove(instance, run_id, checks)
            removed += 1
    _give_back_space(instance)
    return Removal(removed, kept, is_complete)


def _is_recent(record: RunRecord, now: dt.datetime, failed_kept: dt.timedelta) -> bool:
    succeeded = record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    stays = SHOWN_WHOLE if succeeded else max(SHOWN_WHOLE, failed_kept)
    # One that was terminated before it started has no end.
    ended = record.end_time or record.update_timestamp.replace(tzinfo=dt.UTC).timestamp()
    return now.timestamp() - ended < stays.total_seconds()


def _runs_with_newest_materializations(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest materialization of any asset and partition."""
    runs: set[str] = set()
    for key in instance.get_asset_keys():
        # Without what the events say, of which there may be gigabytes. The newest comes first.
        events = instance.event_log_storage.get_asset_event_summary_records(
            DagsterEventType.ASSET_MATERIALIZATION, asset_key=key
        )
        by_partition: dict[str | None, str | None] = {}
        for event in events:
            by_partition.setdefault(event.partition, event.run_id)
        runs.update(run_id for run_id in by_partition.values() if run_id is not None)
    return runs


class _NewestResults:
    """Which runs hold the newest results of checks; asks once for each check."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._runs: dict[dg.AssetCheckKey, str | None] = {}

    def in_run(self, check: dg.AssetCheckKey) -> str | None:
        """The run with the newest result of a check; None where there is no result."""
        if check not in self._runs:
            found = self._instance.event_log_storage.get_asset_check_execution_history(
                check, limit=1, status=_JUDGED
            )
            self._runs[check] = found[0].run_id if found else None
        return self._runs[check]


def _checks_of(instance: dg.DagsterInstance, run_id: str) -> set[dg.AssetCheckKey]:
    """The checks that a run was to judge, whether it did or not."""
    records = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    ).records
    planned = [record.event_log_entry.get_dagster_event() for record in records]
    return {event.asset_check_planned_data.asset_check_key for event in planned}


def _remove(instance: dg.DagsterInstance, run_id: str, checks: Iterable[dg.AssetCheckKey]) -> None:
    """Removes all that is recorded of a run.

    What `instance.delete_run` does, in the other order, so that one that is killed in between
    leaves a run that is still listed; and what that leaves behind (dagster 1.13).
    """
    events = instance.event_log_storage
    if isinstance(events, SqlEventLogStorage):
        # Each holds a copy of its event: more than a gigabyte a year.
        table = AssetCheckExecutionsTable
        with events.index_connection() as connection:
            for check in checks:
                # All three, because the index begins with the asset and the check.
                of_the_run = (
                    (table.c.asset_key == check.asset_key.to_string())
                    & (table.c.check_name == check.name)
                    & (table.c.run_id == run_id)
                )
                connection.execute(table.delete().where(of_the_run))
    events.delete_events(run_id)
    if isinstance(events, SqliteEventLogStorage):
        # With all its rows deleted, the file is as large as before.
        shard = Path(events.path_for_shard(run_id))
        for file in (shard, *(shard.with_name(f"{shard.name}-{part}") for part in ("wal", "shm"))):
            file.unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.run_storage.delete_run(run_id)


def _give_back_space(instance: dg.DagsterInstance) -> None:
    """Makes the SQLite files smaller that are mostly empty, as after years without removal.

    PostgreSQL's autovacuum makes room for new rows by itself.
    """
    events = instance.event_log_storage
    if not isinstance(events, SqliteEventLogStorage):
        return
    index = Path(events.path_for_shard(INDEX_SHARD_NAME))
    for file in (index, index.parents[1] / "runs.db"):
        # Where somebody else writes all the time, or the disk is too full for a copy: next time.
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(file, timeout=30)) as connection,
        ):
            [(free,), (pages,), (size,)] = [
                connection.execute(f"PRAGMA {asked}").fetchone()
                for asked in ("freelist_count", "page_count", "page_size")
            ]
            if 2 * free > pages and free * size > _WORTH_GIVING_BACK:
                connection.execute("VACUUM")
