"""The adoption curves of random fleets, held to their rollouts."""

from datetime import datetime

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.compute.adoption import adoption_curves
from assets.compute.rollouts import commit_rollouts
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from tests.fleets import Staging, fleet_tables
from tests.plain_reading.rows import Fleet
from tests.random_fleets import PROFILE, fleets, snapshot_instants, stagings


@settings(PROFILE)
@given(fleets(), stagings(), snapshot_instants(), st.integers(1, 3), st.sampled_from((1, 1000)))
def test_a_curve_passes_through_every_milestone_of_its_rollout(
    fleet: Fleet, staging: Staging, snapshot_at: datetime, newest_commits: int, at_once: int
) -> None:
    timeline = index_fleet(fleet_tables(fleet, staging))
    instant = pd.Timestamp(snapshot_at)
    status = system_deployment_status(timeline, instant, instant)

    steps = adoption_curves(
        timeline, status, instant, newest_commits=newest_commits, pieces_at_once=at_once
    )

    rollouts = commit_rollouts(timeline, instant)
    newest = rollouts.groupby("flake_id").head(newest_commits)
    curves = dict(iter(steps.groupby("commit_id")))
    assert set(curves) == set(newest.loc[newest["hosts_reached"] > 0, "commit_id"])
    for rollout in newest.to_dict("records"):
        curve = curves.get(rollout["commit_id"])
        if curve is None:
            continue
        assert curve["reached_at"].is_unique
        assert curve["reached_at"].is_monotonic_increasing
        assert curve["hosts_reached"].is_monotonic_increasing
        assert curve["hosts_reached"].iloc[-1] == rollout["hosts_reached"]
        assert curve["reached_at"].iloc[0] == rollout["first_deployed_at"]
        for percent in (50, 90, 100):
            enough = curve["hosts_reached"] * 100 >= rollout["hosts_eligible"] * percent
            reached = curve.loc[enough, "reached_at"]
            expected = rollout[f"reached_{percent}_percent_at"]
            assert (reached.iloc[0] if len(reached) else pd.NaT) is expected or (
                reached.iloc[0] == expected
            )
