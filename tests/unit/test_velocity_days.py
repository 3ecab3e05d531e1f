"""Velocity of several days: measured together as each alone, and joined with what is published."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pandas as pd
from pandas.testing import assert_frame_equal

from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.velocity import deployment_velocity, measure_velocity
from tests.fleets import BUILD_STATUSES, at, commit, flake, fleet_tables, nixos, system
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import DAYS, HOUR, Days, builds, deployed


def fleet_of(*host_commit_instant: tuple[str, int, datetime]) -> Fleet:
    """Three commits of flake 1, and a flake 2 that no system follows."""
    hosts = tuple(sorted({host for host, _, _ in host_commit_instant}))
    return Fleet(
        flakes=(flake(1), flake(2)),
        commits=(
            *(commit(number, at(0, number)) for number in (1, 2, 3)),
            commit(9, at(0), flake_id=2),
        ),
        derivations=(*builds(hosts, (1, 2, 3)), nixos(900, 9, "/9")),
        systems=tuple(system(host) for host in hosts),
        system_states=deployed(*host_commit_instant),
    )


def flapping(host: str, first: datetime) -> list[tuple[str, int, datetime]]:
    """Eleven events, a minute apart; the last is an upgrade."""
    minute = pd.Timedelta(1, "min").to_pytimedelta()
    return [(host, 2 - number % 2, first + number * minute) for number in range(11)]


def measured_on(fleet: Fleet, days: Sequence[datetime]) -> pd.DataFrame:
    tables = fleet_tables(fleet)
    ends = [pd.Timestamp(day) for day in days]
    return measure_velocity(tables, index_fleet(tables), ends, ends[-1])


def test_days_measured_together_are_as_each_alone() -> None:
    fleet = fleet_of(
        ("db", 1, at(1, 1)),
        # Fails, and is rolled back as the day ends.
        ("db", 2, at(1, 20)),
        ("db", 1, at(2)),
        # Fails, and is rolled back on the day after.
        ("db", 2, at(2, 20)),
        ("db", 1, at(3, 1)),
        ("db", 2, at(4, 10)),
        ("web", 1, at(1, 1)),
        ("web", 3, at(3, 10)),
        *flapping("web", at(3, 14)),
        ("web", 3, at(4, 1)),
    )
    days = [at(2), at(3), at(3, 12), at(4, 12), at(5, 12)]
    # Two snapshots are of day 3 here, and of day 2 there.
    for together in (days[:2] + days[3:], days[:1] + days[2:], days[2:], days[3:]):
        alone = [measured_on(fleet, [day]) for day in together]
        assert_frame_equal(measured_on(fleet, together), pd.concat(alone, ignore_index=True))

    so_far = measured_on(fleet, days[2:4]).query("flake_id == 1")
    # What flaps in the afternoon does not flap by noon.
    assert so_far["host_deployments"].tolist() == [2, 2]


@DAYS
def test_a_deployment_fails_that_is_rolled_back_next(days: Days) -> None:
    fleet = fleet_of(("web", 1, at(1)), ("web", 2, at(2, 1)), ("web", 1, at(2, 3)))

    row = days(fleet, at(3))[0]

    # Of the upgrade and the rollback, the upgrade failed.
    assert row["change_fail_rate_rollback_proxy"] == 0.5
    assert row["failed_deployment_recovery_p50_seconds_rollback_proxy"] == 2 * HOUR


@DAYS
def test_who_recovers_from_flapping_has_not_recovered_from_a_deployment(days: Days) -> None:
    fleet = fleet_of(("web", 1, at(1)), *flapping("web", at(2, 1)), ("web", 1, at(3, 1)))

    row = days(fleet, at(4))[0]

    assert row["rollbacks"] == 1
    assert row["failed_deployment_recovery_p50_seconds_rollback_proxy"] is None


def test_a_flake_that_no_status_snapshot_has_is_without_systems() -> None:
    fleet = fleet_of(("web", 1, at(1)))
    instant = pd.Timestamp(at(2))
    tables = fleet_tables(fleet)
    timeline = index_fleet(tables)
    status = system_deployment_status(timeline, instant, instant)
    flake_status = flake_deployment_status(timeline, status, instant, instant)
    days = [instant, pd.Timestamp(at(3))]

    velocity = deployment_velocity(
        measure_velocity(tables, timeline, days, days[-1]), flake_status.query("flake_id == 1")
    )

    assert velocity["flake_id"].tolist() == [1, 2]
    assert velocity["systems_total"].tolist() == [1, 0]
    assert velocity["systems_behind"].tolist() == [1, 0]
    assert velocity["commits_behind_p50"].isna().tolist() == [False, True]


@DAYS
def test_a_commit_is_reached_first_by_whoever_reaches_it_or_a_later_one_first(days: Days) -> None:
    fleet = fleet_of(
        ("web", 1, at(1)), ("web", 3, at(2, 1)), ("web", 1, at(3, 1)), ("web", 2, at(3, 2))
    )

    assert days(fleet, at(3))[0]["commits_first_deployed"] == 2
    assert days(fleet, at(4))[0]["commits_first_deployed"] == 0


@DAYS
def test_of_hosts_that_reach_a_commit_at_one_instant_the_first_by_name_counts(days: Days) -> None:
    hosts = [f"host-{number:02}" for number in range(40)]
    instant = at(2, 1)
    fleet = fleet_of(
        *((host, 1, at(1)) for host in hosts[1:]), *((host, 2, instant) for host in hosts)
    )
    fleet = replace(
        fleet,
        derivations=tuple(replace(each, completed_at=at(1, 1)) for each in fleet.derivations),
        derivation_statuses=BUILD_STATUSES,
    )

    # It had never reported before: what it runs says nothing of how long a deployment took.
    assert days(fleet, at(3))[0]["built_to_first_host_count"] == 0
    named_last = replace(
        fleet,
        systems=tuple(
            replace(each, hostname=each.hostname.replace("-00", "-99")) for each in fleet.systems
        ),
        system_states=tuple(
            replace(each, hostname=each.hostname.replace("-00", "-99"))
            for each in fleet.system_states
        ),
    )
    assert days(named_last, at(3))[0]["built_to_first_host_count"] == 1


@DAYS
def test_a_commit_of_the_future_counts_once_it_is_deployed_itself(days: Days) -> None:
    fleet = fleet_of(
        ("web", 1, at(1)),
        ("web", 3, at(2, 1)),
        ("db", 1, at(1)),
        ("db", 2, at(3, 1)),
        ("db", 1, at(3, 2)),
        ("db", 2, at(4, 1)),
    )
    made_later = {2: at(6), 3: at(7)}
    fleet = replace(
        fleet,
        commits=tuple(
            replace(each, commit_timestamp=made_later.get(each.id, each.commit_timestamp))
            for each in fleet.commits
        ),
    )

    # c2 was passed with c3 on the day before, when nobody could know of it.
    first_deployed = [days(fleet, at(day))[0]["commits_first_deployed"] for day in (3, 4, 5)]
    assert first_deployed == [1, 1, 0]
