"""Lead times: their quantiles do not depend on how many pairs are in memory together."""

import pandas as pd
import pytest

from assets.compute.timeline import index_fleet
from assets.compute.velocity import measure_velocity
from tests.fleets import at, commit, flake, fleet_tables, nixos, state, system
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import HOUR


@pytest.mark.parametrize("pairs_at_once", [1, 6, 11, 12, 13])
def test_how_many_pairs_are_listed_at_once_changes_no_quantile(pairs_at_once: int) -> None:
    # Both hosts skip from the first to the last of seven commits, made hour by hour; `db` does it
    # twice, and brings nothing new with the second upgrade.
    there_and_back = ((0, at(1)), (6, at(2)), (0, at(2, 1)), (6, at(2, 2)))
    fleet = Fleet(
        flakes=(flake(),),
        commits=tuple(commit(number, at(0, number)) for number in range(7)),
        derivations=(nixos(1, 0, "/0"), nixos(2, 6, "/6")),
        systems=(system("db"), system("web")),
        system_states=(
            state(1, "/0", at(1)),
            state(2, "/6", at(2)),
            *(
                state(number, f"/{commit_id}", when, hostname="db")
                for number, (commit_id, when) in enumerate(there_and_back, start=3)
            ),
        ),
    )
    tables = fleet_tables(fleet)

    [day] = measure_velocity(
        tables, index_fleet(tables), [pd.Timestamp(at(3))], pairs_at_once=pairs_at_once
    ).to_dict("records")

    assert day["change_lead_time_count"] == 12
    quantiles = [day[f"change_lead_time_p{percent}_seconds"] for percent in (50, 75, 90)]
    # Twice 42 to 47 hours, in order: the ranks 5.5, 8.25 and 9.9 from 0.
    assert quantiles == pytest.approx([44.5 * HOUR, 46 * HOUR, 46.9 * HOUR])
