"""Which flakes have gone quiet: their newest commit is old for a flake of their rhythm."""

import numpy as np
import pandas as pd

from assets.compute.encoding import MICROSECONDS_PER_HOUR, instant_microseconds
from assets.compute.timeline import FleetTimeline

# Fewer commits show no rhythm.
FEWEST_COMMITS = 5
QUIET_AFTER_HOURS = 7 * 24
QUIET_AFTER_USUAL_GAPS = 5


def quiet_flakes(timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """The flakes whose newest visible commit on the branch is unusually old.

    Unusual is an age of over a week and over five times the 90th percentile of the gaps between the
    flake's visible commits. Flakes with fewer than five visible commits are never unusual.

    Returns:
        One row a quiet flake, the oldest first; flake_id, flake_name, age_hours, usual_gap_hours.
    """
    instant = instant_microseconds(snapshot_at)
    commits = timeline.commits
    made = pd.DataFrame({"flake": commits.flake, "made_at": commits.timestamps})
    made = made.iloc[commits.on_branch]
    made = made[made["made_at"] < instant].assign(hours=made["made_at"] / MICROSECONDS_PER_HOUR)
    made["gap"] = made.groupby("flake")["hours"].diff()
    by_flake = made.groupby("flake")
    flakes = commits.flakes.assign(
        commits=by_flake.size(),
        age_hours=instant / MICROSECONDS_PER_HOUR - by_flake["hours"].last(),
        usual_gap_hours=by_flake["gap"].quantile(0.9),
    )
    longest_usual = np.maximum(
        QUIET_AFTER_HOURS, QUIET_AFTER_USUAL_GAPS * flakes["usual_gap_hours"]
    )
    quiet = flakes[(flakes["commits"] >= FEWEST_COMMITS) & (flakes["age_hours"] > longest_usual)]
    return (
        quiet.drop(columns="commits")
        .astype({"flake_id": "int64"})
        .sort_values("age_hours", ascending=False)
    )
