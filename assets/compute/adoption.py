"""How the newest commits spread: their adoption curves, host by host."""

import numpy as np
import pandas as pd

from assets.compute.encoding import NOTHING, instant_microseconds, instants, translate
from assets.compute.running_commits import PIECES_AT_ONCE
from assets.compute.status import systems_by_host
from assets.compute.timeline import FleetTimeline


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
    commits, running = timeline.commits, timeline.running_by_branch
    instant = instant_microseconds(snapshot_at)
    flake = systems_by_host(timeline, status)["flake"].to_numpy()
    latest = translate(flake, commits.latest(instant))
    first_runs = [pd.DataFrame({"host": [], "age": [], "start": []}, dtype="int64")]
    for pieces in running.pieces(running.earliest, instant, pieces_at_once):
        host, commit = pieces["host"].to_numpy(), pieces["commit"].to_numpy()
        # A commit is reached with the first run of it or of a later one; age 0 is the newest.
        on_branch = commits.count_on_branch
        age = np.maximum(on_branch[latest[host]] - on_branch[commit], 0)
        is_own = (latest[host] != NOTHING) & (flake[host] == commits.flake[commit])
        newest = pieces.assign(age=age)[is_own & (age < newest_commits)]
        first_runs.append(newest.groupby(["host", "age"], as_index=False)["start"].min())
    first_run = pd.concat(first_runs)
    reached = pd.concat(
        first_run[first_run["age"] <= age]
        .groupby("host", as_index=False)["start"]
        .min()
        .assign(age=age)
        for age in range(newest_commits)
    )
    newest = latest[reached["host"]]
    place = commits.count_on_branch[newest] - 1 - reached["age"].to_numpy()
    commit = translate(np.maximum(place, NOTHING), commits.on_branch)
    reached = reached.assign(flake=flake[reached["host"]], commit=commit)
    # A flake can have fewer commits than were asked for.
    steps = reached[reached["commit"] >= commits.starts[newest]]
    steps = steps.sort_values(["flake", "age", "start"])
    steps["hosts_reached"] = steps.groupby("commit").cumcount() + 1
    # Systems reached at the same instant are one step.
    steps = steps.drop_duplicates(["commit", "start"], keep="last")
    return pd.DataFrame(
        {
            "flake_id": commits.flakes["flake_id"].astype("int64").loc[steps["flake"]].array,
            "commit_id": commits.rows["commit_id"].astype("int64").loc[steps["commit"]].array,
            "reached_at": instants(steps["start"].to_numpy()),
            "hosts_reached": steps["hosts_reached"].array,
        }
    )
