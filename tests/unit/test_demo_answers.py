"""What the computations say of the demo fleet: every value that a report can have occurs in it."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from assets.compute.flake_status import flake_deployment_status
from assets.compute.fleet import FleetTables
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.vocabulary import (
    BEHIND_REASONS,
    DEPLOYMENT_STATUSES,
    FEED_STATUSES,
    LIVENESS,
    NOT_RECORDED,
)
from pipelines.demo.fleet import DemoFleet, generate_fleet, staged_tables

UNTIL = datetime(2026, 11, 23, 9, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(("systems", "flakes", "seed"), [(40, 4, 1), (200, 6, 2026)])
def test_every_value_occurs(systems: int, flakes: int, seed: int) -> None:
    spec = DemoFleet(
        until=UNTIL, systems=systems, flakes=flakes, seed=seed, package_derivations=100
    )
    tables = FleetTables.from_arrow(staged_tables(generate_fleet(spec), spec.generation))
    timeline, instant = index_fleet(tables), pd.Timestamp(UNTIL)

    status = system_deployment_status(timeline, instant, instant)
    of_flakes = flake_deployment_status(timeline, status, instant, instant)

    assert set(status["deployment_status"]) == set(DEPLOYMENT_STATUSES)
    assert set(status["behind_reason"].dropna()) == set(BEHIND_REASONS)
    assert set(status["liveness"].dropna()) == set(LIVENESS) - {NOT_RECORDED}
    assert set(of_flakes["feed_status"]) == set(FEED_STATUSES) - {NOT_RECORDED}
    assert of_flakes["feed_error"].notna().any()
    assert of_flakes["commit_url_template"].notna().all()
    assert (status["commits_behind_branch"] > 0).any()
    assert "flake_deleted" in set(status["unknown_reason"])
