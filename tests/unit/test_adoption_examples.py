"""Adoption curves: their steps, and a snapshot that knows more than the source does by now."""

import pandas as pd
from pandas.testing import assert_frame_equal

from assets.compute.adoption import adoption_curves
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from tests.fleets import at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Fleet
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


def test_a_curve_keeps_the_first_time_that_a_system_ran_its_commit_or_a_later_one() -> None:
    # Seven commits at noon of day 1 to 7; edge has two, and the hosts of both move to and fro.
    # `web` is registered nowhere, so that its flake is that of what it runs last.
    fleet = Fleet(
        flakes=(flake(1), flake(2)),
        commits=(
            *(commit(n, at(n, 12)) for n in range(1, 8)),
            commit(11, at(1), flake_id=2),
            commit(12, at(2), flake_id=2),
        ),
        derivations=(
            *(nixos(n, n, f"/{n}") for n in range(1, 8)),
            nixos(11, 11, "/11"),
            nixos(12, 12, "/12"),
        ),
        systems=(system("db", flake_id=2),),
        system_states=(
            state(1, "/3", at(8, 1)),
            state(2, "/6", at(8, 2)),
            state(3, "/5", at(8, 3)),
            state(4, "/6", at(8, 4)),
            state(5, "/7", at(8, 5)),
            state(6, "/11", at(8, 1), hostname="db"),
            state(7, "/12", at(8, 6), hostname="db"),
            # Of another flake than theirs in the end.
            state(8, "/7", at(8, 0.5), hostname="db"),
            state(9, "/11", at(8, 0.5)),
        ),
    )
    instant = pd.Timestamp(at(9))
    timeline = index_fleet(fleet_tables(fleet))
    status = system_deployment_status(timeline, instant, instant)

    curves = adoption_curves(timeline, status, instant)

    # Of flake 1 the five newest.
    assert curves.to_dict("records") == [
        {"flake_id": flake_id, "commit_id": n, "reached_at": pd.Timestamp(when), "hosts_reached": 1}
        for flake_id, n, when in (
            (1, 7, at(8, 5)),
            (1, 6, at(8, 2)),
            (1, 5, at(8, 2)),
            (1, 4, at(8, 2)),
            (1, 3, at(8, 1)),
            (2, 12, at(8, 6)),
            (2, 11, at(8, 1)),
        )
    ]


def test_a_flake_without_a_visible_commit_has_no_curve() -> None:
    fleet = Fleet(
        flakes=(flake(1), flake(2)),
        commits=(commit(1, at(9)), commit(2, at(9), flake_id=2)),
        derivations=(nixos(1, 1, "/1"), nixos(2, 2, "/2")),
        systems=(system("db", flake_id=2), system("web")),
        system_states=(state(1, "/1", at(1)), state(2, "/2", at(1), hostname="db")),
    )
    instant = pd.Timestamp(at(5))
    timeline = index_fleet(fleet_tables(fleet))
    status = system_deployment_status(timeline, instant, instant)

    assert adoption_curves(timeline, status, instant).empty
