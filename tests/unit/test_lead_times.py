"""Lead times: their quantiles do not depend on how many pairs are in memory together."""

import pandas as pd
import pytest

from assets.compute.timeline import index_fleet
from assets.compute.velocity import measure_velocity
from tests.fleets import at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import HOUR


@pytest.mark.parametrize("pairs_at_once", [1, 4, 6, 11, 12, 13, 16])
def test_how_many_pairs_are_listed_at_once_changes_no_quantile(pairs_at_once: int) -> None:
    # On day 2 both hosts skip from the first to the last of seven commits, made hour by hour; `db`
    # does it twice, and brings nothing new with the second upgrade. On day 3 both skip one commit.
    walks = {
        "web": ((0, at(1)), (6, at(2)), (8, at(3))),
        "db": ((0, at(1)), (6, at(2)), (0, at(2, 1)), (6, at(2, 2)), (8, at(3, 2))),
    }
    steps = [(host, *step) for host, walk in walks.items() for step in walk]
    fleet = Fleet(
        flakes=(flake(),),
        commits=(
            *(commit(number, at(0, number)) for number in range(7)),
            commit(7, at(2, 12)),
            commit(8, at(2, 13)),
        ),
        derivations=tuple(nixos(number, number, f"/{number}") for number in (0, 6, 8)),
        systems=(system("db"), system("web")),
        system_states=tuple(
            state(number, f"/{commit_id}", when, hostname=host)
            for number, (host, commit_id, when) in enumerate(steps)
        ),
    )
    tables = fleet_tables(fleet)
    days = [pd.Timestamp(at(day)) for day in (3, 4)]

    measured = measure_velocity(
        tables, index_fleet(tables), days, days[-1], pairs_at_once=pairs_at_once
    )

    assert measured["change_lead_time_count"].tolist() == [12, 4]
    hours = [
        (measured[f"change_lead_time_p{percent}_seconds"] / HOUR).tolist()
        for percent in (50, 75, 90)
    ]
    # Twice 42 to 47 hours: the ranks 5.5, 8.25 and 9.9 from 0; and 11 to 14 hours.
    assert hours == [pytest.approx(each) for each in ([44.5, 12.5], [46, 13.25], [46.9, 13.7])]


@pytest.mark.parametrize("pairs_at_once", [1, 2])
def test_what_takes_no_time_takes_none_at_any_bound(pairs_at_once: int) -> None:
    # `db` comes to the last commit of all a second time, which brings nothing.
    walks = {
        "web": (("/1", at(1)), ("/2", at(2))),
        "db": (("/1", at(1)), ("/2", at(2)), ("/1", at(2, 1)), ("/2", at(2, 2))),
    }
    steps = [(host, *step) for host, walk in walks.items() for step in walk]
    fleet = Fleet(
        flakes=(flake(),),
        commits=(commit(1, at(0)), commit(2, at(2))),
        derivations=(nixos(1, 1, "/1"), nixos(2, 2, "/2")),
        systems=(system("db"), system("web")),
        system_states=tuple(
            state(number, path, when, hostname=host)
            for number, (host, path, when) in enumerate(steps)
        ),
    )
    tables = fleet_tables(fleet)

    day = pd.Timestamp(at(3))
    measured = measure_velocity(
        tables, index_fleet(tables), [day], day, pairs_at_once=pairs_at_once
    )

    assert measured["change_lead_time_count"].tolist() == [2]
    assert measured["change_lead_time_p50_seconds"].tolist() == [0.0]
