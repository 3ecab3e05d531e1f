"""The deployments: each time a host starts to run another path."""

import pandas as pd

from assets.compute.deployment_events import before, commits_included
from assets.compute.encoding import MICROSECONDS_PER_SECOND, in_microseconds, rows_at
from assets.compute.timeline import FleetTimeline


def deployments(timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """Every deployment made before `snapshot_at`, each as of the end of its day.

    Returns:
        One row each time that a host started to run another path, by deployed_at, hostname,
        system_state_id. Columns as in `assets.schemas.DEPLOYMENTS`.
    """
    commits = timeline.commits
    visible = before(timeline.events, snapshot_at)
    # They lie by host, in hostname order, and a host's by time and system_state_id.
    events = visible.sort_values("deployed_at", kind="stable", ignore_index=True)
    commit = rows_at(commits.rows, events["commit"])
    previous = rows_at(commits.rows, events["previous_commit"])
    flake = rows_at(commits.flakes, events["flake"])
    lead_time = in_microseconds(events["deployed_at"] - commit["commit_timestamp"])
    day_ends_at = (events["deployed_at"].dt.floor("D") + pd.Timedelta(1, "D")).clip(
        upper=snapshot_at
    )
    return pd.DataFrame(
        {
            "deployed_at": events["deployed_at"],
            "hostname": rows_at(timeline.hosts[["hostname"]], events["host"])["hostname"],
            "system_state_id": events["system_state_id"],
            "deployment_kind": events["kind"].astype("str"),
            "derivation_path": rows_at(timeline.paths.rows[["path"]], events["path"])["path"],
            "flake_id": flake["flake_id"],
            "flake_name": flake["flake_name"],
            "commit_id": commit["commit_id"],
            "commit_hash": commit["commit_hash"],
            "commit_timestamp": commit["commit_timestamp"],
            "previous_commit_id": previous["commit_id"],
            "previous_commit_hash": previous["commit_hash"],
            "lead_time_seconds": lead_time / MICROSECONDS_PER_SECOND,
            "commits_included": commits_included(commits, events, day_ends_at),
            "is_flapping": events["is_flapping"],
        }
    )
