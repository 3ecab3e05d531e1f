"""A Dagster instance with jobs that fail as a test wants, the sensors, and an HTTP server."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from pipelines.instance.tags import RANGE_END_TAG, RANGE_START_TAG
from pipelines.sensors import build_sensors
from pipelines.settings import Settings
from tests.integration.alerts.support import CANARY, Configured, Run, RunDays, Source, Tick, tick
from tests.integration.alerts.webhook_server import WebhookServer, running_webhook


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def configured(webhook: WebhookServer, tmp_path: Path) -> Configured:
    return Configured(
        Settings(
            alert_webhook_url=SecretStr(webhook.url(f"/services/{CANARY}")),
            reports_dir=tmp_path / "reports",
        )
    )


@pytest.fixture
def reports_dir(configured: Configured) -> Path:
    return configured.settings.reports_dir


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One for all tests, as making it takes seconds: each test begins at the end of its log."""
    home = tmp_path_factory.mktemp("dagster")
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
        yield instance


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def defs(configured: Configured, source: Source) -> dg.Definitions:
    class SourceDownError(Exception):
        pass

    @dg.asset(check_specs=[dg.AssetCheckSpec("no_jump", asset="status")])
    def status() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        if not source.is_up:
            raise SourceDownError(f"postgresql://flakelag:{CANARY}@db/ is down")
        yield dg.AssetCheckResult(
            passed=source.check_passes,
            check_name="no_jump",
            severity=dg.AssetCheckSeverity.WARN,
            description="12 of 200 systems are unknown.",
        )
        yield dg.MaterializeResult()

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2026-11-01"),
        check_specs=[dg.AssetCheckSpec("counts_sum", asset="daily")],
    )
    def daily() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        if source.failure is not None:
            raise source.failure
        yield dg.AssetCheckResult(passed=source.check_passes, check_name="counts_sum")
        yield dg.MaterializeResult()

    return dg.Definitions(
        assets=[status, daily],
        jobs=[
            dg.define_asset_job("fleet_status", ["status"]),
            dg.define_asset_job("daily_job", ["daily"]),
        ],
        sensors=build_sensors(lambda: configured.settings),
        executor=dg.in_process_executor,
    )


@pytest.fixture
def run(defs: dg.Definitions, instance: dg.DagsterInstance) -> Run:
    def execute() -> str:
        job = defs.resolve_job_def("fleet_status")
        return job.execute_in_process(instance=instance, raise_on_error=False).run_id

    return execute


@pytest.fixture
def run_days(defs: dg.Definitions, instance: dg.DagsterInstance) -> RunDays:
    """Runs the daily asset; returns the run's id."""

    def execute(first: str, last: str) -> str:
        job = defs.resolve_job_def("daily_job")
        tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
        days = {"partition_key": first} if first == last else {"tags": tags}
        return job.execute_in_process(instance=instance, raise_on_error=False, **days).run_id

    return execute


@pytest.fixture
def tick_failures(defs: dg.Definitions, instance: dg.DagsterInstance) -> Tick:
    return lambda: tick(defs, instance, "tell_of_failures")


@pytest.fixture
def tick_systems(defs: dg.Definitions, instance: dg.DagsterInstance) -> Tick:
    return lambda: tick(defs, instance, "tell_of_systems_behind")


@pytest.fixture
def tick_feeds(defs: dg.Definitions, instance: dg.DagsterInstance) -> Tick:
    return lambda: tick(defs, instance, "tell_of_feeds")
