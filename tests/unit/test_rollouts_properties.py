"""The rollouts of random fleets, beside a plain reading of their definitions."""

from collections.abc import Iterator

import pandas as pd
from hypothesis import given, settings

from assets.compute.rollouts import commit_rollouts, rollouts_by_environment
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.publishing.rollout_checks import ENVIRONMENTS_SUM, RolloutCounts
from assets.schemas import COMMIT_ROLLOUTS, COMMIT_ROLLOUTS_BY_ENVIRONMENT
from tests.fleets import assert_rows, fleet_tables
from tests.plain_reading import rollouts as plain_reading
from tests.random_fleets import ANY_SIZES, BUSY, PROFILE, RandomCase, hold, random_cases

# Fewer than most flakes have.
FEW = 3


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


def check_by_environment(case: RandomCase) -> None:
    timeline = index_fleet(fleet_tables(case.fleet, case.staging))
    instants = [pd.Timestamp(each) for each in case.days]

    def statuses() -> Iterator[pd.DataFrame]:
        return (system_deployment_status(timeline, at, at) for at in instants)

    by_environment = rollouts_by_environment(
        timeline,
        instants,
        statuses,
        newest=FEW,
        pairs_at_once=case.at_once,
        pieces_at_once=case.at_once,
    )
    for snapshot_at, computed in zip(case.days, by_environment, strict=True):
        expected = plain_reading.commit_rollouts_by_environment(case.fleet, snapshot_at, FEW)
        assert_rows(COMMIT_ROLLOUTS_BY_ENVIRONMENT, computed, expected)
        in_all = commit_rollouts(timeline, pd.Timestamp(snapshot_at))
        assert ENVIRONMENTS_SUM.on(RolloutCounts(in_all, computed)).verdict.passed


@settings(PROFILE, max_examples=PROFILE.max_examples // 3)
@given(random_cases(ANY_SIZES, BUSY))
def test_every_environment_is_followed_by_itself_and_they_add_up(case: RandomCase) -> None:
    hold(case, check_by_environment)


@settings(PROFILE)
@given(random_cases(ANY_SIZES, BUSY))
def test_every_rollout_is_what_the_definitions_say(case: RandomCase) -> None:
    hold(case, check_rollouts)
