"""Which flakes have gone quiet: their newest commit is old for a flake of their rhythm."""

import numpy as np
import pandas as pd

from assets.compute.encoding import instant_microseconds, take_text
from assets.compute.status import MICROSECONDS_PER_HOUR
from assets.compute.timeline import FleetTimeline

# Fewer commits show no rhythm.
FEWEST_COMMITS = 5
QUIET_AFTER_HOURS = 7 * 24
QUIET_AFTER_USUAL_GAPS = 5


def quiet_flakes(timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """The flakes whose newest visible commit is unusually old.

    Unusual is an age of over a week and over five times the 90th percentile of the gaps between the
    flake's visible commits. Flakes with fewer than five visible commits are never unusual.

    Returns:
        One row a quiet flake, the oldest first; flake_id, flake_name, age_hours, usual_gap_hours.
    """
    instant = instant_microseconds(snapshot_at)
    commits = timeline.commits
    visible = np.flatnonzero(commits.timestamps < instant)
    made = pd.DataFrame(
        {"flake": commits.flake[visible], "hours": commits.timestamps[visible]}
    ).astype({"hours": "float64"})
    made["hours"] /= MICROSECONDS_PER_HOUR
    made["gap"] = made.groupby("flake")["hours"].diff()
    by_flake = made.groupby("flake")
    flakes = pd.DataFrame(
        {
            "commits": by_flake.size(),
            "age_hours": instant / MICROSECONDS_PER_HOUR - by_flake["hours"].last(),
            "usual_gap_hours": by_flake["gap"].quantile(0.9),
        }
    )
    longest_usual = np.maximum(
        QUIET_AFTER_HOURS, QUIET_AFTER_USUAL_GAPS * flakes["usual_gap_hours"]
    )
    quiet = flakes[(flakes["commits"] >= FEWEST_COMMITS) & (flakes["age_hours"] > longest_usual)]
    codes = quiet.index.to_numpy(np.int64)
    return (
        quiet.assign(
            flake_id=commits.flake_ids[codes] if len(codes) else np.empty(0, np.int64),
            flake_name=take_text(commits.flake_names, codes).to_numpy(),
        )[["flake_id", "flake_name", "age_hours", "usual_gap_hours"]]
        .sort_values("age_hours", ascending=False)
        .reset_index(drop=True)
    )
