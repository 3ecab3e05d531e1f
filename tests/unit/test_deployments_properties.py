"""The deployments of random fleets, beside a plain reading of the contract."""

from datetime import datetime

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.compute.deployments import deployments
from assets.compute.timeline import index_fleet
from assets.schemas import DEPLOYMENTS
from tests.fleets import Staging, assert_rows, fleet_tables
from tests.plain_reading import deployments as plain_reading
from tests.plain_reading.rows import Fleet
from tests.random_fleets import PROFILE, fleets, snapshot_instants, stagings


@settings(PROFILE)
@given(fleets(), stagings(), st.lists(snapshot_instants(), min_size=1, max_size=3))
def test_every_deployment_is_what_the_contract_says(
    fleet: Fleet, staging: Staging, instants: list[datetime]
) -> None:
    timeline = index_fleet(fleet_tables(fleet, staging))
    for snapshot_at in instants:
        computed = deployments(timeline, pd.Timestamp(snapshot_at))
        assert_rows(DEPLOYMENTS, computed, plain_reading.deployments(fleet, snapshot_at))
