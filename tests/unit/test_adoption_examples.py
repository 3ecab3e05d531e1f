"""Adoption curves of a snapshot that knows more than the source does by now."""

import pandas as pd
from pandas.testing import assert_frame_equal

from assets.compute.adoption import adoption_curves
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from tests.fleets import fleet_tables
from tests.unit.status_cases import USUAL, T


def test_a_system_that_the_source_has_forgotten_is_in_no_curve() -> None:
    timeline = index_fleet(fleet_tables(USUAL))
    instant = pd.Timestamp(T)
    status = system_deployment_status(timeline, instant, instant)
    forgotten = status.assign(hostname="forgotten", flake_id=pd.array([2], "Int64"))

    with_it = pd.concat([status, forgotten], ignore_index=True)

    assert_frame_equal(
        adoption_curves(timeline, with_it, instant), adoption_curves(timeline, status, instant)
    )
