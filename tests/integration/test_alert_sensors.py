"""The sensors, on a real Dagster instance with real runs, published files and an HTTP server."""

import itertools
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from pipelines.alerts.conditions import DaySpan
from pipelines.alerts.delivery import DeliveryError, MessageRefusedError
from pipelines.alerts.messages import MAX_DETAILS, MAX_LINES
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.fleet.errors import FleetDatabaseUnavailable
from pipelines.instance.tags import RANGE_END_TAG, RANGE_START_TAG
from pipelines.sensors import NO_WEBHOOK, build_sensors
from pipelines.settings import Settings
from tests.integration.webhook_server import Answer, WebhookServer, running_webhook
from tests.snapshots import publish_status, status_row

CANARY = "c4n4ry-password"

_INSTANTS = itertools.count(1_000_000_000, 1_000_000_000)


@dataclass
class Configured:
    """The settings, which a test may change between two ticks."""

    settings: Settings

    def change(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)


class Source:
    """What the job below does next."""

    is_up = True
    check_passes = True
    failure: Exception | None = None


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


Run = Callable[[], str]
RunDays = Callable[[str, str], str]
Tick = Callable[[], str]


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
    def test_a_failed_run_is_alerted_of_once_with_its_step_and_without_its_message(
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

        text = "Check `no_jump` of `status` failed (WARN): 12 of 200 systems are unknown."
        assert webhook.texts() == [f"flakelag: {text}"] * 2

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
        webhook.answers.append(Answer(307))

        with pytest.raises(DeliveryError) as failure:
            tick_failures()
        tick_failures()
        tick_failures()

        shown = "".join(traceback.format_exception(failure.value))
        assert "The webhook redirects (307): set ALERT_WEBHOOK_URL" in shown
        assert CANARY not in shown
        assert len(webhook.received) == 2
        assert len(set(webhook.keys())) == 1

    def test_a_message_that_is_refused_for_good_is_told_by_the_tick_and_the_next_goes_out(
        self,
        run: Run,
        run_days: RunDays,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
    ) -> None:
        tick_failures()
        source.is_up = False
        run_id = run()
        webhook.answers.append(Answer(404))

        with pytest.raises(MessageRefusedError) as refusal:
            tick_failures()
        source.failure = dg.Failure("The disk is full.")
        run_days("2026-11-05", "2026-11-05")
        tick_failures()

        shown = "".join(traceback.format_exception(refusal.value))
        assert "refused the message for good (404): check ALERT_WEBHOOK_URL" in shown
        assert run_id in shown
        assert CANARY not in shown
        assert "The disk is full." in webhook.texts()[1]
        assert run_id not in webhook.texts()[1]

    def test_after_a_day_of_outage_one_message_has_what_still_fails(
        self,
        run: Run,
        run_days: RunDays,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
    ) -> None:
        tick_failures()
        webhook.answers.extend([Answer(503, {"Retry-After": "60"})] * 3)
        source.is_up = False
        run()
        self.fail_to_tick(tick_failures)
        source.is_up = True
        source.failure = dg.Failure("The disk is full.")
        run()
        run_days("2026-11-05", "2026-11-05")
        waiting = tick_failures()
        source.check_passes = False
        run()
        tick_failures()

        assert "the receiver asked for silence" in waiting
        assert len(webhook.received) == 1
        webhook.answers.clear()
        self.end_silence()
        tick_failures()

        [_, message] = webhook.received
        kinds = [condition["kind"] for condition in message.body["alert"]["conditions"]]
        assert kinds == ["run_failure", "failed_check"]
        assert "The disk is full." in message.body["text"]
        assert "SourceDownError" not in message.body["text"]

    @pytest.fixture(autouse=True)
    def _state(self, reports_dir: Path) -> None:
        self.state = AlertStateFile(reports_dir, "failures")

    def end_silence(self) -> None:
        self.state.save(self.state.load().model_copy(update={"not_before": None}))

    def fail_to_tick(self, tick_failures: Tick) -> None:
        with pytest.raises(DeliveryError):
            tick_failures()

    @pytest.mark.parametrize(
        ("first", "last"), [("2026-11-05", "2026-11-05"), ("2026-11-05", "2026-11-07")]
    )
    def test_a_failure_says_what_the_ui_says_with_its_days_and_links(
        self,
        run_days: RunDays,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
        configured: Configured,
        first: str,
        last: str,
    ) -> None:
        configured.change(
            flakelag_ui_url="https://dagster.example.org/fleet",
            flakelag_report_url="https://example.org/latest.html",
        )
        tick_failures()
        source.failure = dg.Failure("Table public.systems has no usable row.\nIs it the fleet?")

        run_id = run_days(first, last)
        tick_failures()

        url = f"https://dagster.example.org/fleet/runs/{run_id}"
        assert webhook.texts() == [
            f"flakelag: Run `{run_id}` of `daily_job` for `{DaySpan(first, last)}` failed at "
            f"`daily`: Table public.systems has no usable row. Is it the fleet? {url}\n"
            "https://example.org/latest.html"
        ]
        [condition] = webhook.received[0].body["alert"]["conditions"]
        assert condition["url"] == url
        assert (condition["first_day"], condition["last_day"]) == (first, last)
        assert condition["failed_steps"] == [
            {
                "step": "daily",
                "error": "Failure",
                "reason": "Table public.systems has no usable row. Is it the fleet?",
            }
        ]

    @pytest.mark.parametrize(
        ("failure", "shown"),
        [
            (
                FleetDatabaseUnavailable("The fleet can't be reached."),
                "The fleet can't be reached.",
            ),
            (RuntimeError(f"pipelines.x.Error: {CANARY}"), "(`RuntimeError`)"),
            (RuntimeError(f"assets.{CANARY}: no"), "(`RuntimeError`)"),
        ],
    )
    def test_only_own_exceptions_are_quoted(
        self,
        run_days: RunDays,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
        failure: Exception,
        shown: str,
    ) -> None:
        tick_failures()
        source.failure = failure
        run_days("2026-11-05", "2026-11-05")
        tick_failures()

        assert shown in webhook.texts()[0]
        assert CANARY not in str(webhook.received[0].body)

    def test_a_run_that_somebody_started_in_the_ui_names_its_assets(
        self,
        defs: dg.Definitions,
        instance: dg.DagsterInstance,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
    ) -> None:
        tick_failures()
        source.failure = dg.Failure("No.")
        defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            partition_key="2026-11-05",
            asset_selection=[dg.AssetKey("daily")],
            raise_on_error=False,
        )
        tick_failures()

        assert "of chosen assets (`daily`) for `2026-11-05` failed" in webhook.texts()[0]
        assert "ASSET_JOB" not in webhook.texts()[0]

    def test_a_run_that_was_failed_from_outside_says_so(
        self,
        defs: dg.Definitions,
        instance: dg.DagsterInstance,
        tick_failures: Tick,
        webhook: WebhookServer,
    ) -> None:
        tick_failures()
        killed = instance.create_run_for_job(defs.resolve_job_def("fleet_status"))
        instance.report_run_failed(killed, "Exceeded maximum runtime of 7200 seconds.\nlog: x")
        tick_failures()

        assert (
            "outside of its steps: Exceeded maximum runtime of 7200 seconds. The"
            in (webhook.texts()[0])
        )

    def test_a_failed_check_tells_days_apart(
        self, run_days: RunDays, tick_failures: Tick, webhook: WebhookServer, source: Source
    ) -> None:
        tick_failures()
        source.check_passes = False
        days = ["2026-11-05", "2026-11-06", "2026-11-05"]
        for day in days:
            run_days(day, day)
            tick_failures()

        checks = [
            condition["partition"]
            for request in webhook.received
            for condition in request.body["alert"]["conditions"]
        ]
        assert checks == ["2026-11-05", "2026-11-06"]
        assert "Check `counts_sum` of `daily` for `2026-11-05` failed" in webhook.texts()[0]

    def test_another_event_log_is_read_from_its_beginning(
        self,
        run: Run,
        tick_failures: Tick,
        webhook: WebhookServer,
        source: Source,
    ) -> None:
        source.is_up = False
        run()
        self.state.save(AlertState(position=10**30))

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
    def test_a_system_is_alerted_of_once_until_it_has_caught_up(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        snapshots = [
            [lagging("web-1", 21, 5.0), lagging("web-2", 3, 5.0)],
            [lagging("web-1", 22, 6.0), lagging("web-2", 3, 169.0)],
            [status_row("web-1"), lagging("web-2", 3, 170.0)],
            [lagging("web-1", 30, 1.0), lagging("web-2", 3, 171.0)],
        ]
        for snapshot in snapshots:
            publish(reports_dir, "2026-11-23", *snapshot)
            tick_systems()
            assert tick_systems() == "Nothing new."

        hosts = [
            [condition["hostname"] for condition in request.body["alert"]["conditions"]]
            for request in webhook.received
        ]
        assert hosts == [["web-1"], ["web-2"], ["web-1"]]

    def test_the_newest_day_counts(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        publish(reports_dir, "2026-11-23", status_row("web-1"))
        publish(reports_dir, "2026-11-22", lagging("web-1", 99, 999.0))

        tick_systems()

        assert webhook.received == []

    def test_a_threshold_that_is_lowered_is_looked_at_anew(
        self,
        tick_systems: Tick,
        webhook: WebhookServer,
        reports_dir: Path,
        configured: Configured,
    ) -> None:
        publish(reports_dir, "2026-11-23", lagging("web-1", 10, 5.0))
        tick_systems()
        configured.change(alert_commits_behind=5)
        tick_systems()

        assert len(webhook.received) == 1

    def test_before_anything_is_published_there_is_nothing_to_tell(
        self, tick_systems: Tick, webhook: WebhookServer
    ) -> None:
        assert "No system_deployment_status is published" in tick_systems()
        assert webhook.received == []

    def test_the_first_look_at_a_fleet_is_one_summary_that_calls_nothing_new(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        systems = [lagging(f"web-{number}", 21 + number, 5.0) for number in range(100)]
        publish(reports_dir, "2026-11-23", *systems, *map(status_row, "abc"))
        webhook.answers.extend([Answer(503)] * 3)

        with pytest.raises(DeliveryError):
            tick_systems()
        publish(reports_dir, "2026-11-23", *systems[1:], *map(status_row, "abcd"))
        tick_systems()
        publish(reports_dir, "2026-11-23", *systems, *map(status_row, "abc"))
        tick_systems()

        [*_, first, later] = webhook.received
        lines = first.body["text"].split("\n")
        assert lines[0] == (
            "flakelag: 99 of 103 systems are behind by more than 20 commits or 7d 0h. From now on, "
            "alerts name those that become so. The furthest behind:"
        )
        assert lines[1].startswith("• `web-99` (flake `infra`) is 120 commits")
        assert len(lines) == 1 + MAX_LINES + 1
        assert first.body["alert"]["heading"] == lines[0].removeprefix("flakelag: ")
        assert later.body["text"].startswith("flakelag: `web-0` (flake `infra`) is 21 commits")
        assert later.body["alert"]["heading"] is None

    def test_thousands_at_once_are_one_bounded_message_with_the_worst_first(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        publish(reports_dir, "2026-11-23", status_row("web-0"))
        tick_systems()
        flake = "x" * 100_000
        systems = [
            lagging(f"web-{number}", 21 + number, 5.0) | {"flake_name": flake}
            for number in range(5_000)
        ]
        publish(reports_dir, "2026-11-23", *systems)

        tick_systems()

        [message] = webhook.received
        alert = message.body["alert"]
        assert message.body["text"].startswith("flakelag (systems newly far behind: 5,000)\n")
        assert message.body["text"].endswith("\n… and 4,990 more.")
        assert alert["counts"] == {"system_behind": 5_000}
        assert alert["conditions_left_out"] == 5_000 - MAX_DETAILS
        assert alert["conditions"][0]["hostname"] == "web-4999"
        assert int(message.headers["content-length"]) < 50_000
        assert tick_systems() == "Nothing new."


def test_without_a_webhook_nothing_is_looked_at(
    configured: Configured, tick_failures: Tick, tick_systems: Tick
) -> None:
    configured.change(alert_webhook_url=None)

    assert [tick_failures(), tick_systems()] == [NO_WEBHOOK, NO_WEBHOOK]
    assert not configured.settings.reports_dir.exists()


def test_setting_the_webhook_is_all_that_it_takes(defs: dg.Definitions) -> None:
    sensors = list(defs.sensors or [])

    assert len(sensors) == 2
    for sensor in sensors:
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.description
