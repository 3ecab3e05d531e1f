"""A plain reading of the contract's commit_rollouts."""

from collections import defaultdict
from datetime import datetime
from itertools import pairwise

from tests.plain_reading.rows import Commit, Fleet
from tests.plain_reading.status import Standing, hosts, standing
from tests.plain_reading.words import (
    Row,
    commit_order,
    day_described,
    flake_name,
    on_branch,
    visible_commits,
)


def commit_rollouts(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The rows of all visible commits on the branch.

    By flake name and id, then the newest commit first.
    """
    standings = [standing(fleet, hostname, snapshot_at) for hostname in hosts(fleet, snapshot_at)]
    return [
        row
        for flake_id in flakes_in_order(fleet)
        for row in rollouts_among(
            fleet, flake_id, [host for host in standings if host.flake_id == flake_id], snapshot_at
        )
    ]


def commit_rollouts_by_environment(
    fleet: Fleet, snapshot_at: datetime, newest: int = 500
) -> list[Row]:
    """The rows of each flake's newest commits, and under each its environments by name."""
    standings = [standing(fleet, hostname, snapshot_at) for hostname in hosts(fleet, snapshot_at)]
    rows: list[Row] = []
    for flake_id in flakes_in_order(fleet):
        systems: dict[str | None, list[Standing]] = defaultdict(list)
        for host in standings:
            if host.flake_id == flake_id:
                systems[environment_of(fleet, host)].append(host)
        of_environments = [
            [
                {**row, "environment": name}
                for row in rollouts_among(fleet, flake_id, systems[name], snapshot_at)[:newest]
            ]
            for name in sorted(systems, key=lambda name: (name is None, name or ""))
        ]
        for of_commit in zip(*of_environments, strict=True):
            rows.extend(of_commit)
    return rows


def rollouts_among(
    fleet: Fleet, flake_id: int, eligible: list[Standing], snapshot_at: datetime
) -> list[Row]:
    """How far the flake's commits got among some of its systems, the newest commit first."""
    ran = {host.hostname: commits_run(fleet, host.hostname, snapshot_at) for host in eligible}
    rows = []
    for commit in reversed(on_branch(visible_commits(fleet, flake_id, snapshot_at))):
        reached = sorted(
            min(since)
            for since in (
                [at for at, run in ran[host.hostname] if is_at_or_past(run, commit)]
                for host in eligible
            )
            if since
        )
        row: Row = {
            "commit_id": commit.id,
            "commit_hash": commit.git_commit_hash,
            "commit_timestamp": commit.commit_timestamp,
            "flake_id": flake_id,
            "flake_name": flake_name(fleet, flake_id),
            "hosts_eligible": len(eligible),
            "hosts_reached": len(reached),
            "hosts_current": len([host for host in eligible if host.current == commit]),
            "first_deployed_at": reached[0] if reached else None,
            "snapshot_date": day_described(snapshot_at),
            "snapshot_at": snapshot_at,
        }
        for percent in (50, 90, 100):
            row[f"reached_{percent}_percent_at"] = next(
                (
                    at
                    for count, at in enumerate(reached, start=1)
                    if count * 100 >= percent * len(eligible)
                ),
                None,
            )
        rows.append(row)
    return rows


def flakes_in_order(fleet: Fleet) -> list[int]:
    """The flakes that have a commit."""
    return sorted(
        {c.flake_id for c in fleet.commits}, key=lambda flake_id: flake_order(fleet, flake_id)
    )


def environment_of(fleet: Fleet, host: Standing) -> str | None:
    """The environment that a host's status names; None where it is not recorded."""
    environments = {e.id: e.name for e in fleet.environments or ()}
    environment_id = host.system.environment_id if host.system else None
    return None if environment_id is None else environments.get(environment_id)


def flake_order(fleet: Fleet, flake_id: int) -> tuple[bool, str, int]:
    """Flakes by name, then id; those that nobody knows the name of last."""
    name = flake_name(fleet, flake_id)
    return (name is None, name or "", flake_id)


def is_at_or_past(run: Commit, commit: Commit) -> bool:
    """Whether what a host runs is a commit or a later one of its flake."""
    return run.flake_id == commit.flake_id and commit_order(run) >= commit_order(commit)


def commits_run(
    fleet: Fleet, hostname: str, snapshot_at: datetime
) -> list[tuple[datetime, Commit]]:
    """What a host ran before an instant: each current commit with an instant that it ran from."""
    changes = {s.timestamp for s in fleet.system_states if s.hostname == hostname}
    changes |= {c.commit_timestamp for c in fleet.commits}
    changes |= {s.created_at for s in fleet.systems if s.created_at is not None}
    cuts = [*sorted(cut for cut in changes if cut < snapshot_at), snapshot_at]
    # What happens at an instant is visible right after it: nothing changes until the next cut.
    run = [(start, standing(fleet, hostname, end).current) for start, end in pairwise(cuts)]
    return [(at, commit) for at, commit in run if commit is not None]
