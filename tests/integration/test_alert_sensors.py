"""The sensors, on a real Dagster instance with real runs, published files and an HTTP server."""

import itertools
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

import pipelines.settings
from pipelines.alerts.delivery import DeliveryError
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.sensors import NO_WEBHOOK, build_sensors
from tests.integration.webhook_server import Answer, WebhookServer, running_webhook
from tests.snapshots import publish_status, status_row

CANARY = "c4n4ry-password"

_INSTANTS = itertools.count(1_000_000_000, 1_000_000_000)


class Settings(pipelines.settings.Settings):
    model_config = SettingsConfigDict(frozen=False)


class Source:
    """What the job below does next."""

    is_up = True
    check_passes = True


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def settings(webhook: WebhookServer, tmp_path: Path) -> Settings:
    url = SecretStr(webhook.url(f"/services/{CANARY}"))
    return Settings(alert_webhook_url=url, reports_dir=tmp_path / "reports")


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
def defs(settings: Settings, source: Source) -> dg.Definitions:
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

    return dg.Definitions(
        assets=[status],
        jobs=[dg.define_asset_job("fleet_status")],
        sensors=build_sensors(lambda: settings),
        executor=dg.in_process_executor,
    )


Run = Callable[[], str]
Tick = Callable[[], str]


@pytest.fixture
def run(defs: dg.Definitions, instance: dg.DagsterInstance) -> Run:
    def execute() -> str:
        job = defs.resolve_job_def("fleet_status")
        return job.execute_in_process(instance=instance, raise_on_error=False).run_id

    return execute


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> str:
    """Evaluates a sensor as the daemon does, and says why it asked for no run."""
    with dg.build_sensor_context(instance=instance, definitions=defs) as context:
        evaluation = defs.get_repository_def().get_sensor_def(name).evaluate_tick(context)
    assert evaluation.skip_message is not None
    return evaluation.skip_message


@pytest.fixture
def tick_failures(defs: dg.Definitions, instance: dg.DagsterInstance) -> Tick:
    return lambda: tick(defs, instance, "tell_of_failures")


@pytest.fixture
def tick_systems(defs: dg.Definitions, instance: dg.DagsterInstance) -> Tick:
    return lambda: tick(defs, instance, "tell_of_systems_behind")


class TestFailures:
    def test_a_failed_run_is_told_once_with_its_step_and_without_its_message(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        source.is_up = False
        run_id = run()
        run()

        tick_failures()
        run()
        tick_failures()

        assert len(webhook.received) == 1
        text = webhook.texts()[0]
        assert run_id in text
        assert "`fleet_status` failed at `status` (`SourceDownError`)" in text
        assert CANARY not in str(webhook.received[0].body)

    def test_a_job_that_recovers_and_fails_again_is_told_again(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        for source.is_up in (False, True, False):
            run()
            tick_failures()

        assert len(webhook.received) == 2

    def test_a_check_that_fails_in_a_run_that_succeeds_is_told_until_it_passes(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        for source.check_passes in (False, False, True, False):
            run()
            tick_failures()

        told = "Check `no_jump` of `status` failed (WARN): 12 of 200 systems are unknown."
        assert webhook.texts() == [f"flakelag: {told}"] * 2

    def test_a_failure_that_the_next_run_mended_before_the_tick_is_told(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        for source.is_up in (False, True):
            run()
        tick_failures()

        assert len(webhook.received) == 1

    def test_what_failed_before_the_first_tick_is_no_news(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        source.is_up = False
        run()
        tick_failures()
        tick_failures()

        assert webhook.received == []

    def test_a_message_that_was_not_taken_fails_the_tick_and_goes_out_later(
        self, run: Run, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        source.is_up = False
        run()
        webhook.answers.append(Answer(404))

        with pytest.raises(DeliveryError) as failure:
            tick_failures()
        tick_failures()
        tick_failures()

        shown = "".join(traceback.format_exception(failure.value))
        assert "The webhook refused the message (404): check ALERT_WEBHOOK_URL." in shown
        assert CANARY not in shown
        assert len(webhook.received) == 2
        assert len(set(webhook.keys())) == 1

    def test_another_event_log_is_read_from_its_beginning(
        self,
        run: Run,
        tick_failures: Tick,
        webhook: WebhookServer,
        settings: Settings,
        source: Source,
    ) -> None:
        source.is_up = False
        run()
        AlertStateFile(settings.reports_dir, "failures").save(AlertState(position=10**9))

        tick_failures()

        assert len(webhook.received) == 1

    def test_runs_of_other_projects_are_theirs(
        self, tick_failures: Tick, instance: dg.DagsterInstance, webhook: WebhookServer
    ) -> None:
        @dg.op
        def fails() -> None:
            raise RuntimeError

        @dg.job(executor_def=dg.in_process_executor)
        def somebody_elses() -> None:
            fails()

        tick_failures()
        somebody_elses.execute_in_process(instance=instance, raise_on_error=False)
        tick_failures()

        assert webhook.received == []


def publish(reports_dir: Path, day: str, *rows: dict[str, Any]) -> None:
    file = publish_status(reports_dir, day, *rows)
    # Two snapshots are minutes apart; two of a test may share the clock's tick.
    instant = next(_INSTANTS)
    os.utime(file, ns=(instant, instant))


def lagging(hostname: str, commits: int, hours: float) -> dict[str, Any]:
    return status_row(
        hostname, deployment_status="behind", commits_behind=commits, hours_behind=hours
    )


class TestSystemsBehind:
    def test_a_system_is_told_once_until_it_has_caught_up(
        self, tick_systems: Tick, webhook: WebhookServer, settings: Settings
    ) -> None:
        snapshots = [
            [lagging("web-1", 21, 5.0), lagging("web-2", 3, 5.0)],
            [lagging("web-1", 22, 6.0), lagging("web-2", 3, 169.0)],
            [status_row("web-1"), lagging("web-2", 3, 170.0)],
            [lagging("web-1", 30, 1.0), lagging("web-2", 3, 171.0)],
        ]
        for snapshot in snapshots:
            publish(settings.reports_dir, "2026-11-23", *snapshot)
            tick_systems()
            assert tick_systems() == "Nothing new."

        hosts = [
            [condition["hostname"] for condition in request.body["alert"]["conditions"]]
            for request in webhook.received
        ]
        assert hosts == [["web-1"], ["web-2"], ["web-1"]]

    def test_the_newest_day_counts(
        self, tick_systems: Tick, webhook: WebhookServer, settings: Settings
    ) -> None:
        publish(settings.reports_dir, "2026-11-23", status_row("web-1"))
        publish(settings.reports_dir, "2026-11-22", lagging("web-1", 99, 999.0))

        tick_systems()

        assert webhook.received == []

    def test_a_threshold_that_is_lowered_is_looked_at_anew(
        self, tick_systems: Tick, webhook: WebhookServer, settings: Settings
    ) -> None:
        publish(settings.reports_dir, "2026-11-23", lagging("web-1", 10, 5.0))
        tick_systems()
        settings.alert_commits_behind = 5
        tick_systems()

        assert len(webhook.received) == 1

    def test_before_anything_is_published_there_is_nothing_to_tell(
        self, tick_systems: Tick, webhook: WebhookServer
    ) -> None:
        assert "No system_deployment_status is published" in tick_systems()
        assert webhook.received == []


def test_without_a_webhook_nothing_is_looked_at(
    settings: Settings, tick_failures: Tick, tick_systems: Tick
) -> None:
    settings.alert_webhook_url = None

    assert [tick_failures(), tick_systems()] == [NO_WEBHOOK, NO_WEBHOOK]
    assert not settings.reports_dir.exists()


def test_setting_the_webhook_is_all_that_it_takes(defs: dg.Definitions) -> None:
    sensors = list(defs.sensors or [])

    assert len(sensors) == 2
    for sensor in sensors:
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.description
