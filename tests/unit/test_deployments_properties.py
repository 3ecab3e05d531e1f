"""The deployments of random fleets, beside a plain reading of the contract."""

import pandas as pd
from hypothesis import given, settings

from assets.compute.deployments import deployments
from assets.compute.timeline import index_fleet
from assets.schemas import DEPLOYMENTS
from tests.fleets import assert_rows, fleet_tables
from tests.plain_reading import deployments as plain_reading
from tests.random_fleets import ANY_SIZES, BUSY, PROFILE, RandomCase, hold, random_cases


def check_deployments(case: RandomCase) -> None:
    timeline = index_fleet(fleet_tables(case.fleet, case.staging))
    for snapshot_at in case.instants:
        computed = deployments(timeline, pd.Timestamp(snapshot_at))
        assert_rows(DEPLOYMENTS, computed, plain_reading.deployments(case.fleet, snapshot_at))


@settings(PROFILE)
@given(random_cases(ANY_SIZES, BUSY))
def test_every_deployment_is_what_the_contract_says(case: RandomCase) -> None:
    hold(case, check_deployments)
