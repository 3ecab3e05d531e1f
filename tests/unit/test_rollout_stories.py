"""Commit rollouts: small fleets, each telling one story, with the instants worked out by hand.

Flake `infra` has the commits c1 (day 1, 00:00), c2 (day 2, 08:00) and c3 (day 2, 12:00).
"""

from dataclasses import replace
from datetime import date, datetime

import pandas as pd

from assets.compute.rollouts import rollouts_of_days
from assets.compute.timeline import index_fleet
from assets.schemas import COMMIT_ROLLOUTS
from tests.fleets import at, commit, flake, fleet_tables, nixos, plain_rows, system
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row
from tests.unit.velocity_cases import (
    ROLLOUTS,
    Rollouts,
    assert_told,
    builds,
    computed_rollouts,
    deployed,
)

HOSTS = ("web", "db", "app")
COMMITS = (commit(1, at(1)), commit(2, at(2, 8)), commit(3, at(2, 12)))
INFRA = Fleet(
    flakes=(flake(1, "infra"),),
    commits=COMMITS,
    derivations=builds(HOSTS, (1, 2, 3)),
    systems=tuple(system(host) for host in HOSTS),
)


def with_deployments(*host_commit_instant: tuple[str, int, datetime]) -> Fleet:
    """The fleet, where every host began with c1 on day 1."""
    began = ((host, 1, at(1, 6 + number)) for number, host in enumerate(HOSTS))
    return replace(INFRA, system_states=deployed(*began, *host_commit_instant))


def milestones(row: Row) -> tuple[object, ...]:
    """When the commit reached its first system, and 50, 90 and 100 percent of them."""
    return (
        row["first_deployed_at"],
        row["reached_50_percent_at"],
        row["reached_90_percent_at"],
        row["reached_100_percent_at"],
    )


@ROLLOUTS
def test_a_clean_rollout(rollouts: Rollouts) -> None:
    fleet = with_deployments(("web", 2, at(2, 9)), ("db", 2, at(2, 10)), ("app", 2, at(2, 11.5)))

    c3, c2, c1 = rollouts(fleet, at(3))

    # Half of three systems are two, nine tenths are all three.
    assert c2 == {
        "commit_id": 2,
        "commit_hash": "c2",
        "commit_timestamp": at(2, 8),
        "flake_id": 1,
        "flake_name": "infra",
        "hosts_eligible": 3,
        "hosts_reached": 3,
        "hosts_current": 3,
        "first_deployed_at": at(2, 9),
        "reached_50_percent_at": at(2, 10),
        "reached_90_percent_at": at(2, 11.5),
        "reached_100_percent_at": at(2, 11.5),
        "snapshot_date": date(2026, 3, 3),
        "snapshot_at": at(3),
    }
    assert_told(c1, {"commit_id": 1, "hosts_reached": 3, "hosts_current": 0})
    assert milestones(c1) == (at(1, 6), at(1, 7), at(1, 8), at(1, 8))
    assert_told(c3, {"commit_id": 3, "hosts_reached": 0, "hosts_current": 0})
    assert milestones(c3) == (None, None, None, None)


@ROLLOUTS
def test_a_rollback_does_not_take_back_what_was_reached(rollouts: Rollouts) -> None:
    fleet = with_deployments(("web", 2, at(2, 9)), ("web", 1, at(2, 10)))

    _, c2, c1 = rollouts(fleet, at(3))

    assert_told(c2, {"hosts_reached": 1, "hosts_current": 0, "first_deployed_at": at(2, 9)})
    assert_told(c1, {"hosts_reached": 3, "hosts_current": 3})


@ROLLOUTS
def test_a_skipped_commit_is_reached_within_a_later_one(rollouts: Rollouts) -> None:
    fleet = with_deployments(("web", 3, at(2, 14)))

    c3, c2, _ = rollouts(fleet, at(3))

    assert_told(c2, {"hosts_reached": 1, "hosts_current": 0, "first_deployed_at": at(2, 14)})
    assert_told(c3, {"hosts_reached": 1, "hosts_current": 1, "first_deployed_at": at(2, 14)})


@ROLLOUTS
def test_a_straggler_holds_up_the_last_percent(rollouts: Rollouts) -> None:
    hosts = tuple(f"host-{number}" for number in range(10))
    fleet = Fleet(
        flakes=INFRA.flakes,
        commits=COMMITS[:2],
        derivations=builds(hosts, (1, 2)),
        systems=tuple(system(host) for host in hosts),
        system_states=deployed(
            *((host, 2, at(2, 9 + number)) for number, host in enumerate(hosts[:9])),
            (hosts[9], 2, at(8)),
        ),
    )

    c2, _ = rollouts(fleet, at(3))
    assert_told(c2, {"hosts_eligible": 10, "hosts_reached": 9})
    assert milestones(c2) == (at(2, 9), at(2, 13), at(2, 17), None)

    c2, _ = rollouts(fleet, at(9))
    assert_told(c2, {"hosts_eligible": 10, "hosts_reached": 10})
    assert milestones(c2) == (at(2, 9), at(2, 13), at(2, 17), at(8))


@ROLLOUTS
def test_a_flake_nobody_deploys(rollouts: Rollouts) -> None:
    fleet = replace(INFRA, systems=())

    for row in rollouts(fleet, at(3)):
        assert_told(row, {"hosts_eligible": 0, "hosts_reached": 0, "hosts_current": 0})
        assert milestones(row) == (None, None, None, None)


@ROLLOUTS
def test_systems_without_a_deployment_are_waited_for(rollouts: Rollouts) -> None:
    fleet = replace(INFRA, system_states=deployed(("web", 3, at(2, 14)), ("db", 3, at(2, 15))))

    c3, _, _ = rollouts(fleet, at(3))

    assert_told(c3, {"hosts_eligible": 3, "hosts_reached": 2})
    assert milestones(c3) == (at(2, 14), at(2, 15), None, None)


@ROLLOUTS
def test_a_commit_made_after_a_faster_clock(rollouts: Rollouts) -> None:
    # c2's author is half an hour ahead: c2 runs before its timestamp, and c3, made in between,
    # comes before it in the order of commits.
    fleet = replace(
        with_deployments(("web", 2, at(2, 12))),
        commits=(COMMITS[0], commit(2, at(2, 12.5)), commit(3, at(2, 12.25))),
    )

    (c1,) = rollouts(fleet, at(2, 12.25))
    assert_told(c1, {"commit_id": 1, "hosts_reached": 3, "hosts_current": 2})

    c2, c3, _ = rollouts(fleet, at(3))
    assert_told(
        c2, {"commit_id": 2, "hosts_reached": 1, "hosts_current": 1, "first_deployed_at": at(2, 12)}
    )
    assert_told(
        c3, {"commit_id": 3, "hosts_reached": 1, "hosts_current": 0, "first_deployed_at": at(2, 12)}
    )


@ROLLOUTS
def test_a_commit_that_changes_nothing_needs_no_deployment(rollouts: Rollouts) -> None:
    unchanged = tuple(
        nixos(10 * number + commit_id, commit_id, f"/{host}-1", name=host)
        for number, host in enumerate(HOSTS)
        for commit_id in (1, 2)
    )
    fleet = replace(with_deployments(), derivations=unchanged)

    c3, c2, _ = rollouts(fleet, at(3))

    # All run c2's output when it is made, and their status says that they run c2.
    assert_told(c2, {"hosts_reached": 3, "hosts_current": 3})
    assert milestones(c2) == (at(2, 8), at(2, 8), at(2, 8), at(2, 8))
    assert_told(c3, {"hosts_reached": 0})


@ROLLOUTS
def test_only_the_systems_of_the_flake_count(rollouts: Rollouts) -> None:
    fleet = replace(
        with_deployments(("web", 2, at(2, 9)), ("db", 2, at(2, 10)), ("app", 2, at(2, 11))),
        flakes=(flake(1, "infra"), flake(2, "edge")),
        systems=(system("web"), system("db", flake_id=2), system("app", is_active=False)),
    )

    _, c2, _ = rollouts(fleet, at(3))

    assert_told(c2, {"hosts_eligible": 1, "hosts_reached": 1, "hosts_current": 1})
    assert milestones(c2) == (at(2, 9),) * 4


@ROLLOUTS
def test_a_newcomer_makes_the_whole_greater(rollouts: Rollouts) -> None:
    fleet = with_deployments(("web", 2, at(2, 9)), ("db", 2, at(2, 10)), ("app", 2, at(2, 11)))
    fleet = replace(fleet, systems=(*fleet.systems, system("new", created_at=at(5))))

    _, before, _ = rollouts(fleet, at(5))
    _, after, _ = rollouts(fleet, at(5, microsecond=1))

    # Half of four systems are two, as of three; nine tenths of four are four.
    assert milestones(before) == (at(2, 9), at(2, 10), at(2, 11), at(2, 11))
    assert_told(after, {"hosts_eligible": 4, "hosts_reached": 3})
    assert milestones(after) == (at(2, 9), at(2, 10), None, None)


def test_one_day_after_another_is_as_each_day_alone() -> None:
    # Systems join, one that ran a commit before it joined, and one leaves for another flake.
    fleet = replace(
        with_deployments(
            ("web", 2, at(2, 9)),
            ("guest", 1, at(2, 10)),
            ("db", 3, at(3, 9)),
            ("guest", 5, at(4, 10)),
            ("web", 3, at(5, 9)),
            ("guest", 3, at(6, 10)),
        ),
        flakes=(flake(1, "infra"), flake(2, "edge")),
        commits=(*COMMITS, commit(5, at(1), flake_id=2)),
        derivations=builds((*HOSTS, "guest"), (1, 2, 3, 5)),
        systems=(system("web"), system("db", created_at=at(4)), system("app", created_at=at(5))),
    )
    instants = [at(day) for day in range(1, 9)]

    followed = rollouts_of_days(
        index_fleet(fleet_tables(fleet)), [pd.Timestamp(instant) for instant in instants]
    )

    assert [plain_rows(COMMIT_ROLLOUTS, frame) for frame in followed] == [
        computed_rollouts(fleet, instant) for instant in instants
    ]


@ROLLOUTS
def test_a_commit_that_was_rewritten_away_has_no_row_and_its_place(rollouts: Rollouts) -> None:
    # c2 made room for c3, and web still runs it; db went on to c3.
    c1, c2, c3 = COMMITS
    fleet = replace(
        with_deployments(("web", 2, at(2, 9)), ("db", 3, at(2, 14))),
        commits=(c1, replace(c2, source_archived=True), c3),
    )

    of_c3, of_c1 = rollouts(fleet, at(3))

    assert_told(of_c3, {"commit_id": 3, "hosts_reached": 1, "hosts_current": 1})
    assert_told(of_c1, {"commit_id": 1, "hosts_reached": 3, "hosts_current": 1})


@ROLLOUTS
def test_a_host_ahead_of_what_replaced_its_commit_has_reached_that(rollouts: Rollouts) -> None:
    # c3 was rewritten into c2, whose date is the earlier one.
    c1, c2, c3 = COMMITS
    fleet = replace(
        with_deployments(("web", 3, at(2, 14))),
        commits=(c1, c2, replace(c3, source_archived=True)),
    )

    of_c2, _ = rollouts(fleet, at(3))

    assert_told(
        of_c2,
        {"hosts_reached": 1, "hosts_current": 0, "first_deployed_at": at(2, 14)},
    )


@ROLLOUTS
def test_an_output_of_a_rewritten_commit_too_stands_for_the_one_on_the_branch(
    rollouts: Rollouts,
) -> None:
    # c3 has the output of c2, and is dated later; but it is on no branch any more.
    c1, c2, c3 = COMMITS
    fleet = replace(
        with_deployments(("web", 2, at(2, 9))),
        commits=(c1, c2, replace(c3, source_archived=True)),
        derivations=(*builds(HOSTS, (1, 2)), nixos(90, 3, "/web-2")),
    )

    of_c2, _ = rollouts(fleet, at(3))

    assert_told(of_c2, {"hosts_current": 1, "first_deployed_at": at(2, 9)})
