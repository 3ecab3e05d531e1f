"""What is alerted of, and what of it is new: the decisions, without Dagster or a network."""

import dataclasses
import json
from typing import Literal

from assets.publishing.display import LONGEST_SENTENCE
from pipelines.alerts.conditions import (
    CheckOutcome,
    DaySpan,
    FailedStep,
    Links,
    RunOutcome,
    failed_check,
    run_failure,
)
from pipelines.alerts.decisions import decide_on_runs, decide_on_systems
from tests.unit.alert_cases import (
    NOTHING_ALERTED,
    behind,
    check,
    failed,
    kinds_and_days,
    of_day,
    succeeded,
    system,
)


class TestRuns:
    def test_a_job_that_keeps_failing_at_the_same_step_is_alerted_of_once(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [failed("extract")])
        again = decide_on_runs(first.alerted, [failed("extract", run_id="run-9")])

        assert [condition.kind for condition in first.new] == ["run_failure"]
        assert again.new == []

    def test_a_job_that_fails_at_another_step_is_alerted_of_again(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [failed("extract")])
        second = decide_on_runs(first.alerted, [failed("publish")])
        back = decide_on_runs(second.alerted, [failed("extract")])

        assert len(second.new) == 1
        assert back.new == [], "no run has succeeded in between"

    def test_a_failure_after_a_success_is_alerted_of_again(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [failed("extract")])
        recovered = decide_on_runs(first.alerted, [succeeded()])

        assert recovered.new == []
        assert recovered.alerted == NOTHING_ALERTED
        assert len(decide_on_runs(recovered.alerted, [failed("extract")]).new) == 1

    def test_another_jobs_success_ends_nothing(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [failed("extract")])
        other = decide_on_runs(first.alerted, [succeeded(job="fleet_status_2")])

        assert decide_on_runs(other.alerted, [failed("extract")]).new == []

    def test_a_failure_that_was_over_before_anybody_looked_is_alerted_of(self) -> None:
        decision = decide_on_runs(NOTHING_ALERTED, [failed("extract"), succeeded()])

        assert len(decision.new) == 1
        assert decision.alerted == NOTHING_ALERTED

    def test_a_canceled_run_is_no_failure(self) -> None:
        canceled = RunOutcome("run-3", "fleet_status", "canceled")

        assert decide_on_runs(NOTHING_ALERTED, [canceled]).new == []

    def test_the_condition_names_steps_and_exception_classes(self) -> None:
        condition = run_failure(failed("extract"))

        assert "`extract` (`OperationalError`)" in condition.text
        assert "run-1" in condition.text
        assert condition.details["failed_steps"] == [
            {"step": "extract", "error": "OperationalError", "reason": None}
        ]

    def test_the_condition_gives_reasons_days_and_the_log(self) -> None:
        outcome = RunOutcome(
            "run-1",
            "fleet_status",
            "failed",
            [
                FailedStep("deployment_history", "Failure", "The history is read-only."),
                FailedStep("deployment_velocity", "Failure", "The history is read-only."),
                FailedStep("fleet_report", "ValueError"),
            ],
            days=DaySpan("2026-11-23", "2026-11-23"),
        )

        condition = run_failure(outcome, Links("https://dagster.example.org", None))

        assert condition.text == (
            "Run `run-1` of `fleet_status` for `2026-11-23` failed at `deployment_history`, "
            "`deployment_velocity`: The history is read-only. Also at `fleet_report` "
            "(`ValueError`). https://dagster.example.org/runs/run-1"
        )
        assert condition.details["url"] == "https://dagster.example.org/runs/run-1"
        assert condition.details["first_day"] == condition.details["last_day"] == "2026-11-23"

    def test_a_run_of_chosen_assets_names_them_and_its_days(self) -> None:
        outcome = RunOutcome(
            "run-1",
            "__ASSET_JOB",
            "failed",
            [FailedStep("a", "Failure", "No.")],
            days=DaySpan("2026-11-01", "2026-11-30"),
            assets=[f"asset_{number}" for number in range(7)],
        )

        condition = run_failure(outcome)

        assert condition.text.startswith(
            "Run `run-1` of chosen assets (`asset_0`, `asset_1`, `asset_2`, `asset_3`, `asset_4` "
            "and 2 more) for `2026-11-01 to 2026-11-30` failed at `a`: No."
        )
        assert condition.text.endswith(" The Dagster UI has its log.")
        assert condition.details["job"] == "__ASSET_JOB"
        assert condition.details["assets"] == list(outcome.assets)

    def test_a_run_with_very_many_reasons_is_one_line_of_bounded_length(self) -> None:
        steps = [FailedStep(f"step_{n}", "Failure", f"{n}: " + "x\n" * 10**5) for n in range(12)]

        condition = run_failure(RunOutcome("run-1", "fleet_status", "failed", steps))

        assert "And 9 more reasons." in condition.text
        assert "\n" not in condition.text
        assert len(condition.text) < 2_000
        assert len(json.dumps(condition.details)) < 12 * (LONGEST_SENTENCE + 100)

    def test_a_condition_that_waits_is_dropped_when_it_has_passed(self) -> None:
        first = decide_on_runs(
            NOTHING_ALERTED, [failed("extract"), failed("x", job="backfill"), of_day(23)]
        )
        later = decide_on_runs(first.alerted, [succeeded(), of_day(24)], undelivered=first.new)
        last = decide_on_runs(later.alerted, [of_day(23, passed=True)], undelivered=later.new)

        assert [kinds_and_days(decision) for decision in (first, later, last)] == [
            [
                ("run_failure", None),
                ("run_failure", None),
                ("failed_check", "2026-11-23"),
            ],
            [
                ("run_failure", None),
                ("failed_check", "2026-11-23"),
                ("failed_check", "2026-11-24"),
            ],
            [("run_failure", None), ("failed_check", "2026-11-24")],
        ]

    def test_a_failure_that_waits_stays_until_the_same_days_have_succeeded(self) -> None:
        yesterday, today = (DaySpan(day, day) for day in ("2026-11-22", "2026-11-23"))
        first = decide_on_runs(
            NOTHING_ALERTED, [dataclasses.replace(failed("extract"), days=yesterday)]
        )

        def waiting_after(days: DaySpan) -> int:
            success = dataclasses.replace(succeeded(), days=days)
            return len(decide_on_runs(first.alerted, [success], undelivered=first.new).new)

        assert waiting_after(today) == 1
        assert waiting_after(yesterday) == 0
        assert waiting_after(DaySpan("2026-11-01", "2026-11-30")) == 0

    def test_chosen_assets_that_succeed_end_no_failure_of_others(self) -> None:
        def run(status: Literal["failed", "succeeded"], *assets: str) -> RunOutcome:
            return RunOutcome("run-1", "__ASSET_JOB", status, assets=assets)

        first = decide_on_runs(NOTHING_ALERTED, [run("failed", "a", "b")])
        other = decide_on_runs(first.alerted, [run("succeeded", "a")], undelivered=first.new)
        same = decide_on_runs(other.alerted, [run("succeeded", "a", "b")], undelivered=other.new)

        assert [len(decision.new) for decision in (first, other, same)] == [1, 1, 0]
        assert same.alerted == NOTHING_ALERTED

    def test_a_run_that_died_outside_of_its_steps_is_alerted_of(self) -> None:
        killed = RunOutcome("run-1", "fleet_status", "failed", reason="The command was killed.")

        texts = [decide_on_runs(NOTHING_ALERTED, [run]).new[0].text for run in (failed(), killed)]

        assert "failed outside of its steps. The" in texts[0]
        assert "failed outside of its steps: The command was killed. The" in texts[1]


class TestChecks:
    def test_a_failed_check_of_a_run_that_succeeds_is_alerted_of_once_until_it_passes(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [succeeded(check(passed=False))])
        again = decide_on_runs(first.alerted, [succeeded(check(passed=False))])
        passing = decide_on_runs(again.alerted, [succeeded(check(passed=True))])
        relapsed = decide_on_runs(passing.alerted, [succeeded(check(passed=False))])

        assert [condition.kind for condition in first.new] == ["failed_check"]
        assert [again.new, passing.new] == [[], []]
        assert len(relapsed.new) == 1

    def test_checks_are_told_apart(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [succeeded(check(passed=False))])
        other = decide_on_runs(first.alerted, [succeeded(check(passed=False, name="unique"))])

        assert len(other.new) == 1

    def test_the_success_of_the_run_does_not_end_a_failed_check(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [succeeded(check(passed=False))])
        unchecked = decide_on_runs(first.alerted, [succeeded()])

        assert decide_on_runs(unchecked.alerted, [succeeded(check(passed=False))]).new == []

    def test_the_condition_has_severity_and_the_checks_own_words(self) -> None:
        condition = decide_on_runs(NOTHING_ALERTED, [succeeded(check(passed=False))]).new[0]

        assert "`no_jump` of `system_deployment_status` failed (WARN): 12 more" in condition.text

    def test_a_feed_is_left_to_the_alert_of_feeds(self) -> None:
        outcome = succeeded(check(passed=False, name="feeds_current"), check(passed=False))
        decision = decide_on_runs(NOTHING_ALERTED, [outcome])
        assert [condition.details["check"] for condition in decision.new] == ["no_jump"]

    def test_days_are_told_apart(self) -> None:
        first = decide_on_runs(NOTHING_ALERTED, [of_day(22)])
        second = decide_on_runs(first.alerted, [of_day(23), of_day(22)])
        passed = decide_on_runs(second.alerted, [of_day(22, passed=True)])
        relapsed = decide_on_runs(passed.alerted, [of_day(22), of_day(23)])

        assert kinds_and_days(first) == [("failed_check", "2026-11-22")]
        assert kinds_and_days(second) == [("failed_check", "2026-11-23")]
        assert kinds_and_days(relapsed) == [("failed_check", "2026-11-22")]
        assert "`no_jump` of `system_deployment_status` for `2026-11-22` failed" in (
            first.new[0].text
        )

    def test_a_check_of_several_days_passes_for_all_of_them(self) -> None:
        month = CheckOutcome("a", "c", passed=True, severity="WARN", days=DaySpan("1", "30"))
        day = CheckOutcome("a", "c", passed=False, severity="WARN", days=DaySpan("20", "20"))
        before = decide_on_runs(NOTHING_ALERTED, [succeeded(day)])

        assert decide_on_runs(before.alerted, [succeeded(month)]).alerted == NOTHING_ALERTED
        assert failed_check("run-1", month).details["partition"] is None

    def test_what_an_earlier_version_alerted_of_ends(self) -> None:
        before = frozenset({"failed_check:system_deployment_status:no_jump"})

        assert decide_on_runs(before, [of_day(22, passed=True)]).alerted == NOTHING_ALERTED
        others = frozenset({"failed_check:system_deployment_status:no_jump_at_all:1:2"})
        assert decide_on_runs(others, [of_day(1, passed=True)]).alerted == others


class TestSystems:
    def test_more_than_either_threshold_is_too_far_behind(self) -> None:
        conditions = behind(
            system("at-both", 20, 168.0),
            system("many-commits", 21, 1.0),
            system("many-hours", 1, 168.1),
            system("current", 0, None),
            system("unknown", None, None),
        )

        assert [condition.details["hostname"] for condition in conditions] == [
            "many-commits",
            "many-hours",
        ]

    def test_a_system_is_alerted_of_once_until_it_has_caught_up(self) -> None:
        first = decide_on_systems(NOTHING_ALERTED, behind(system("a", 30, 200.0)))
        worse = decide_on_systems(
            first.alerted, behind(system("b", 31, 210.0), system("a", 31, 210.0))
        )
        caught_up = decide_on_systems(worse.alerted, behind(system("a", 0, None)))
        again = decide_on_systems(caught_up.alerted, behind(system("a", 25, 20.0)))

        assert [condition.details["hostname"] for condition in first.new] == ["a"]
        assert [condition.details["hostname"] for condition in worse.new] == ["b"]
        assert caught_up.new == []
        assert [condition.details["hostname"] for condition in again.new] == ["a"]

    def test_the_condition_says_how_far(self) -> None:
        condition = behind(system("web-1", 34, 290.0))[0]

        assert condition.text == "`web-1` (flake `infra`) is 34 commits and 12d 2h behind."
        assert condition.details["hours_behind"] == 290.0
