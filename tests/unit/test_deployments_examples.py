"""The contract's lines on deployments: small fleets, their events worked out by hand.

Flake 1 `infra` has the commits c1 to c4, made at midnight of day 1 to 4, with outputs /p1 to /p4;
flake 2 `edge` has c5, made at 12:00 of day 2, with output /e. Host `web` is registered to infra.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from assets.compute.deployments import deployments
from assets.compute.timeline import index_fleet
from assets.publishing.conformity import to_arrow
from assets.schemas import DEPLOYMENTS
from tests.fleets import at, commit, flake, fleet_tables, nixos, plain_rows, state, system
from tests.plain_reading import deployments as plain_reading
from tests.plain_reading.rows import Fleet, State, System
from tests.plain_reading.words import Row

Reading = Callable[[Fleet, datetime], list[Row]]

COMMITS = (
    commit(1, at(1)),
    commit(2, at(2)),
    commit(3, at(3)),
    commit(4, at(4)),
    commit(5, at(2, 12), flake_id=2),
)
USUAL = Fleet(
    flakes=(flake(1, "infra"), flake(2, "edge")),
    commits=COMMITS,
    derivations=(
        nixos(11, 1, "/p1"),
        nixos(12, 2, "/p2", drv="/p2.drv"),
        nixos(13, 3, "/p3"),
        nixos(14, 4, "/p4"),
        nixos(15, 5, "/e"),
        nixos(16, None, "/local"),
    ),
    systems=(system(),),
)
LATER = at(30)


def computed(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    frame = deployments(index_fleet(fleet_tables(fleet)), pd.Timestamp(snapshot_at))
    return plain_rows(DEPLOYMENTS, frame)


READINGS = pytest.mark.parametrize(
    "reading",
    [
        pytest.param(computed, id="computed"),
        pytest.param(plain_reading.deployments, id="plain"),
    ],
)


def reports(*paths_and_instants: tuple[str, datetime]) -> tuple[State, ...]:
    """Reports of `web`, in the order of their ids, from 1."""
    return tuple(state(n, *each) for n, each in enumerate(paths_and_instants, start=1))


def running(*paths_and_instants: tuple[str, datetime]) -> Fleet:
    """The usual fleet with reports of `web`."""
    return replace(USUAL, system_states=reports(*paths_and_instants))


def told(rows: list[Row], *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in columns) for row in rows]


@READINGS
def test_a_whole_upgrade(reading: Reading) -> None:
    fleet = running(("/p1", at(1, 1)), ("/p3", at(3, 0.5)))

    assert reading(fleet, LATER)[1] == {
        "deployed_at": at(3, 0.5),
        "hostname": "web",
        "system_state_id": 2,
        "deployment_kind": "upgrade",
        "derivation_path": "/p3",
        "flake_id": 1,
        "flake_name": "infra",
        "commit_id": 3,
        "commit_hash": "c3",
        "commit_timestamp": at(3),
        "previous_commit_id": 1,
        "previous_commit_hash": "c1",
        "lead_time_seconds": 1800.0,
        "commits_included": 2,
        "is_flapping": False,
    }


@READINGS
def test_a_whole_untraced_event(reading: Reading) -> None:
    fleet = running(("/elsewhere", at(1, 1)))

    assert reading(fleet, LATER) == [
        {
            "deployed_at": at(1, 1),
            "hostname": "web",
            "system_state_id": 1,
            "deployment_kind": "untraced",
            "derivation_path": "/elsewhere",
            "flake_id": None,
            "flake_name": None,
            "commit_id": None,
            "commit_hash": None,
            "commit_timestamp": None,
            "previous_commit_id": None,
            "previous_commit_hash": None,
            "lead_time_seconds": None,
            "commits_included": None,
            "is_flapping": False,
        }
    ]


@READINGS
def test_each_kind_against_the_last_event_that_had_a_commit(reading: Reading) -> None:
    fleet = running(
        ("/elsewhere", at(1, 1)),
        ("/p1", at(1, 2)),
        ("/p2", at(2, 1)),
        ("/p2.drv", at(2, 2)),
        ("/local", at(2, 3)),
        ("/p2", at(2, 4)),
        ("/e", at(2, 13)),
        ("/p3", at(3, 1)),
        ("/p1", at(3, 2)),
        ("/p4", at(4, 1)),
    )

    assert told(
        reading(fleet, LATER),
        "system_state_id",
        "deployment_kind",
        "previous_commit_hash",
        "commit_hash",
        "commits_included",
    ) == [
        (1, "untraced", None, None, None),
        (2, "initial", None, "c1", None),
        (3, "upgrade", "c1", "c2", 1),
        (4, "rebuild", "c2", "c2", None),
        (5, "untraced", "c2", None, None),
        (6, "rebuild", "c2", "c2", None),
        (7, "flake_change", "c2", "c5", None),
        (8, "flake_change", "c5", "c3", None),
        (9, "rollback", "c3", "c1", None),
        (10, "upgrade", "c1", "c4", 3),
    ]


@READINGS
def test_a_repeated_report_is_no_event(reading: Reading) -> None:
    fleet = running(("/p1", at(1, 1)), ("/p1", at(1, 2)), ("/p2", at(2, 1)), ("/p2", at(2, 9)))

    assert told(reading(fleet, LATER), "system_state_id", "deployed_at") == [
        (1, at(1, 1)),
        (3, at(2, 1)),
    ]


@READINGS
def test_states_of_one_second_are_walked_by_id(reading: Reading) -> None:
    states = (
        state(7, "/p2", at(2, 1)),
        state(5, "/p1", at(2, 1)),
        state(6, "/p1", at(2, 1)),
        state(4, "/p1", at(3)),
    )
    rows = reading(replace(USUAL, system_states=states), LATER)

    assert told(rows, "system_state_id", "deployment_kind") == [
        (5, "initial"),
        (7, "upgrade"),
        (4, "rollback"),
    ]


@READINGS
def test_commits_of_one_second_are_later_by_id(reading: Reading) -> None:
    fleet = replace(
        running(("/p1", at(5)), ("/p3", at(6)), ("/p2", at(7))),
        commits=tuple(replace(each, commit_timestamp=at(1)) for each in COMMITS),
    )

    assert told(reading(fleet, LATER), "deployment_kind", "commits_included") == [
        ("initial", None),
        ("upgrade", 2),
        ("rollback", None),
    ]


@READINGS
def test_an_event_at_the_instant_itself_is_not_there_yet(reading: Reading) -> None:
    fleet = running(("/p1", at(1, 1)), ("/p2", at(2, 1)))

    assert told(reading(fleet, at(2, 1)), "system_state_id") == [(1,)]
    assert told(reading(fleet, at(2, 1, microsecond=1)), "system_state_id") == [(1,), (2,)]


@READINGS
def test_a_commit_of_the_future_has_a_negative_lead_time(reading: Reading) -> None:
    rows = reading(running(("/p4", at(3, 23))), LATER)

    assert told(rows, "deployment_kind", "lead_time_seconds") == [("initial", -3600.0)]


@READINGS
def test_the_commit_is_what_was_visible_when_it_was_deployed(reading: Reading) -> None:
    # c4 builds the same output as c2, but is made two days after the deployment of c2.
    fleet = running(("/p1", at(1, 1)), ("/p2", at(2, 1)), ("/p1", at(4, 1)), ("/p2", at(4, 2)))
    fleet = replace(fleet, derivations=(*fleet.derivations, nixos(20, 4, "/p2")))

    assert told(reading(fleet, LATER), "commit_hash", "lead_time_seconds") == [
        ("c1", 3600.0),
        ("c2", 3600.0),
        ("c1", 3 * 86400.0 + 3600.0),
        ("c4", 7200.0),
    ]


@READINGS
def test_a_commit_of_the_same_instant_is_not_visible_to_the_deployment(reading: Reading) -> None:
    fleet = running(("/p2", at(4)))
    fleet = replace(fleet, derivations=(*fleet.derivations, nixos(20, 4, "/p2")))

    assert told(reading(fleet, LATER), "commit_hash") == [("c2",)]


@READINGS
@pytest.mark.parametrize(
    ("registration", "commit_hash"),
    [
        pytest.param((system(),), "c2", id="registered"),
        pytest.param((system(is_active=False),), "c2", id="not any more"),
        pytest.param((system(created_at=at(3)),), "c2", id="from that instant on"),
        pytest.param((system(created_at=at(3, microsecond=1)),), "c5", id="not yet"),
        pytest.param((system(flake_id=None),), "c5", id="without flake"),
        pytest.param((), "c5", id="unregistered"),
    ],
)
def test_the_registered_flake_comes_first(
    registration: tuple[System, ...], commit_hash: str, reading: Reading
) -> None:
    fleet = replace(running(("/p2", at(3))), systems=registration)
    fleet = replace(fleet, derivations=(*fleet.derivations, nixos(20, 5, "/p2")))

    assert told(reading(fleet, LATER), "commit_hash") == [(commit_hash,)]


@READINGS
def test_hosts_do_not_mix_and_come_in_order_of_time_then_name(reading: Reading) -> None:
    states = (
        state(1, "/p2", at(2, 1), hostname="web"),
        state(2, "/p1", at(2, 1), hostname="db"),
        state(3, "/p2", at(2, 2), hostname="db"),
        state(4, "/p1", at(1, 9), hostname="web"),
        state(5, "/p2", at(2, 1), hostname="Web"),
    )
    rows = reading(replace(USUAL, system_states=states), LATER)

    assert told(rows, "deployed_at", "hostname", "deployment_kind") == [
        (at(1, 9), "web", "initial"),
        (at(2, 1), "Web", "initial"),
        (at(2, 1), "db", "initial"),
        (at(2, 1), "web", "upgrade"),
        (at(2, 2), "db", "upgrade"),
    ]


@READINGS
def test_commits_included_counts_those_of_the_flake_only(reading: Reading) -> None:
    # c5 of flake 2 lies between c1 and c4; so does c9, which nothing was ever built from.
    fleet = running(("/p1", at(1, 1)), ("/p4", at(4, 1)))
    fleet = replace(fleet, commits=(*COMMITS, commit(9, at(3, 3))))

    assert told(reading(fleet, LATER), "commits_included") == [(None,), (4,)]


@READINGS
def test_no_states_no_deployments(reading: Reading) -> None:
    assert reading(USUAL, LATER) == []
    assert reading(Fleet(), LATER) == []


@READINGS
def test_a_commit_made_later_changes_no_closed_day(reading: Reading) -> None:
    # What the host runs on day 3 is dated day 6: its committer's clock runs fast.
    fleet = running(("/p1", at(1, 1)), ("/p6", at(3, 12)))
    fleet = replace(
        fleet,
        commits=(*COMMITS, commit(6, at(6))),
        derivations=(*fleet.derivations, nixos(17, 6, "/p6")),
    )
    closed = reading(fleet, at(4))
    # c2 and c3 had been made by the end of the day; c4 had not.
    assert told(closed, "commit_hash", "commits_included") == [("c1", None), ("c6", 3)]

    late = commit(99, at(5), commit_hash="late")
    for snapshot_at in (at(4), LATER):
        again = reading(replace(fleet, commits=(*fleet.commits, late)), snapshot_at)
        assert again == closed


@READINGS
@pytest.mark.parametrize(("events", "is_flapping"), [(9, False), (10, True)])
def test_ten_events_of_a_host_on_a_day_are_flapping(
    events: int, reading: Reading, *, is_flapping: bool
) -> None:
    paths = ["/p1", "/p2"]
    walk = [(paths[number % 2], at(3, 23 - number / 60)) for number in range(events)]
    fleet = running(("/p3", at(2, 23.9)), *reversed(walk), ("/p3", at(4)))
    fleet = replace(
        fleet,
        system_states=(*fleet.system_states, state(900, "/p1", at(3, 1), hostname="db")),
    )
    rows = reading(fleet, LATER)

    assert len([row for row in rows if row["is_flapping"]]) == (events if is_flapping else 0)
    assert {row["hostname"] for row in rows if row["is_flapping"]} == (
        {"web"} if is_flapping else set()
    )
    # Only what had happened by then counts.
    assert not any(row["is_flapping"] for row in reading(fleet, at(3, 22.9)))


@READINGS
def test_events_at_one_instant_are_in_the_order_of_their_hosts(reading: Reading) -> None:
    hosts = [f"host-{number:02}" for number in range(40)]
    instant = at(3, 12)
    reported = (state(n, "/p3", instant, hostname=host) for n, host in enumerate(reversed(hosts)))
    fleet = replace(USUAL, system_states=tuple(reported))

    assert told(reading(fleet, LATER), "hostname") == [(host,) for host in hosts]


@READINGS
def test_today_a_commit_dated_later_today_is_not_included(reading: Reading) -> None:
    # The clocks of the committers of c6 and c7 run fast, and nobody saw c6 by noon.
    fleet = running(("/p2", at(2, 1)), ("/p7", at(3, 11)))
    fleet = replace(
        fleet,
        commits=(*COMMITS, commit(6, at(3, 13)), commit(7, at(3, 14))),
        derivations=(*fleet.derivations, nixos(17, 7, "/p7")),
    )

    # c3 and, as it runs, c7.
    assert reading(fleet, at(3, 12))[-1]["commits_included"] == 2
    assert reading(fleet, at(4))[-1]["commits_included"] == 3


@READINGS
def test_from_one_commit_of_the_future_to_the_next(reading: Reading) -> None:
    fleet = running(("/p2", at(2, 1)), ("/p6", at(3, 1)), ("/p7", at(3, 2)))
    fleet = replace(
        fleet,
        commits=(*COMMITS, commit(6, at(6)), commit(7, at(7))),
        derivations=(*fleet.derivations, nixos(17, 6, "/p6"), nixos(18, 7, "/p7")),
    )

    # c3 and, as it runs, c6; then c7 alone.
    assert told(reading(fleet, at(4)), "commits_included") == [(None,), (2,), (1,)]


@READINGS
def test_each_host_is_known_by_its_own_registration(reading: Reading) -> None:
    fleet = replace(
        USUAL,
        derivations=(*USUAL.derivations, nixos(20, 5, "/p2")),
        systems=(system("app", flake_id=2), system("web")),
        system_states=(
            state(1, "/p1", at(1, 1), hostname="app"),
            state(2, "/p2", at(3, 1), hostname="app"),
            state(3, "/p1", at(1, 1)),
            state(4, "/p2", at(3, 1)),
        ),
    )

    assert told(reading(fleet, LATER), "hostname", "commit_hash") == [
        ("app", "c1"),
        ("web", "c1"),
        ("app", "c5"),
        ("web", "c2"),
    ]


def test_events_are_published_as_they_are_computed() -> None:
    fleet = running(("/elsewhere", at(1)), ("/p1", at(1, 1)), ("/p3", at(3, 1)))
    frame = deployments(index_fleet(fleet_tables(fleet)), pd.Timestamp(LATER))

    assert to_arrow(DEPLOYMENTS, frame).to_pylist() == computed(fleet, LATER)
