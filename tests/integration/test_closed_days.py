"""A day is closed by the fleet database's clock, and each event is in exactly one published day."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.schemas import DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS
from tests.golden import FixedReading
from tests.integration.fleet_support import create_fleet, run_sql
from tests.integration.pipeline import Pipeline, failures, quiet_instance


def test_a_day_that_is_over_by_our_clock_alone_stays_open_and_loses_nothing(
    new_database: Callable[..., str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet_url = create_fleet(new_database())
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    midnight = dt.datetime.combine(yesterday + dt.timedelta(days=1), dt.time(), dt.UTC)
    two_to_midnight = midnight - dt.timedelta(minutes=2)
    with quiet_instance(tmp_path / "dagster") as instance:
        pipeline = Pipeline(fleet_url, new_database(), tmp_path / "reports", instance)

        def run(by_the_clock_of_the_fleet: dt.datetime) -> None:
            reading = FixedReading(fleet_url, by_the_clock_of_the_fleet)
            pipeline.overrides = {"fleet_database": reading}
            result = pipeline.run(yesterday.isoformat())
            assert result.success, failures(result)

        run(two_to_midnight)
        described = pipeline.reports.describe(SYSTEM_DEPLOYMENT_STATUS, yesterday)
        assert described.snapshot_at == two_to_midnight
        assert f"{yesterday} is over by our clock" in capfd.readouterr().err
        assert pipeline.published(DEPLOYMENTS, yesterday.isoformat()).num_rows == 0

        one_to_midnight = midnight - dt.timedelta(minutes=1)
        run_sql(
            fleet_url,
            "INSERT INTO system_states (hostname, change_reason, timestamp, store_path)"
            f" VALUES ('web', 'config_change', '{one_to_midnight}', '/nix/store/d-other')",
        )
        run(midnight + dt.timedelta(minutes=13))
        described = pipeline.reports.describe(SYSTEM_DEPLOYMENT_STATUS, yesterday)
        assert described.snapshot_at == midnight
        assert "is over by our clock" not in capfd.readouterr().err
        [deployed_at] = pipeline.published(DEPLOYMENTS, yesterday.isoformat())["deployed_at"]
        assert deployed_at.as_py() == one_to_midnight
