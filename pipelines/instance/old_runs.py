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
from sqlalchemy import and_, select

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

    Raises:
        dg.DagsterInvariantViolationError: the storage is none of Dagster's SQL storages.
    """
    deadline = time.monotonic() + patience.total_seconds()
    events = _events_of(instance)
    checks = _checks_known(events)
    shown = _runs_with_newest_materializations(instance) | _runs_with_newest_results(events, checks)
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
        if _is_recent(record, now, failed_kept) or run_id in shown:
            kept += 1
        else:
            _remove(instance, run_id, checks)
            removed += 1
    if isinstance(events, SqliteEventLogStorage):
        _give_back_space(events)
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


def _checks_known(events: SqlEventLogStorage) -> list[dg.AssetCheckKey]:
    """Every check that was ever judged."""
    table = AssetCheckExecutionsTable
    with events.index_connection() as connection:
        found = connection.execute(select(table.c.asset_key, table.c.check_name).distinct()).all()
    keys = [(dg.AssetKey.from_db_string(asset), name) for asset, name in found]
    return [dg.AssetCheckKey(asset, name) for asset, name in keys if asset is not None]


def _runs_with_newest_results(
    events: SqlEventLogStorage, checks: Iterable[dg.AssetCheckKey]
) -> set[str]:
    """The runs that hold the newest result of any check; those that did not get to it have none."""
    newest = (
        events.get_asset_check_execution_history(check, limit=1, status=_JUDGED) for check in checks
    )
    return {execution.run_id for found in newest for execution in found}


def _remove(instance: dg.DagsterInstance, run_id: str, checks: Iterable[dg.AssetCheckKey]) -> None:
    """Removes all that is recorded of a run.

    What `instance.delete_run` does, and what that leaves behind (dagster 1.13): results of checks,
    the file of the run in SQLite, its output. The run itself goes last, so that what is killed in
    between is still listed.
    """
    events = _events_of(instance)
    table = AssetCheckExecutionsTable
    with events.index_connection() as connection:
        for check in checks:
            # By all three, because the index begins with the asset and the check.
            of_the_run = and_(
                table.c.asset_key == check.asset_key.to_string(),
                table.c.check_name == check.name,
                table.c.run_id == run_id,
            )
            connection.execute(table.delete().where(of_the_run))
        events.delete_events_for_run(connection, run_id)
    events.free_concurrency_slots_for_run(run_id)
    if isinstance(events, SqliteEventLogStorage):
        shard = Path(events.path_for_shard(run_id))
        for file in (shard, *(shard.with_name(f"{shard.name}-{part}") for part in ("wal", "shm"))):
            file.unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.run_storage.delete_run(run_id)


def _give_back_space(events: SqliteEventLogStorage) -> None:
    """Makes the SQLite files smaller that are mostly empty, as after years without removal.

    PostgreSQL's autovacuum makes room for new rows by itself.
    """
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


def _events_of(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    events = instance.event_log_storage
    if not isinstance(events, SqlEventLogStorage):
        raise dg.DagsterInvariantViolationError(
            f"Runs are removed from Dagster's SQL storages only, not from {type(events).__name__}."
        )
    return events
