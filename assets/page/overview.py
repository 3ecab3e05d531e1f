"""How many systems are in each status, and which flakes lag and by how much."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.page.evidence import (
    CURRENT_STATUSES,
    OldReading,
    inferred_quiet,
    is_of_old_reading,
    old_readings,
)
from assets.page.flake_names import FlakeNames
from assets.page.links import CommitLinks
from assets.page.wording import plain_records

ATTENTION_STATUSES = ("no_deployment", "unknown", "behind")


@dataclass(frozen=True)
class StatusCount:
    """How many systems are in one status.

    Attributes:
        status: one of `DEPLOYMENT_STATUSES`.
        systems: how many, at the snapshot.
        share: of all systems, 0 to 1; 0 in an empty fleet.
        change: difference from the previous snapshot, None without one.
        of_old_reading: how many of them are in it only as far as their repository was read.
    """

    status: str
    systems: int
    share: float
    change: int | None
    of_old_reading: int


@dataclass(frozen=True)
class FlakeLag:
    """How one flake's systems stand.

    Attributes:
        flake_id: the flake.
        flake: its label.
        systems: associated systems.
        counts: a `StatusCount` for each status, in triage order; without change.
        commits_behind: p50, p90 and greatest, None where no system has one.
        latest_commit_hash: None where the flake has no commit.
        latest_commit_url: its page at the forge, None where not known.
        latest_commit_age_seconds: at the snapshot.
        live_commits: distinct commits that its systems run.
        oldest_live_age_seconds: of the oldest of them; None where there is none.
        reading: None unless its feed is not current.
        inference: what can only be guessed of its feed, where nothing is recorded; or empty.
    """

    flake_id: int
    flake: str
    systems: int
    counts: tuple[StatusCount, ...]
    commits_behind: tuple[float, float, int] | None
    latest_commit_hash: str | None
    latest_commit_url: str | None
    latest_commit_age_seconds: float | None
    live_commits: int
    oldest_live_age_seconds: float | None
    reading: OldReading | None
    inference: str

    @property
    def up_to_date_share(self) -> float:
        """Share of its systems that are up to date."""
        return next(count.share for count in self.counts if count.status == "up_to_date")


def count_statuses(
    status: pd.DataFrame, previous_status: pd.DataFrame | None
) -> tuple[StatusCount, ...]:
    """Counts the systems in each status, in triage order, with the change since the last snapshot.

    Args:
        status: a snapshot of `system_deployment_status`.
        previous_status: the snapshot to compare with, or None.
    """
    now = _counts(status)
    before = None if previous_status is None else _counts(previous_status)
    of_old_reading = _counts(status[is_of_old_reading(status)])
    return tuple(
        StatusCount(
            name,
            now[name],
            now[name] / len(status) if len(status) else 0.0,
            None if before is None else now[name] - before[name],
            of_old_reading[name],
        )
        for name in DEPLOYMENT_STATUSES
    )


def _counts(status: pd.DataFrame) -> dict[str, int]:
    counts = status["deployment_status"].value_counts()
    return {name: int(counts.get(name, 0)) for name in DEPLOYMENT_STATUSES}


def lagging_flakes(
    flake_status: pd.DataFrame,
    quiet: pd.DataFrame | None,
    names: FlakeNames,
    links: CommitLinks,
    limit: int,
) -> list[FlakeLag]:
    """The flakes that have a system, those with most systems behind first.

    Args:
        flake_status: a snapshot of `flake_deployment_status`; its order is kept.
        quiet: its flakes that have gone quiet, or None where not computed.
        names: what to call the flakes.
        links: where their commits are shown.
        limit: at most so many.
    """
    with_systems = flake_status[flake_status["systems_total"] > 0]
    readings = old_readings(with_systems)
    inferences = inferred_quiet(with_systems, quiet)
    return [
        _flake_lag(
            record,
            names,
            links,
            readings.get(record["flake_id"]),
            inferences.get(record["flake_id"], ""),
        )
        for record in plain_records(with_systems.head(limit))
    ]


def flakes_without_systems(
    flake_status: pd.DataFrame, names: FlakeNames, limit: int
) -> tuple[list[str], int]:
    """The flakes that no system is associated with.

    Args:
        flake_status: a snapshot of `flake_deployment_status`; its order is kept.
        names: what to call the flakes.
        limit: at most so many are named.

    Returns:
        The labels of the first of them, and how many there are.
    """
    without = flake_status.loc[flake_status["systems_total"] == 0, "flake_id"]
    return [names[flake_id] for flake_id in without.head(limit)], len(without)


def _flake_lag(
    record: dict[str, Any],
    names: FlakeNames,
    links: CommitLinks,
    reading: OldReading | None,
    inference: str,
) -> FlakeLag:
    systems = int(record["systems_total"])
    age_hours = record["latest_commit_age_hours"]
    oldest = record["oldest_live_commit_timestamp"]
    counts = {name: int(record[f"systems_{name}"]) for name in DEPLOYMENT_STATUSES}
    behind = tuple(record[f"commits_behind_{statistic}"] for statistic in ("p50", "p90", "max"))
    return FlakeLag(
        flake_id=int(record["flake_id"]),
        flake=names[record["flake_id"]],
        systems=systems,
        counts=tuple(
            StatusCount(
                name,
                count,
                count / systems,
                None,
                count if reading and name in CURRENT_STATUSES else 0,
            )
            for name, count in counts.items()
        ),
        commits_behind=None if None in behind else (behind[0], behind[1], int(behind[2])),
        latest_commit_hash=record["latest_commit_hash"],
        latest_commit_url=links.commit(record["flake_id"], record["latest_commit_hash"]),
        latest_commit_age_seconds=None if age_hours is None else age_hours * 3600,
        live_commits=int(record["live_commit_count"]),
        oldest_live_age_seconds=None
        if oldest is None
        else (record["snapshot_at"] - oldest).total_seconds(),
        reading=reading,
        inference=inference,
    )
