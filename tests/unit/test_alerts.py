"""What people are told of, and what of it is new: the decisions, without Dagster or a network."""

import datetime as dt
from typing import Any

import pytest

from pipelines.alerts.conditions import (
    CheckOutcome,
    Condition,
    FailedStep,
    RunOutcome,
    decide_on_runs,
    decide_on_systems,
    run_failure,
    systems_behind,
)
from pipelines.alerts.messages import MAX_DETAILS, MAX_LINES, Message, compose

NOBODY_TOLD: frozenset[str] = frozenset()
NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)


def failed(*steps: str, run_id: str = "run-1", job: str = "fleet_status") -> RunOutcome:
    return RunOutcome(
        run_id, job, "failed", [FailedStep(step, "OperationalError") for step in steps]
    )


def succeeded(*checks: CheckOutcome, job: str = "fleet_status") -> RunOutcome:
    return RunOutcome("run-2", job, "succeeded", checks=checks)


def check(*, passed: bool, name: str = "no_jump") -> CheckOutcome:
    return CheckOutcome("system_deployment_status", name, passed, "WARN", "12 more than before.")


def system(hostname: str, commits: int | None, hours: float | None) -> dict[str, Any]:
    return {
        "hostname": hostname,
        "flake_name": "infra",
        "commits_behind": commits,
        "hours_behind": hours,
        "behind_since": None if hours is None else "2026-11-01T00:00:00.000000Z",
    }


def behind(*rows: dict[str, Any]) -> list[Condition]:
    return systems_behind(rows, commits=20, hours=168)


def text_of(message: Message) -> str:
    text = message.payload["text"]
    assert isinstance(text, str)
    return text


def alert_of(message: Message) -> dict[str, Any]:
    alert = message.payload["alert"]
    assert isinstance(alert, dict)
    return alert


class TestRuns:
    def test_a_job_that_keeps_failing_at_the_same_step_is_told_once(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [failed("extract")])
        again = decide_on_runs(first.told, [failed("extract", run_id="run-9")])

        assert [condition.kind for condition in first.new] == ["run_failure"]
        assert again.new == []

    def test_a_job_that_fails_at_another_step_is_told_again(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [failed("extract")])
        second = decide_on_runs(first.told, [failed("publish")])
        back = decide_on_runs(second.told, [failed("extract")])

        assert len(second.new) == 1
        assert back.new == [], "no run has succeeded in between"

    def test_a_failure_after_a_success_is_told_again(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [failed("extract")])
        recovered = decide_on_runs(first.told, [succeeded()])

        assert recovered.new == []
        assert recovered.told == NOBODY_TOLD
        assert len(decide_on_runs(recovered.told, [failed("extract")]).new) == 1

    def test_another_jobs_success_ends_nothing(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [failed("extract")])
        other = decide_on_runs(first.told, [succeeded(job="fleet_status_2")])

        assert decide_on_runs(other.told, [failed("extract")]).new == []

    def test_a_failure_that_was_over_before_anybody_looked_is_told(self) -> None:
        decision = decide_on_runs(NOBODY_TOLD, [failed("extract"), succeeded()])

        assert len(decision.new) == 1
        assert decision.told == NOBODY_TOLD

    def test_a_canceled_run_is_no_failure(self) -> None:
        canceled = RunOutcome("run-3", "fleet_status", "canceled")

        assert decide_on_runs(NOBODY_TOLD, [canceled]).new == []

    def test_the_condition_names_steps_and_exception_classes(self) -> None:
        condition = run_failure(failed("extract"))

        assert "`extract` (`OperationalError`)" in condition.text
        assert "run-1" in condition.text
        assert condition.details["failed_steps"] == [
            {"step": "extract", "error": "OperationalError"}
        ]

    def test_a_run_that_died_outside_of_its_steps_is_told(self) -> None:
        decision = decide_on_runs(NOBODY_TOLD, [failed()])

        assert "outside of its steps" in decision.new[0].text


class TestChecks:
    def test_a_failed_check_of_a_run_that_succeeds_is_told_once_until_it_passes(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [succeeded(check(passed=False))])
        again = decide_on_runs(first.told, [succeeded(check(passed=False))])
        passing = decide_on_runs(again.told, [succeeded(check(passed=True))])
        relapsed = decide_on_runs(passing.told, [succeeded(check(passed=False))])

        assert [condition.kind for condition in first.new] == ["failed_check"]
        assert [again.new, passing.new] == [[], []]
        assert len(relapsed.new) == 1

    def test_checks_are_told_apart(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [succeeded(check(passed=False))])
        other = decide_on_runs(first.told, [succeeded(check(passed=False, name="unique"))])

        assert len(other.new) == 1

    def test_the_success_of_the_run_does_not_end_a_failed_check(self) -> None:
        first = decide_on_runs(NOBODY_TOLD, [succeeded(check(passed=False))])
        unchecked = decide_on_runs(first.told, [succeeded()])

        assert decide_on_runs(unchecked.told, [succeeded(check(passed=False))]).new == []

    def test_the_condition_has_severity_and_the_checks_own_words(self) -> None:
        condition = decide_on_runs(NOBODY_TOLD, [succeeded(check(passed=False))]).new[0]

        assert "`no_jump` of `system_deployment_status` failed (WARN): 12 more" in condition.text


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

    def test_a_system_is_told_once_until_it_has_caught_up(self) -> None:
        first = decide_on_systems(NOBODY_TOLD, behind(system("a", 30, 200.0)))
        worse = decide_on_systems(
            first.told, behind(system("b", 31, 210.0), system("a", 31, 210.0))
        )
        caught_up = decide_on_systems(worse.told, behind(system("a", 0, None)))
        again = decide_on_systems(caught_up.told, behind(system("a", 25, 20.0)))

        assert [condition.details["hostname"] for condition in first.new] == ["a"]
        assert [condition.details["hostname"] for condition in worse.new] == ["b"]
        assert caught_up.new == []
        assert [condition.details["hostname"] for condition in again.new] == ["a"]

    def test_the_condition_says_how_far(self) -> None:
        condition = behind(system("web-1", 34, 290.0))[0]

        assert condition.text == "`web-1` (flake `infra`) is 34 commits and 12d 2h behind."
        assert condition.details["hours_behind"] == 290.0


class TestMessages:
    def test_one_condition_is_one_line(self) -> None:
        message = compose(behind(system("web-1", 34, 290.0)), NOW)

        assert text_of(message) == (
            "flakelag: `web-1` (flake `infra`) is 34 commits and 12d 2h behind."
        )

    def test_a_storm_is_one_message_of_bounded_length(self) -> None:
        storm = behind(*(system(f"host-{n}", 30, 200.0) for n in range(20_000)))

        message = compose(storm, NOW)
        lines = text_of(message).split("\n")
        alert = alert_of(message)

        assert lines[0] == "flakelag (systems newly far behind: 20,000)"
        assert len(lines) == 1 + MAX_LINES + 1
        assert lines[-1] == "… and 19,990 more."
        assert len(alert["conditions"]) == MAX_DETAILS
        assert alert["conditions_left_out"] == 20_000 - MAX_DETAILS
        assert alert["counts"] == {"system_behind": 20_000}

    def test_kinds_are_counted(self) -> None:
        new = decide_on_runs(NOBODY_TOLD, [failed("extract"), succeeded(check(passed=False))]).new

        assert text_of(compose(new, NOW)).startswith(
            "flakelag (failed runs: 1, failed checks: 1)\n"
        )

    def test_two_messages_about_the_same_have_different_ids(self) -> None:
        conditions = behind(system("web-1", 34, 290.0))

        assert compose(conditions, NOW).id != compose(conditions, NOW).id

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("<!channel>", "`&lt;!channel&gt;`"),
            ("<@U123|boss> & co", "`&lt;@U123|boss&gt; &amp; co`"),
            ("@channel", "`@channel`"),
            ("a` @here `b", "`a' @here 'b`"),
            ("two\nlines", r"`two\nlines`"),
            ("\x1b[31mred", r"`\x1b[31mred`"),
            ("\u202egnp.exe", r"`\u202egnp.exe`"),
            ("x" * 253, "`" + "x" * 46 + "…1329e1…" + "x" * 46 + "`"),
        ],
    )
    def test_hostile_names_are_shown_not_obeyed(self, name: str, shown: str) -> None:
        message = compose(behind(system(name, 34, 290.0)), NOW)

        assert text_of(message).startswith(f"flakelag: {shown} (flake")
        assert alert_of(message)["conditions"][0]["hostname"] == name

    def test_a_checks_words_mention_nobody(self) -> None:
        outcome = CheckOutcome(
            "a", "c", passed=False, severity="ERROR", description="<!here> @channel\n![x](http://y)"
        )

        text = decide_on_runs(NOBODY_TOLD, [succeeded(outcome)]).new[0].text

        assert text.endswith("(ERROR): &lt;!here&gt; @\u200bchannel ![x]\u200b(http://y)")
