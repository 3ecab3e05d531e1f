"""What the stories of velocity, currency and rollouts share: hand-written fleets, both readings.

Host `h` of commit `n` builds `/h-n`. A story is held to the computation and to the plain reading,
so that neither can drift from what was worked out by hand.

Flake `infra` has the commits c1 (day 1, 00:00), c2 (day 2, 08:00), c3 (day 2, 12:00) and c4 (day 3,
10:00).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from assets.compute.flake_status import flake_deployment_status
from assets.compute.rollouts import commit_rollouts
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.velocity import deployment_velocity, measure_velocity
from assets.schemas import COMMIT_ROLLOUTS, DEPLOYMENT_VELOCITY
from tests.fleets import at, commit, flake, fleet_tables, nixos, plain_rows, state, system
from tests.plain_reading import rollouts as plain_rollouts
from tests.plain_reading import velocity as plain_velocity
from tests.plain_reading.rows import Derivation, Fleet, State
from tests.plain_reading.words import Row, Value

HOUR = 3600.0
MINUTE = 60.0

Days = Callable[[Fleet, datetime], list[Row]]
Rollouts = Callable[[Fleet, datetime], list[Row]]


def builds(hosts: tuple[str, ...], commit_ids: tuple[int, ...]) -> tuple[Derivation, ...]:
    """A derivation of every host for every commit, each with an output of its own."""
    return tuple(
        nixos(number, commit_id, f"/{host}-{commit_id}", name=host)
        for number, (host, commit_id) in enumerate(
            ((host, commit_id) for host in hosts for commit_id in commit_ids), start=1
        )
    )


def deployed(*host_commit_instant: tuple[str, int, datetime]) -> tuple[State, ...]:
    """A report of each host that runs what it built of the commit."""
    return tuple(
        state(number, f"/{host}-{commit_id}", when, hostname=host)
        for number, (host, commit_id, when) in enumerate(host_commit_instant, start=1)
    )


HOSTS = ("web", "db", "app")
COMMITS = (
    commit(1, at(1)),
    commit(2, at(2, 8)),
    commit(3, at(2, 12)),
    commit(4, at(3, 10)),
)
INFRA = Fleet(
    flakes=(flake(1, "infra"),),
    commits=COMMITS,
    derivations=builds(HOSTS, (1, 2, 3, 4)),
    systems=(system("web"),),
)


def web_deployed(*commit_and_instant: tuple[int, datetime]) -> Fleet:
    """The fleet with host `web` alone, which deployed these."""
    return replace(INFRA, system_states=deployed(*(("web", *each) for each in commit_and_instant)))


def computed_day(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The rows of one day, as computed."""
    tables = fleet_tables(fleet)
    timeline = index_fleet(tables)
    instant = pd.Timestamp(snapshot_at)
    measured = measure_velocity(tables, timeline, [instant], instant)
    status = system_deployment_status(timeline, instant, instant)
    flake_status = flake_deployment_status(timeline, status, instant, instant)
    return plain_rows(DEPLOYMENT_VELOCITY, deployment_velocity(measured, flake_status))


def plainly_read_day(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The rows of one day, as the plain reading has them."""
    return plain_velocity.deployment_velocity(fleet, [snapshot_at], snapshot_at)


def computed_rollouts(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The rollouts at an instant, as computed."""
    rollouts = commit_rollouts(index_fleet(fleet_tables(fleet)), pd.Timestamp(snapshot_at))
    return plain_rows(COMMIT_ROLLOUTS, rollouts)


DAYS = pytest.mark.parametrize(
    "days",
    [pytest.param(computed_day, id="computed"), pytest.param(plainly_read_day, id="plain")],
)
ROLLOUTS = pytest.mark.parametrize(
    "rollouts",
    [
        pytest.param(computed_rollouts, id="computed"),
        pytest.param(plain_rollouts.commit_rollouts, id="plain"),
    ],
)


def assert_told(row: Row, expected: Row) -> None:
    """Holds the named columns to their values; fractions may differ in what rounding leaves."""

    def close(value: Value) -> object:
        return pytest.approx(value, 1e-12) if isinstance(value, float) else value

    assert {name: row[name] for name in expected} == {
        name: close(value) for name, value in expected.items()
    }
