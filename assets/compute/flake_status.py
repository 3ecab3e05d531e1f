"""How the systems of each flake stand, and how fresh the flake itself is."""

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    NOTHING,
    TEXT,
    Integers,
    find_text,
    instant_microseconds,
    instants,
    integers,
    take_text,
    text_array,
    translate,
    whole_numbers,
)
from assets.compute.quantiles import Numbers, quantiles_by_group
from assets.compute.status import MICROSECONDS_PER_HOUR
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import DEPLOYMENT_STATUSES


def flake_deployment_status(
    timeline: FleetTimeline,
    status: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    extracted_at: pd.Timestamp,
) -> pd.DataFrame:
    """Summarises one snapshot of `system_deployment_status` by associated flake.

    Args:
        timeline: the fleet that the snapshot was computed from.
        status: the snapshot, one row a hostname.
        snapshot_at: its T.
        extracted_at: when the tables were read.

    Returns:
        One row a flake, those with most systems behind first. Columns as in
        `assets.schemas.FLAKE_DEPLOYMENT_STATUS`. Systems without an associated flake are in no row.
    """
    instant = instant_microseconds(snapshot_at)
    commits = timeline.commits
    of_system = commits.flake_codes(integers(status["flake_id"]))
    # From here on, everything is by flake code; the last step takes the flakes that have a row.
    counts = _count_systems(of_system, status, len(commits.flake_ids))
    p50, p90, most = _commits_behind_quantiles(of_system, status, len(commits.flake_ids))
    live = _live_commits(commits, of_system, status)
    live_count = np.bincount(commits.flake[live], minlength=len(commits.flake_ids))
    oldest_live = _first_of_each(live, commits)
    latest = commits.latest_positions(instant)

    flake_ids = integers(timeline.flakes["id"])
    code = commits.flake_codes(flake_ids)
    latest, oldest_live = latest[code], oldest_live[code]
    made_at = translate(latest, commits.timestamps)
    age = (instant - made_at) / MICROSECONDS_PER_HOUR
    return (
        pd.DataFrame(
            {
                "flake_id": flake_ids,
                "flake_name": timeline.flakes["name"].array,
                "repo_url": timeline.flakes["repo_url"].array,
                "systems_total": counts.sum(axis=1)[code],
                **{
                    f"systems_{name}": counts[code, number]
                    for number, name in enumerate(DEPLOYMENT_STATUSES)
                },
                "commits_behind_p50": p50[code],
                "commits_behind_p90": p90[code],
                "commits_behind_max": whole_numbers(
                    np.nan_to_num(most[code]).astype(np.int64), ~np.isnan(most[code])
                ),
                "latest_commit_hash": take_text(commits.hashes, latest),
                "latest_commit_timestamp": instants(made_at, latest != NOTHING),
                "latest_commit_age_hours": np.where(latest != NOTHING, age, np.nan),
                "live_commit_count": live_count[code],
                "oldest_live_commit_hash": take_text(commits.hashes, oldest_live),
                "oldest_live_commit_timestamp": instants(
                    translate(oldest_live, commits.timestamps), oldest_live != NOTHING
                ),
            }
        )
        .sort_values(["systems_behind", "flake_name", "flake_id"], ascending=[False, True, True])
        .reset_index(drop=True)
        .assign(
            snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
            snapshot_at=snapshot_at.as_unit("us"),
            extracted_at=extracted_at.as_unit("us"),
        )
    )


def _count_systems(of_system: Integers, status: pd.DataFrame, flake_count: int) -> Integers:
    """By flake code and position in `DEPLOYMENT_STATUSES`, how many systems there are."""
    statuses = pa.array(DEPLOYMENT_STATUSES, TEXT)
    position = find_text(text_array(status["deployment_status"]), among=statuses)
    has_flake = of_system != NOTHING
    cell = of_system[has_flake] * len(statuses) + position[has_flake]
    counts = np.bincount(cell, minlength=flake_count * len(statuses))
    return counts.reshape(flake_count, len(statuses))


def _commits_behind_quantiles(
    of_system: Integers, status: pd.DataFrame, flake_count: int
) -> list[Numbers]:
    """By flake code: the median, the 90th percentile and the maximum of `commits_behind`."""
    commits_behind = integers(status["commits_behind"])
    known = (of_system != NOTHING) & (commits_behind != NOTHING)
    return quantiles_by_group(
        of_system[known], commits_behind[known], flake_count, shares=(0.5, 0.9, 1)
    )


def _live_commits(commits: CommitOrder, of_system: Integers, status: pd.DataFrame) -> Integers:
    """The positions of the commits that systems associated with their flake run, ascending."""
    # A fork can hold the same hashes: a commit of another flake is not live in this one.
    is_own = (status["unknown_reason"] != "flake_mismatch").fillna(value=True).to_numpy(np.bool_)
    hashes = text_array(status["current_commit_hash"])
    distinct = hashes.unique().drop_null()
    of_host = find_text(hashes, among=distinct)
    runs_own = is_own & (of_host != NOTHING)
    live = of_system[runs_own] * len(distinct) + of_host[runs_own]

    of_commit = find_text(commits.hashes, among=distinct)
    candidates = np.flatnonzero(of_commit != NOTHING)
    keys = commits.flake[candidates] * len(distinct) + of_commit[candidates]
    return candidates[np.isin(keys, live)]


def _first_of_each(positions: Integers, commits: CommitOrder) -> Integers:
    """By flake code, the first of these positions, which ascend, that is a commit of the flake."""
    rows = np.searchsorted(positions, commits.starts)
    firsts = np.append(positions, NOTHING)[rows[:-1]]
    return np.where(rows[:-1] < rows[1:], firsts, NOTHING)
