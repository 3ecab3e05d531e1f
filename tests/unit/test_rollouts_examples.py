"""What the rollouts' definitions say at their edges: small fleets worked out by hand.

Flake 1 has c1, c2 and c3, made at midnight of day 1, 2 and 3, outputs /p1, /p2 and /p3. Flake 2
has its own, made at 12:00 of the same days, with ids 21 to 23 and outputs /q1, /q2 and /q3.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from assets.compute.rollouts import commit_rollouts
from assets.compute.timeline import index_fleet
from assets.schemas import COMMIT_ROLLOUTS
from tests.fleets import at, commit, flake, fleet_tables, nixos, plain_rows, state, system
from tests.plain_reading import rollouts as plain_reading
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row

Reading = Callable[[Fleet, datetime], list[Row]]

T = at(9)
USUAL = Fleet(
    flakes=(flake(1), flake(2)),
    commits=(
        *(commit(n, at(n)) for n in (1, 2, 3)),
        *(commit(20 + n, at(n, 12), flake_id=2) for n in (1, 2, 3)),
    ),
    derivations=(
        *(nixos(10 + n, n, f"/p{n}") for n in (1, 2, 3)),
        *(nixos(20 + n, 20 + n, f"/q{n}") for n in (1, 2, 3)),
    ),
    systems=(system(),),
)


def computed(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    frame = commit_rollouts(index_fleet(fleet_tables(fleet)), pd.Timestamp(snapshot_at))
    return plain_rows(COMMIT_ROLLOUTS, frame)


READINGS = pytest.mark.parametrize(
    "reading",
    [
        pytest.param(computed, id="computed"),
        pytest.param(plain_reading.commit_rollouts, id="plain"),
    ],
)


def told(rows: list[Row], *columns: str, flake_id: int = 1) -> dict[object, tuple[object, ...]]:
    """The columns of a flake's commits, by commit id."""
    return {
        row["commit_id"]: tuple(row[name] for name in columns)
        for row in rows
        if row["flake_id"] == flake_id
    }


@READINGS
def test_a_commit_that_is_skipped_is_reached_by_the_later_one(reading: Reading) -> None:
    states = (state(1, "/p1", at(1, 6)), state(2, "/p3", at(3, 6)))

    rows = reading(replace(USUAL, system_states=states), T)

    assert told(rows, "hosts_eligible", "hosts_reached", "hosts_current", "first_deployed_at") == {
        3: (1, 1, 1, at(3, 6)),
        2: (1, 1, 0, at(3, 6)),
        1: (1, 1, 0, at(1, 6)),
    }


@READINGS
def test_a_commit_without_effect_is_run_from_its_own_timestamp(reading: Reading) -> None:
    derivations = (*USUAL.derivations, nixos(30, 2, "/p1"))
    fleet = replace(USUAL, derivations=derivations, system_states=(state(1, "/p1", at(1, 6)),))

    assert told(reading(fleet, T), "hosts_reached", "hosts_current", "first_deployed_at") == {
        3: (0, 0, None),
        2: (1, 1, at(2)),
        1: (1, 0, at(1, 6)),
    }
    assert told(reading(fleet, at(2)), "hosts_current", "first_deployed_at") == {1: (1, at(1, 6))}


@READINGS
def test_a_commit_of_the_future_reaches_what_precedes_it(reading: Reading) -> None:
    # The host runs c3 before the clocks say that it, or c2, is made.
    fleet = replace(USUAL, system_states=(state(1, "/p3", at(1, 6)),))

    assert told(reading(fleet, at(2, 6)), "hosts_reached", "hosts_current") == {
        2: (1, 0),
        1: (1, 0),
    }
    assert told(reading(fleet, T), "first_deployed_at") == {
        3: (at(1, 6),),
        2: (at(1, 6),),
        1: (at(1, 6),),
    }


@READINGS
def test_what_is_reached_stays_reached_after_a_rollback(reading: Reading) -> None:
    states = (state(1, "/p2", at(2, 6)), state(2, "/p1", at(3, 6)))

    rows = reading(replace(USUAL, system_states=states), T)

    assert told(rows, "hosts_reached", "hosts_current", "reached_100_percent_at") == {
        3: (0, 0, None),
        2: (1, 0, at(2, 6)),
        1: (1, 1, at(2, 6)),
    }


@READINGS
def test_a_registration_decides_from_then_on_which_flake_s_commit_runs(reading: Reading) -> None:
    # /q1 is built by flake 2's later commit as well as by flake 1's c1.
    fleet = replace(
        USUAL,
        derivations=(*USUAL.derivations, nixos(30, 1, "/q1")),
        systems=(system(created_at=at(4)),),
        system_states=(state(1, "/q1", at(1, 18)),),
    )

    rows = reading(fleet, T)

    assert told(rows, "hosts_eligible", "first_deployed_at")[1] == (1, at(4))
    assert told(rows, "hosts_eligible", "first_deployed_at", flake_id=2)[21] == (0, None)
    # As long as it is not registered, it is a host of flake 2.
    assert told(reading(fleet, at(4)), "hosts_reached", "first_deployed_at", flake_id=2)[21] == (
        1,
        at(1, 18),
    )


@READINGS
def test_a_fork_s_commit_of_the_same_hash_is_another_commit(reading: Reading) -> None:
    fleet = replace(
        USUAL,
        commits=(*USUAL.commits[:2], commit(23, at(3, 12), flake_id=2, commit_hash="c2")),
        system_states=(state(1, "/q3", at(4)),),
    )

    assert told(reading(fleet, T), "hosts_eligible", "hosts_reached", "hosts_current") == {
        2: (1, 0, 0),
        1: (1, 0, 0),
    }


@READINGS
def test_milestones_need_the_share_of_the_hosts_in_full(reading: Reading) -> None:
    # Of three hosts, one is 33 %, two are 67 %: 50 % needs two of them, 90 % all three.
    fleet = replace(
        USUAL,
        systems=tuple(system(hostname) for hostname in "abc"),
        system_states=tuple(
            state(n, "/p1", at(1, n), hostname=hostname) for n, hostname in enumerate("abc", 1)
        ),
    )
    milestones = ("reached_50_percent_at", "reached_90_percent_at", "reached_100_percent_at")

    assert told(reading(fleet, T), *milestones)[1] == (at(1, 2), at(1, 3), at(1, 3))
    assert told(reading(fleet, at(1, 3)), *milestones)[1] == (at(1, 2), None, None)


@READINGS
def test_rows_are_of_visible_commits_newest_first_flake_by_flake(reading: Reading) -> None:
    flakes = (flake(2, "alpha"), flake(1, "beta"))
    tied = (*USUAL.commits, commit(9, at(2)), commit(99, T))

    rows = reading(replace(USUAL, flakes=flakes, commits=tied), T)

    assert [row["commit_id"] for row in rows] == [23, 22, 21, 3, 9, 2, 1]
    assert {row["hosts_eligible"] for row in rows[3:]} == {1}
    assert {row["reached_50_percent_at"] for row in rows} == {None}
