"""The status of random fleets, beside a plain reading of the contract."""

from datetime import datetime, timedelta

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from tests.fleets import Staging, assert_rows, fleet_tables
from tests.plain_reading import status as plain_reading
from tests.plain_reading.rows import Fleet
from tests.random_fleets import PROFILE, fleets, snapshot_instants, stagings

READ_LATER = st.sampled_from((timedelta(0), timedelta(microseconds=1), timedelta(days=40)))


@settings(PROFILE)
@given(fleets(), stagings(), st.lists(snapshot_instants(), min_size=1, max_size=3), READ_LATER)
def test_every_status_is_what_the_contract_says(
    fleet: Fleet, staging: Staging, instants: list[datetime], read_later: timedelta
) -> None:
    timeline = index_fleet(fleet_tables(fleet, staging))
    for snapshot_at in instants:
        extracted_at = snapshot_at + read_later
        stamps = (pd.Timestamp(snapshot_at), pd.Timestamp(extracted_at))
        status = system_deployment_status(timeline, *stamps)
        expected = plain_reading.system_deployment_status(fleet, snapshot_at, extracted_at)
        assert_rows(SYSTEM_DEPLOYMENT_STATUS, status, expected)

        flakes = flake_deployment_status(timeline, status, *stamps)
        expected = plain_reading.flake_deployment_status(fleet, snapshot_at, extracted_at)
        assert_rows(FLAKE_DEPLOYMENT_STATUS, flakes, expected)
