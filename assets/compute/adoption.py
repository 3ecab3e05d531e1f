"""How the newest commits spread: their adoption curves, host by host."""

import numpy as np
import pandas as pd

from assets.compute.encoding import (
    NOTHING,
    Integers,
    find_text,
    instant_microseconds,
    instants,
    integers,
    text_array,
)
from assets.compute.running_commits import PIECES_AT_ONCE, RunningCommits
from assets.compute.timeline import FleetTimeline

_NEVER = np.iinfo(np.int64).max


def adoption_curves(
    timeline: FleetTimeline,
    status: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    *,
    newest_commits: int = 5,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> pd.DataFrame:
    """How many systems each flake's newest commits had reached, step by step.

    What "reached" means, and which systems count, is as in `assets.schemas.COMMIT_ROLLOUTS`, whose
    `hosts_reached` is the last step of a curve.

    Args:
        timeline: the fleet.
        status: `system_deployment_status` at `snapshot_at`.
        snapshot_at: T; only what lies before it is visible.
        newest_commits: how many commits of each flake, counted from its latest visible one.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a commit and instant at which it reached a system, by flake_id, then the newest
        commit first, then reached_at: `flake_id`, `commit_id`, `reached_at` (UTC), `hosts_reached`
        (systems, from the first to this one). A commit that reached no system has no row.
    """
    commits = timeline.commits
    instant = instant_microseconds(snapshot_at)
    latest = commits.latest_positions(instant)
    flake_by_host = _flake_by_host(timeline, status)
    running = RunningCommits.of(timeline)
    reached_at = np.full((newest_commits, len(flake_by_host)), _NEVER)
    for pieces in running.pieces(running.earliest, instant, pieces_at_once):
        flake = flake_by_host[pieces.host]
        is_own = (flake != NOTHING) & (flake == commits.flake[pieces.commit])
        host, commit, start = pieces.host[is_own], pieces.commit[is_own], pieces.start[is_own]
        target = latest[flake[is_own]]
        for age in range(newest_commits):
            reached = (target != NOTHING) & (commit >= target - age)
            np.minimum.at(reached_at[age], host[reached], start[reached])

    ages, hosts = np.nonzero(reached_at != _NEVER)
    position = latest[flake_by_host[hosts]] - ages
    is_commit = position >= commits.starts[flake_by_host[hosts]]
    return _steps(timeline, position[is_commit], reached_at[ages, hosts][is_commit])


def _flake_by_host(timeline: FleetTimeline, status: pd.DataFrame) -> Integers:
    flake_by_host = np.full(len(timeline.hosts.names), NOTHING, np.int64)
    hosts = find_text(text_array(status["hostname"]), among=timeline.hosts.names)
    # A day that was closed with more can have systems that the source has forgotten since.
    known = hosts != NOTHING
    flakes = timeline.commits.flake_codes(integers(status["flake_id"]))
    flake_by_host[hosts[known]] = flakes[known]
    return flake_by_host


def _steps(timeline: FleetTimeline, position: Integers, reached_at: Integers) -> pd.DataFrame:
    commits = timeline.commits
    order = np.lexsort((reached_at, -position, commits.flake[position]))
    position, reached_at = position[order], reached_at[order]
    starts_curve = np.diff(position, prepend=NOTHING) != 0
    first = np.flatnonzero(starts_curve)
    rank = np.arange(len(position))
    hosts_reached = rank - first[np.cumsum(starts_curve) - 1] + 1 if len(rank) else rank
    # Systems reached at the same instant are one step.
    is_step = np.append(starts_curve[1:] | (np.diff(reached_at) != 0), True)[: len(position)]
    return pd.DataFrame(
        {
            "flake_id": commits.flake_ids[commits.flake[position]],
            "commit_id": commits.commit_ids[position],
            "reached_at": instants(reached_at),
            "hosts_reached": hosts_reached,
        }
    )[is_step].reset_index(drop=True)
