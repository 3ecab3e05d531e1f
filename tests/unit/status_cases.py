"""What the hand-worked cases of status share: the usual fleet, and how a case is written and held.

The usual fleet: flake 1 `infra` with four commits, c1 to c4, made at midnight of day 1 to 4 (day 0
is 1 March 2026), each with an output /p1 to /p4 for host `web`; flake 2 `edge` has no commits. The
host `web` is registered to infra and has reported /p2 on day 2 at 06:00. T is midnight of day 5.
A case says what differs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import pandas as pd
import pytest

from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from tests.fleets import (
    BUILD_STATUSES,
    at,
    commit,
    flake,
    fleet_tables,
    nixos,
    plain_rows,
    state,
    system,
)
from tests.plain_reading import status as plain_reading
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row

Reading = Callable[[Fleet, datetime], list[Row]]

T = at(5)
FLAKES = (flake(1, "infra"), flake(2, "edge"))
COMMITS = (commit(1, at(1)), commit(2, at(2)), commit(3, at(3)), commit(4, at(4)))
BUILDS = tuple(nixos(10 + n, n, f"/p{n}", drv=f"/p{n}.drv") for n in (1, 2, 3, 4))
USUAL = Fleet(
    flakes=FLAKES,
    commits=COMMITS,
    derivations=BUILDS,
    systems=(system(),),
    system_states=(state(1, "/p2", at(2, 6)),),
    derivation_statuses=BUILD_STATUSES,
)


def usual(**changes: object) -> Fleet:
    """The usual fleet with other tables."""
    return replace(USUAL, **changes)  # type: ignore[arg-type]  # the names are those of Fleet


def running(*reports: tuple[str, datetime]) -> Fleet:
    """The usual fleet with other reports of `web`, in the order of their ids."""
    return usual(
        system_states=tuple(state(n, path, when) for n, (path, when) in enumerate(reports, start=1))
    )


def computed_status(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """What the fast code says."""
    instant = pd.Timestamp(snapshot_at)
    frame = system_deployment_status(index_fleet(fleet_tables(fleet)), instant, instant)
    return plain_rows(SYSTEM_DEPLOYMENT_STATUS, frame)


def plainly_read_status(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """What the plain reading says, which the property tests trust."""
    return plain_reading.system_deployment_status(fleet, snapshot_at, snapshot_at)


READINGS = pytest.mark.parametrize(
    "reading",
    [pytest.param(computed_status, id="computed"), pytest.param(plainly_read_status, id="plain")],
)


@dataclass(frozen=True)
class Case:
    """One line of the contract: what differs from the usual fleet, and what must come out."""

    line: str
    fleet: Fleet = USUAL
    expected: Row = field(default_factory=dict)
    snapshot_at: datetime = T

    def __str__(self) -> str:
        return self.line

    def hold(self, reading: Reading) -> None:
        """Holds the only row that comes out to the columns that the case speaks of."""
        (row,) = reading(self.fleet, self.snapshot_at)
        assert {name: row[name] for name in self.expected} == self.expected
