"""What is published about one commit: whose it is, which systems have it, which have not.

Belongs here: putting the published files together and telling what follows from them. Does not
belong here: words for people; see `pipelines.commands.commit`.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.schemas import COMMIT_ROLLOUTS, DEPLOYMENTS, FLAKE_DEPLOYMENT_STATUS
from pipelines.store.published import (
    STATUS_DATASET,
    day_of,
    partition_files,
    read_columns,
    rows_of,
)

Row = dict[str, Any]

_STATUS_COLUMNS = (
    "hostname",
    "deployment_status",
    "unknown_reason",
    "behind_reason",
    "flake_id",
    "flake_name",
    "environment",
    "commits_behind",
    "current_commit_hash",
    "current_commit_timestamp",
    "snapshot_at",
)
_FOUND_COLUMNS = ("commit_hash", "commit_timestamp", "flake_id", "flake_name")
_RUNNING_COLUMNS = {
    "current_commit_hash": "commit_hash",
    "current_commit_timestamp": "commit_timestamp",
    "flake_id": "flake_id",
    "flake_name": "flake_name",
}


@dataclass(frozen=True)
class PublishedFleet:
    """The newest published files that tell of commits.

    Attributes:
        rollouts: `commit_rollouts`, each flake's commits together, the newest first.
        status: `system_deployment_status`, one row a system.
        flakes: `flake_deployment_status`, one row a flake.
        deployments: the files of `deployments`, oldest first.
    """

    rollouts: pa.Table
    status: pa.Table
    flakes: pa.Table
    deployments: Sequence[Path]


def published_fleet(reports_dir: Path) -> PublishedFleet:
    """Reads them.

    Raises:
        UnreadableReportsError: one is not published or can't be read.
    """

    def newest(dataset: str, columns: Sequence[str] | None = None) -> pa.Table:
        return read_columns(partition_files(reports_dir, dataset)[-1], columns)

    return PublishedFleet(
        rollouts=newest(COMMIT_ROLLOUTS.name),
        status=newest(STATUS_DATASET, _STATUS_COLUMNS),
        flakes=newest(FLAKE_DEPLOYMENT_STATUS.name),
        deployments=partition_files(reports_dir, DEPLOYMENTS.name),
    )


def commits_called(prefix: str, fleet: PublishedFleet) -> list[Row]:
    """The commits whose hash begins so.

    Returns:
        One row a commit of a flake: commit_hash, commit_timestamp, flake_id, flake_name; those on
        the branch first. A commit that was rewritten away, or is dated in the future, is known
        where a system runs it or was deployed to it on a published day.
    """
    of_rollouts = _beginning(fleet.rollouts, "commit_hash", prefix)
    found = rows_of(of_rollouts.select(_FOUND_COLUMNS))
    running = _beginning(fleet.status, "current_commit_hash", prefix)
    found += [
        {name: row[of] for of, name in _RUNNING_COLUMNS.items()}
        for row in rows_of(running)
        # Of another flake's commit the snapshot does not say whose it is.
        if row["unknown_reason"] != "flake_mismatch"
    ]
    if not found:
        for file in reversed(fleet.deployments):
            table = read_columns(file, _FOUND_COLUMNS)
            found = rows_of(_beginning(table, "commit_hash", prefix))
            if found:
                break
    return list({(row["flake_id"], row["commit_hash"]): row for row in reversed(found)}.values())


@dataclass(frozen=True)
class CommitRecord:
    """What is known of one commit.

    Attributes:
        commit: its row of `commit_rollouts`, or only what names it where it has none.
        is_on_branch: whether it has one.
        is_visible: whether it is dated before `snapshot_at`.
        snapshot_at: of the newest snapshot, ISO 8601.
        running: rows of the snapshot of the systems associated with its flake that run it or a
            later commit.
        missing: of the flake's other systems, most commits behind first; each has `reason` and
            `went_back`, which says that it had the commit, or a later one, on a published day.
        later: rows of `commit_rollouts` of the commits after it, the next first.
        flake: the row of its flake in `flake_deployment_status`; None where there is none.
    """

    commit: Row
    is_on_branch: bool
    is_visible: bool
    snapshot_at: str
    running: list[Row]
    missing: list[Row]
    later: list[Row]
    flake: Row | None


def commit_record(commit: Row, fleet: PublishedFleet) -> CommitRecord:
    """Puts together what is published about a commit of `commits_called`."""
    flake_id: int = commit["flake_id"]
    made_at: str = commit["commit_timestamp"]
    rollouts = _rollouts_of(fleet.rollouts, flake_id)
    places = {row["commit_hash"]: place for place, row in enumerate(rollouts)}
    its_place = places.get(commit["commit_hash"])

    def is_it_or_later(commit_hash: str, timestamp: str) -> bool:
        if its_place is not None and commit_hash in places:
            return places[commit_hash] <= its_place
        # Of two commits of which one is not on the branch only the instants are published.
        return commit_hash == commit["commit_hash"] or timestamp > made_at

    def runs_it(row: Row) -> bool:
        current: str | None = row["current_commit_hash"]
        return (
            current is not None
            and row["unknown_reason"] != "flake_mismatch"
            and is_it_or_later(current, row["current_commit_timestamp"])
        )

    systems = [row for row in rows_of(fleet.status) if row["flake_id"] == flake_id]
    missing = [row for row in systems if not runs_it(row)]
    had_it = {
        hostname
        for hostname, *deployed in _deployments_of(fleet.deployments, flake_id, made_at)
        if is_it_or_later(*deployed)
    }
    snapshot_at = rows_of(fleet.status.slice(0, 1))[0]["snapshot_at"]
    return CommitRecord(
        commit=commit if its_place is None else rollouts[its_place],
        is_on_branch=its_place is not None,
        is_visible=made_at < snapshot_at,
        snapshot_at=snapshot_at,
        running=[row for row in systems if runs_it(row)],
        missing=sorted(
            (
                {**row, "reason": _reason(row), "went_back": row["hostname"] in had_it}
                for row in missing
            ),
            key=lambda row: (-(row["commits_behind"] or 0), row["hostname"]),
        ),
        later=[] if its_place is None else rollouts[:its_place][::-1],
        flake=next((row for row in rows_of(fleet.flakes) if row["flake_id"] == flake_id), None),
    )


def _reason(system: Row) -> str:
    """Why a system does not run it, as far as the snapshot tells."""
    reason: str = system["behind_reason"] or system["unknown_reason"] or system["deployment_status"]
    return reason


def _rollouts_of(rollouts: pa.Table, flake_id: int) -> list[Row]:
    """The commits of a flake, which stand together, the newest first."""
    flake_ids = rollouts["flake_id"].to_pylist()
    if flake_id not in flake_ids:
        return []
    return rows_of(rollouts.slice(flake_ids.index(flake_id), flake_ids.count(flake_id)))


def _deployments_of(
    files: Sequence[Path], flake_id: int, since: str
) -> Iterator[tuple[str, str, str]]:
    """Hostname, commit_hash and commit_timestamp of a flake's deployments from a day on."""
    first_day = dt.datetime.fromisoformat(since).date()
    columns = ("flake_id", "hostname", "commit_hash", "commit_timestamp")
    for file in files:
        if day_of(file) >= first_day:
            for row in rows_of(read_columns(file, columns)):
                if row["flake_id"] == flake_id:
                    yield row["hostname"], row["commit_hash"], row["commit_timestamp"]


def _beginning(table: pa.Table, column: str, prefix: str) -> pa.Table:
    return table.filter(pc.starts_with(table[column], prefix))
