"""What hosts ran within a span of time, whatever the bound of memory."""

from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from assets.compute.encoding import NEVER, instant_microseconds
from assets.compute.timeline import index_fleet
from tests.fleets import at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Fleet

# `web` runs what c1, c2 and c3 build, then c4; `db` runs c4 alone; `app` reports nothing. c2 and c3
# are made at the same instant, so that c2 is never the last.
FLEET = Fleet(
    flakes=(flake(),),
    commits=tuple(commit(number, at(day)) for number, day in enumerate((1, 2, 2, 3), start=1)),
    derivations=(*(nixos(n, n, "/a") for n in (1, 2, 3)), nixos(4, 4, "/b")),
    systems=tuple(system(host) for host in ("app", "db", "web")),
    system_states=(
        state(1, "/a", at(1, 6)),
        state(2, "/b", at(4)),
        state(3, "/b", at(5), hostname="db"),
    ),
)
Piece = tuple[str, int, datetime, datetime]


def joined(pieces: pd.DataFrame) -> list[Piece]:
    """The pieces by host and time; what was divided at a border of memory is one again."""
    hosts = ("app", "db", "web")
    found: list[Piece] = []
    for row in pieces.sort_values(["host", "start"]).to_dict("records"):
        start, end = (
            pd.Timestamp(row[name], unit="us", tz="UTC").to_pydatetime()
            for name in ("start", "end")
        )
        piece: Piece = (hosts[row["host"]], row["commit"] + 1, start, end)
        if found and found[-1][:2] == piece[:2] and found[-1][3] == piece[2]:
            piece = (*found.pop()[:3], piece[3])
        found.append(piece)
    return found


@pytest.mark.parametrize("pieces_at_once", [1, 2, 1000])
@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        pytest.param(at(0), at(1, 6), [], id="before anybody reported"),
        pytest.param(at(0), at(1, 7), [("web", 1, at(1, 6), at(1, 7))], id="beginning within"),
        pytest.param(
            at(1, 12),
            at(6),
            [
                ("db", 4, at(5), at(6)),
                ("web", 1, at(1, 12), at(2)),
                ("web", 3, at(2), at(4)),
                ("web", 4, at(4), at(6)),
            ],
            id="begun before and lasting",
        ),
        pytest.param(at(2, 1), at(3), [("web", 3, at(2, 1), at(3))], id="all in one piece"),
        pytest.param(
            at(2, microsecond=-1),
            at(3),
            [("web", 1, at(2, microsecond=-1), at(2)), ("web", 3, at(2), at(3))],
            id="for a microsecond",
        ),
        pytest.param(at(4), at(5), [("web", 4, at(4), at(5))], id="from border to border"),
    ],
)
def test_pieces_fill_the_span_of_time(
    since: datetime, until: datetime, expected: list[Piece], pieces_at_once: int
) -> None:
    running = index_fleet(fleet_tables(FLEET)).running
    first, end = (instant_microseconds(pd.Timestamp(each)) for each in (since, until))

    pieces = list(running.pieces(first, end, pieces_at_once))

    assert joined(pd.concat(pieces) if pieces else pd.DataFrame({"host": [], "start": []})) == (
        expected
    )
    assert all((each["start"] < each["end"]).all() for each in pieces)
    # Beside what begins later, what each of two hosts runs as the part begins.
    assert all(0 < len(each) <= pieces_at_once + 2 for each in pieces)


def test_a_host_that_ran_nothing_never_starts() -> None:
    first = index_fleet(fleet_tables(FLEET)).running.first_starts(3)

    starts = [instant_microseconds(pd.Timestamp(each)) for each in (at(5), at(1, 6))]
    assert first.tolist() == [NEVER, *starts]
    assert first.dtype == "int64"


@pytest.mark.parametrize("registered", [at(1), at(2), at(3, 12)])
def test_a_host_that_reports_after_its_registration_was_no_stranger(registered: datetime) -> None:
    # Three commits built what it runs, two of them at one instant.
    reported = max(registered, at(2))
    fleet = replace(
        FLEET,
        systems=(system("app"), system("db"), system("web", created_at=registered)),
        system_states=(state(1, "/a", reported),),
    )
    running = index_fleet(fleet_tables(fleet)).running
    first, end = (instant_microseconds(pd.Timestamp(each)) for each in (at(0), at(5)))

    pieces = pd.concat(running.pieces(first, end))

    assert pieces["is_registered"].tolist() == [True]
    assert joined(pieces.assign(host=2)) == [("web", 3, reported, at(5))]
