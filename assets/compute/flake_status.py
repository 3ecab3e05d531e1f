"""How the systems of each flake stand, and how fresh the flake itself is."""

import numpy as np
import pandas as pd

from assets.compute.encoding import (
    NOTHING,
    find_text,
    instant_microseconds,
    instants,
    integers,
    take_text,
    text_array,
    translate,
)
from assets.compute.status import MICROSECONDS_PER_HOUR
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import DEPLOYMENT_STATUSES

_COUNT_BY_STATUS = {status: f"systems_{status}" for status in DEPLOYMENT_STATUSES}


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
    flakes = timeline.flakes[["id", "name", "repo_url"]].rename(
        columns={"id": "flake_id", "name": "flake_name"}
    )
    summary = flakes.merge(count_systems(status), on="flake_id", how="left")
    summary = summary.merge(commits_behind_quantiles(status), on="flake_id", how="left")
    summary = summary.merge(_live_commits(timeline, status), on="flake_id", how="left")
    counts = ["systems_total", *_COUNT_BY_STATUS.values(), "live_commit_count"]
    summary[counts] = summary[counts].fillna(0)

    codes = timeline.commits.flake_codes(integers(summary["flake_id"]))
    latest = translate(codes, timeline.commits.latest_positions(instant))
    made_at = translate(latest, timeline.commits.timestamps)
    age = pd.Series((instant - made_at) / MICROSECONDS_PER_HOUR)
    return (
        summary.assign(
            latest_commit_hash=take_text(timeline.commits.hashes, latest),
            latest_commit_timestamp=instants(made_at, latest != NOTHING),
            latest_commit_age_hours=age.where(latest != NOTHING),
            snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
            snapshot_at=snapshot_at.as_unit("us"),
            extracted_at=extracted_at.as_unit("us"),
        )
        .sort_values(
            ["systems_behind", "flake_name", "flake_id"],
            ascending=[False, True, True],
        )
        .reset_index(drop=True)
    )


def count_systems(status: pd.DataFrame) -> pd.DataFrame:
    """Counts the systems of each associated flake by status.

    Returns:
        One row a flake that has a system; key flake_id, then `systems_total` and a count by status.
    """
    associated = status.dropna(subset="flake_id")
    counted = (
        pd.crosstab(associated["flake_id"], associated["deployment_status"])
        .reindex(columns=list(_COUNT_BY_STATUS), fill_value=0)
        .rename(columns=_COUNT_BY_STATUS)
    )
    counted.insert(0, "systems_total", counted.sum(axis="columns"))
    return counted.astype("Int64").reset_index()


def commits_behind_quantiles(status: pd.DataFrame) -> pd.DataFrame:
    """Interpolated quantiles of `commits_behind` over the systems that have one.

    Returns:
        One row a flake with such a system; key flake_id, `commits_behind_p50`, `_p90`, `_max`.
    """
    known = status.dropna(subset=["flake_id", "commits_behind"])
    by_flake = known["commits_behind"].astype("int64").groupby(known["flake_id"].astype("Int64"))
    return pd.DataFrame(
        {
            "commits_behind_p50": by_flake.quantile(0.5),
            "commits_behind_p90": by_flake.quantile(0.9),
            "commits_behind_max": by_flake.max().astype("Int64"),
        }
    ).reset_index()


def _live_commits(timeline: FleetTimeline, status: pd.DataFrame) -> pd.DataFrame:
    # A fork can hold the same hashes: a commit of another flake is not live in this one.
    own = status[(status["unknown_reason"] != "flake_mismatch").fillna(value=True)]
    live = own.dropna(subset=["flake_id", "current_commit_hash"])[
        ["flake_id", "current_commit_hash"]
    ].drop_duplicates()
    oldest_first = (
        live.merge(_positions_of(timeline, live), on=["flake_id", "current_commit_hash"])
        .sort_values("position")
        .groupby("flake_id")
    )
    return pd.DataFrame(
        {
            "live_commit_count": oldest_first.size().astype("Int64"),
            "oldest_live_commit_hash": oldest_first["current_commit_hash"].first(),
            "oldest_live_commit_timestamp": oldest_first["current_commit_timestamp"].first(),
        }
    ).reset_index()


def _positions_of(timeline: FleetTimeline, live: pd.DataFrame) -> pd.DataFrame:
    commits = timeline.commits
    hashes = text_array(live["current_commit_hash"]).unique()
    positions = np.flatnonzero(find_text(commits.hashes, among=hashes) != NOTHING)
    return pd.DataFrame(
        {
            "flake_id": pd.array(commits.flake_ids[commits.flake[positions]], dtype="Int64"),
            "current_commit_hash": take_text(commits.hashes, positions),
            "current_commit_timestamp": instants(commits.timestamps[positions]),
            "position": positions,
        }
    )
