"""Alerts of runs and checks, from real runs on a real Dagster instance."""

import traceback
from pathlib import Path

import dagster as dg
import pytest

from pipelines.alerts.conditions import DaySpan
from pipelines.alerts.delivery import DeliveryError, MessageRefusedError
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.fleet.errors import FleetDatabaseUnavailable
from tests.integration.alerts.support import CANARY, Configured, Run, RunDays, Source, Tick
from tests.integration.alerts.webhook_server import Answer, WebhookServer


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
