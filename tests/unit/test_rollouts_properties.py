"""The rollouts of random fleets, beside a plain reading of their definitions."""

import pandas as pd
from hypothesis import given, settings

from assets.compute.rollouts import commit_rollouts
from assets.compute.timeline import index_fleet
from assets.schemas import COMMIT_ROLLOUTS
from tests.fleets import assert_rows, fleet_tables
from tests.plain_reading import rollouts as plain_reading
from tests.random_fleets import ANY_SIZES, BUSY, PROFILE, RandomCase, hold, random_cases


def check_rollouts(case: RandomCase) -> None:
    timeline = index_fleet(fleet_tables(case.fleet, case.staging))
    for snapshot_at in case.instants:
        computed = commit_rollouts(
            timeline,
            pd.Timestamp(snapshot_at),
            pairs_at_once=case.at_once,
            pieces_at_once=case.at_once,
        )
        assert_rows(
            COMMIT_ROLLOUTS, computed, plain_reading.commit_rollouts(case.fleet, snapshot_at)
        )


@settings(PROFILE)
@given(random_cases(ANY_SIZES, BUSY))
def test_every_rollout_is_what_the_definitions_say(case: RandomCase) -> None:
    hold(case, check_rollouts)
