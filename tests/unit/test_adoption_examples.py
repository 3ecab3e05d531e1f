"""Adoption curves: their steps, and a snapshot that knows more than the source does by now."""

import pandas as pd
from pandas.testing import assert_frame_equal

from assets.compute.adoption import adoption_curves
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from tests.fleets import at, fleet_tables, state, system
from tests.unit.status_cases import USUAL, T, usual


def test_a_system_that_the_source_has_forgotten_is_in_no_curve() -> None:
    timeline = index_fleet(fleet_tables(USUAL))
    instant = pd.Timestamp(T)
    status = system_deployment_status(timeline, instant, instant)
    forgotten = status.assign(hostname="forgotten", flake_id=pd.array([2], "Int64"))

    with_it = pd.concat([status, forgotten], ignore_index=True)

    assert_frame_equal(
        adoption_curves(timeline, with_it, instant), adoption_curves(timeline, status, instant)
    )


def test_systems_reached_at_the_same_instant_are_one_step() -> None:
    hosts = ("app", "db", "web")
    fleet = usual(
        systems=tuple(system(host) for host in hosts),
        system_states=(
            state(1, "/p3", at(3, 6), hostname="app"),
            state(2, "/p3", at(3, 9), hostname="db"),
            state(3, "/p3", at(3, 9), hostname="web"),
        ),
    )
    timeline = index_fleet(fleet_tables(fleet))
    instant = pd.Timestamp(T)
    status = system_deployment_status(timeline, instant, instant)

    curves = adoption_curves(timeline, status, instant, newest_commits=2)

    # The newest commit, c4, reached nobody.
    assert curves.to_dict("records") == [
        {"flake_id": 1, "commit_id": 3, "reached_at": pd.Timestamp(when), "hosts_reached": count}
        for when, count in ((at(3, 6), 1), (at(3, 9), 3))
    ]
