"""Currency: how much of a day's host time was current, with every hour worked out by hand.

Flake `infra` has the commit c1, made on day 1 at 00:00, and what a story adds; host `web` runs c1.
The days asked about are those of the stories' commits.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest

from assets.compute.timeline import index_fleet
from assets.compute.velocity import measure_velocity
from tests.fleets import at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Commit, Fleet, Heartbeat
from tests.plain_reading.words import Row
from tests.unit.velocity_cases import DAYS, Days, assert_told, builds, deployed

C1 = commit(1, at(1))
INFRA = Fleet(
    flakes=(flake(1, "infra"),),
    commits=(C1,),
    derivations=builds(("web", "db"), (1, 2, 3)),
    systems=(system("web"),),
    system_states=deployed(("web", 1, at(1, 6))),
)


def with_commits(*commits: Commit) -> Fleet:
    """The fleet with further commits."""
    return replace(INFRA, commits=(C1, *commits))


def shares(
    *, up_to_date: float, of_commits: tuple[float, float, float], of_hours: tuple[float, float]
) -> Row:
    """Expected shares, given the hours of a day of 24 within 1, 5, 20 commits and 24, 168 hours."""
    return {
        "up_to_date_share": up_to_date / 24,
        "within_1_commit_share": of_commits[0] / 24,
        "within_5_commits_share": of_commits[1] / 24,
        "within_20_commits_share": of_commits[2] / 24,
        "within_24_hours_share": of_hours[0] / 24,
        "within_168_hours_share": of_hours[1] / 24,
    }


@DAYS
def test_commits_that_come_hour_by_hour(days: Days) -> None:
    hourly = (commit(10 + hour, at(2, hour)) for hour in range(1, 8))

    (row,) = days(with_commits(*hourly), at(3))

    # Up to date until 01:00, one behind until 02:00, five until 06:00, seven at last.
    assert_told(
        row, {"host_hours": 24.0, **shares(up_to_date=1, of_commits=(2, 6, 24), of_hours=(24, 24))}
    )


@DAYS
def test_a_deployment_makes_up_for_everything(days: Days) -> None:
    fleet = with_commits(commit(2, at(2, 1)), commit(3, at(2, 2)))
    fleet = replace(fleet, system_states=deployed(("web", 1, at(1, 6)), ("web", 3, at(2, 18))))

    (row,) = days(fleet, at(3))

    # Up to date until 01:00 and from 18:00; at most one behind until 02:00 as well.
    assert_told(row, shares(up_to_date=7, of_commits=(8, 24, 24), of_hours=(24, 24)))


@DAYS
def test_hours_behind_pass_a_limit_within_the_day(days: Days) -> None:
    fleet = with_commits(commit(2, at(2, 15)))

    # Behind since day 2, 15:00: for 24 hours on day 3 at 15:00, for 168 on day 9 at 15:00.
    assert_told(
        days(fleet, at(4))[0], shares(up_to_date=0, of_commits=(24, 24, 24), of_hours=(15, 24))
    )
    assert_told(
        days(fleet, at(10))[0], shares(up_to_date=0, of_commits=(24, 24, 24), of_hours=(0, 15))
    )


@DAYS
def test_a_system_counts_from_its_registration(days: Days) -> None:
    fleet = replace(
        INFRA, systems=(system("web"), system("db", created_at=at(2, 18))), system_states=()
    )

    (row,) = days(fleet, at(3))

    # web all day, db for six hours; both without a deployment.
    assert_told(
        row,
        {
            "host_hours": 30.0,
            "systems_no_deployment": 2,
            **shares(up_to_date=0, of_commits=(0, 0, 0), of_hours=(0, 0)),
        },
    )


@DAYS
def test_no_share_before_any_system_existed(days: Days) -> None:
    fleet = replace(INFRA, systems=(system("web", created_at=at(4)),), system_states=())

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "host_hours": 0.0,
            "up_to_date_share": None,
            "within_1_commit_share": None,
            "within_20_commits_share": None,
            "within_24_hours_share": None,
        },
    )


@DAYS
def test_an_unknown_host_is_not_current(days: Days) -> None:
    local = state(9, "/built-by-hand", at(2, 6))
    fleet = replace(INFRA, system_states=(*INFRA.system_states, local))

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {"host_hours": 24.0, **shares(up_to_date=6, of_commits=(6, 6, 6), of_hours=(6, 6))},
    )


@DAYS
def test_a_host_of_another_flake_is_not_current(days: Days) -> None:
    edge = commit(3, at(1), flake_id=2)
    fleet = replace(
        with_commits(edge),
        flakes=(flake(1, "infra"), flake(2, "edge")),
        system_states=deployed(("web", 1, at(1, 6)), ("web", 3, at(2, 18))),
    )

    of_edge, of_infra = days(fleet, at(3))

    # It stays registered to infra, whose host time it makes up, whatever it runs.
    assert_told(of_edge, {"flake_name": "edge", "host_hours": 0.0, "up_to_date_share": None})
    assert_told(
        of_infra,
        {"host_hours": 24.0, **shares(up_to_date=18, of_commits=(18, 18, 18), of_hours=(18, 18))},
    )


@DAYS
def test_a_host_of_no_flake_follows_what_it_runs(days: Days) -> None:
    edge = commit(3, at(1), flake_id=2)
    local = state(9, "/built-by-hand", at(2, 22))
    fleet = replace(
        with_commits(edge),
        flakes=(flake(1, "infra"), flake(2, "edge")),
        systems=(system("web", flake_id=None),),
        system_states=(*deployed(("web", 1, at(1, 6)), ("web", 3, at(2, 18))), local),
    )

    of_edge, of_infra = days(fleet, at(3))

    # What nobody knows the commit of belongs to no flake.
    assert_told(of_edge, {"host_hours": 4.0, "up_to_date_share": 1.0})
    assert_told(of_infra, {"host_hours": 18.0, "up_to_date_share": 1.0})


@DAYS
def test_an_unregistered_host_counts_from_its_first_report(days: Days) -> None:
    fleet = replace(
        INFRA,
        systems=(system("db", created_at=at(2, 20)),),
        system_states=deployed(("web", 1, at(2, 6)), ("db", 1, at(2, 12))),
    )

    (row,) = days(fleet, at(3))

    # db reports before it is registered, and counts from the report on.
    assert_told(row, {"host_hours": 18.0 + 12.0, "up_to_date_share": 1.0})


@DAYS
def test_a_deactivated_host_never_counts(days: Days) -> None:
    fleet = replace(INFRA, systems=(system("web"), system("db", is_active=False)))
    fleet = replace(
        fleet, system_states=(*fleet.system_states, state(9, "/db-1", at(1, 7), hostname="db"))
    )

    (row,) = days(fleet, at(3))

    assert_told(row, {"host_hours": 24.0, "up_to_date_share": 1.0})


@DAYS
def test_a_host_whose_registration_cant_be_used_is_of_no_flake(days: Days) -> None:
    reported = state(9, "/db-1", at(1, 7), hostname="db")
    fleet = replace(
        INFRA,
        system_states=(*INFRA.system_states, reported),
        unusable_hostnames=("db",),
    )

    (row,) = days(fleet, at(3))

    assert_told(row, {"host_hours": 24.0, "up_to_date_share": 1.0, "systems_total": 1})


SAME_OUTPUT = tuple(nixos(number, number, "/web-1") for number in (1, 2, 3))


@DAYS
@pytest.mark.parametrize("registered", [1, 6])
@pytest.mark.parametrize("made", [(2, 3), (6, 6)])
def test_a_host_that_first_reports_what_several_commits_built(
    days: Days, registered: int, made: tuple[int, int]
) -> None:
    fleet = replace(
        with_commits(*(commit(n, at(2, hour)) for n, hour in enumerate(made, start=2))),
        derivations=SAME_OUTPUT,
        systems=(system("web", created_at=at(2, registered)),),
        system_states=(state(1, "/web-1", at(2, 6)),),
    )

    (row,) = days(fleet, at(3))

    host_hours = 24.0 - registered
    assert_told(row, {"host_hours": host_hours, "up_to_date_share": 18 / host_hours})


@DAYS
def test_what_a_host_ran_before_gains_nothing_by_later_commits(days: Days) -> None:
    # c2 and c3 build what `web` ran until noon of the day before.
    fleet = replace(
        with_commits(commit(2, at(1, 18)), commit(3, at(1, 19)), commit(4, at(1, 20))),
        derivations=(*SAME_OUTPUT, nixos(4, 4, "/web-4")),
        system_states=(state(1, "/web-1", at(1, 6)), state(2, "/web-4", at(1, 12))),
    )

    (row,) = days(fleet, at(3))

    assert_told(row, {"host_hours": 24.0, "up_to_date_share": 1.0})


@DAYS
def test_a_commit_that_changes_nothing_on_the_host(days: Days) -> None:
    same_output = (nixos(1, 1, "/web-1"), nixos(2, 2, "/web-1"), nixos(3, 3, "/web-3"))
    fleet = replace(
        with_commits(commit(2, at(2, 6)), commit(3, at(2, 18))), derivations=same_output
    )

    (row,) = days(fleet, at(3))

    # c2 has the output that web runs: it is up to date with it from the moment it is made.
    assert_told(
        row,
        {
            "host_deployments": 0,
            "systems_behind": 1,
            **shares(up_to_date=18, of_commits=(24, 24, 24), of_hours=(24, 24)),
        },
    )


@DAYS
def test_ahead_is_behind_nothing_but_not_up_to_date(days: Days) -> None:
    fleet = with_commits(commit(2, at(2, 12)))
    fleet = replace(fleet, system_states=deployed(("web", 1, at(1, 6)), ("web", 2, at(2, 9))))

    (row,) = days(fleet, at(3))

    assert_told(row, shares(up_to_date=21, of_commits=(24, 24, 24), of_hours=(24, 24)))


@DAYS
def test_nothing_is_ahead_of_a_flake_without_a_commit(days: Days) -> None:
    fleet = replace(
        INFRA,
        commits=(commit(1, at(2, 6)), commit(2, at(2, 12))),
        system_states=deployed(("web", 2, at(1, 6))),
    )

    (row,) = days(fleet, at(3))

    # Unknown until c1 is made, ahead until c2 is.
    assert_told(row, shares(up_to_date=12, of_commits=(18, 18, 18), of_hours=(18, 18)))


@DAYS
def test_today_counts_up_to_now(days: Days) -> None:
    fleet = with_commits(commit(2, at(2, 6)))
    now: datetime = at(2, 8)

    (row,) = days(fleet, now)

    assert_told(
        row,
        {"host_hours": 8.0, "up_to_date_share": 6 / 8, "within_1_commit_share": 1.0},
    )


def seen_shares(hours: float) -> Row:
    """Expected of a host that is up to date all day: the hours in which it had been seen."""
    names = shares(up_to_date=0, of_commits=(0, 0, 0), of_hours=(0, 0))
    return {f"seen_{name}": hours / 24 for name in names}


@DAYS
def test_a_silent_host_is_seen_for_four_hours(days: Days) -> None:
    again = state(9, "/web-1", at(2, 6))
    fleet = replace(INFRA, agent_heartbeats=(), system_states=(*INFRA.system_states, again))

    (row,) = days(fleet, at(3))

    assert_told(row, {"up_to_date_share": 1.0, **seen_shares(4)})


@DAYS
def test_a_heartbeat_shows_all_the_time_since_its_state(days: Days) -> None:
    fleet = replace(INFRA, agent_heartbeats=(Heartbeat(1, at(2, 15)),))

    (row,) = days(fleet, at(3))

    assert_told(row, {"up_to_date_share": 1.0, **seen_shares(19)})


@DAYS
def test_of_earlier_states_and_after_the_day_no_heartbeat_counts(days: Days) -> None:
    again = state(9, "/web-1", at(2, 20))
    fleet = replace(
        INFRA,
        system_states=(*INFRA.system_states, again),
        agent_heartbeats=(Heartbeat(1, at(2, 15)), Heartbeat(9, at(3))),
    )

    (row,) = days(fleet, at(3))

    assert_told(row, seen_shares(4))


@DAYS
def test_what_was_seen_is_not_known_without_heartbeats(days: Days) -> None:
    (row,) = days(INFRA, at(3))

    assert_told(row, {"up_to_date_share": 1.0, **dict.fromkeys(seen_shares(0))})


@pytest.mark.parametrize(
    ("delay", "share"), [(timedelta(hours=1), 1.0), (timedelta(hours=1, microseconds=1), None)]
)
def test_what_was_seen_is_known_for_an_hour(delay: timedelta, share: float | None) -> None:
    fleet = replace(INFRA, agent_heartbeats=(Heartbeat(1, at(2, 23)),))
    tables = fleet_tables(fleet)
    instant = pd.Timestamp(at(3))

    measured = measure_velocity(tables, index_fleet(tables), [instant], instant + delay)

    assert measured["seen_up_to_date_share"].astype(object).where(
        measured["seen_up_to_date_share"].notna(), None
    ).tolist() == [share]


@DAYS
def test_nothing_is_current_once_its_flake_is_deleted(days: Days) -> None:
    fleet = replace(INFRA, flakes=(replace(INFRA.flakes[0], deleted_at=at(2, 9)),))

    (row,) = days(fleet, at(3))

    assert_told(
        row, {"host_hours": 24.0, **shares(up_to_date=9, of_commits=(9, 9, 9), of_hours=(9, 9))}
    )


@DAYS
def test_what_was_latest_stays_so_when_history_is_rewritten(days: Days) -> None:
    fleet = with_commits(replace(commit(2, at(2, 12)), source_archived=True))

    (row,) = days(fleet, at(3))

    # The snapshot knows better; the hours are those that were counted when it happened.
    assert_told(row, {"systems_up_to_date": 1, "up_to_date_share": 0.5})
