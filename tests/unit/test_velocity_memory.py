"""Memory: a flake with millions of (host, commit) pairs, of which few may be listed at once."""

import tracemalloc
from collections.abc import Callable

import pandas as pd
import pytest

from assets.compute.rollouts import commit_rollouts
from assets.compute.timeline import FleetTimeline, index_fleet
from assets.compute.velocity import measure_velocity
from tests.fleets import FIRST_DAY, at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import HOUR

HOSTS = 600
COMMITS = 4000
PAIRS = HOSTS * (COMMITS - 1)
BYTES_OF_ONE_COLUMN = PAIRS * 8
AT_ONCE = 10_000


@pytest.fixture(scope="module")
def skipping() -> Fleet:
    """Commits of every minute; all hosts begin with the first and go to the last, on day 3."""
    hosts = [f"host-{number:03d}" for number in range(HOSTS)]
    last = COMMITS - 1
    return Fleet(
        flakes=(flake(),),
        commits=tuple(commit(number, at(0, number / 60)) for number in range(COMMITS)),
        derivations=(nixos(1, 0, "/first"), nixos(2, last, "/last")),
        systems=tuple(system(host) for host in hosts),
        system_states=(
            *(state(n, "/first", at(0, 1), hostname=host) for n, host in enumerate(hosts)),
            *(state(HOSTS + n, "/last", at(3), hostname=host) for n, host in enumerate(hosts)),
        ),
    )


@pytest.fixture(scope="module")
def unchanged() -> Fleet:
    """Commits of every minute that all have the one output that all hosts run."""
    hosts = [f"host-{number:03d}" for number in range(HOSTS)]
    return Fleet(
        flakes=(flake(),),
        commits=tuple(commit(number, at(0, number / 60)) for number in range(COMMITS)),
        derivations=tuple(nixos(number, number, "/same") for number in range(COMMITS)),
        systems=tuple(system(host) for host in hosts),
        system_states=tuple(
            state(n, "/same", at(0, 1), hostname=host) for n, host in enumerate(hosts)
        ),
    )


def peak_of(compute: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """What a computation gives, and the most memory that it had allocated, in bytes."""
    tracemalloc.start()
    try:
        return compute(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def indexed(fleet: Fleet) -> FleetTimeline:
    return index_fleet(fleet_tables(fleet))


def test_lead_times_of_pairs_that_are_never_listed(skipping: Fleet) -> None:
    tables = fleet_tables(skipping)
    timeline = index_fleet(tables)
    snapshots_at = [pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=day) for day in (1, 4)]

    measured, peak = peak_of(
        lambda: measure_velocity(
            tables, timeline, snapshots_at, snapshots_at[-1], pairs_at_once=AT_ONCE
        )
    )

    # Every host waited 72 hours for the first commit after its own, less a minute for each later.
    minutes = 72 * 60 - 1
    assert measured["change_lead_time_count"].tolist() == [0, PAIRS]
    assert measured["change_lead_time_p50_seconds"].iloc[-1] == pytest.approx(
        (minutes - (COMMITS - 2) / 2) / 60 * HOUR
    )
    assert peak < BYTES_OF_ONE_COLUMN / 4


@pytest.mark.parametrize("fleet_name", ["skipping", "unchanged"])
def test_rollouts_of_pairs_that_are_listed_few_at_a_time(
    fleet_name: str, request: pytest.FixtureRequest
) -> None:
    timeline = indexed(request.getfixturevalue(fleet_name))

    rollouts, peak = peak_of(
        lambda: commit_rollouts(
            timeline, pd.Timestamp(at(4)), pairs_at_once=AT_ONCE, pieces_at_once=AT_ONCE
        )
    )

    assert rollouts["hosts_reached"].sum() == PAIRS + HOSTS
    assert peak < BYTES_OF_ONE_COLUMN / 4


def test_host_time_of_pieces_that_are_listed_few_at_a_time(unchanged: Fleet) -> None:
    tables = fleet_tables(unchanged)
    timeline = index_fleet(tables)
    instant = pd.Timestamp(at(1))

    measured, peak = peak_of(
        lambda: measure_velocity(
            tables,
            timeline,
            [instant],
            instant,
            pairs_at_once=AT_ONCE,
            pieces_at_once=AT_ONCE,
        )
    )

    # Nobody reported in the first hour of the day.
    assert measured["up_to_date_share"].tolist() == pytest.approx([23 / 24])
    assert peak < BYTES_OF_ONE_COLUMN / 4
