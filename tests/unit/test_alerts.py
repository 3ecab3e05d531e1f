"""What is alerted of, and what of it is new: the decisions, without Dagster or a network."""

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pytest

from assets.publishing.display import LONGEST_NAME, LONGEST_SENTENCE, display_name
from pipelines.alerts.conditions import (
    CheckOutcome,
    Condition,
    DaySpan,
    FailedStep,
    Links,
    RunOutcome,
    failed_check,
    run_failure,
    systems_behind,
)
from pipelines.alerts.decisions import Decision, decide_on_runs, decide_on_systems
from pipelines.alerts.messages import MAX_DETAILS, MAX_LINES, Message
from pipelines.alerts.messages import compose as compose_if_any

NOTHING_NOTIFIED: frozenset[str] = frozenset()
NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)


def failed(*steps: str, run_id: str = "run-1", job: str = "fleet_status") -> RunOutcome:
    return RunOutcome(
        run_id, job, "failed", [FailedStep(step, "OperationalError") for step in steps]
    )


def succeeded(*checks: CheckOutcome, job: str = "fleet_status") -> RunOutcome:
    return RunOutcome("run-2", job, "succeeded", checks=checks)


def check(*, passed: bool, name: str = "no_jump") -> CheckOutcome:
    return CheckOutcome("system_deployment_status", name, passed, "WARN", "12 more than before.")


def of_day(day: int, *, passed: bool = False) -> RunOutcome:
    date = f"2026-11-{day:02}"
    outcome = check(passed=passed)
    return succeeded(dataclasses.replace(outcome, days=DaySpan(date, date)), job="other")


def kinds_and_days(decision: Decision) -> list[tuple[str, object]]:
    return [(condition.kind, condition.details.get("partition")) for condition in decision.new]


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


def compose(conditions: Sequence[Condition], now: dt.datetime, **options: Any) -> Message:
    message = compose_if_any(conditions, now, **options)
    assert message is not None
    return message


def text_of(message: Message) -> str:
    text = message.payload["text"]
    assert isinstance(text, str)
    return text


def alert_of(message: Message) -> dict[str, Any]:
    alert = message.payload["alert"]
    assert isinstance(alert, dict)
    return alert


class TestRuns:
    def test_a_job_that_keeps_failing_at_the_same_step_is_alerted_of_once(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [failed("extract")])
        again = decide_on_runs(first.notified, [failed("extract", run_id="run-9")])

        assert [condition.kind for condition in first.new] == ["run_failure"]
        assert again.new == []

    def test_a_job_that_fails_at_another_step_is_alerted_of_again(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [failed("extract")])
        second = decide_on_runs(first.notified, [failed("publish")])
        back = decide_on_runs(second.notified, [failed("extract")])

        assert len(second.new) == 1
        assert back.new == [], "no run has succeeded in between"

    def test_a_failure_after_a_success_is_alerted_of_again(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [failed("extract")])
        recovered = decide_on_runs(first.notified, [succeeded()])

        assert recovered.new == []
        assert recovered.notified == NOTHING_NOTIFIED
        assert len(decide_on_runs(recovered.notified, [failed("extract")]).new) == 1

    def test_another_jobs_success_ends_nothing(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [failed("extract")])
        other = decide_on_runs(first.notified, [succeeded(job="fleet_status_2")])

        assert decide_on_runs(other.notified, [failed("extract")]).new == []

    def test_a_failure_that_was_over_before_anybody_looked_is_alerted_of(self) -> None:
        decision = decide_on_runs(NOTHING_NOTIFIED, [failed("extract"), succeeded()])

        assert len(decision.new) == 1
        assert decision.notified == NOTHING_NOTIFIED

    def test_a_canceled_run_is_no_failure(self) -> None:
        canceled = RunOutcome("run-3", "fleet_status", "canceled")

        assert decide_on_runs(NOTHING_NOTIFIED, [canceled]).new == []

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
            NOTHING_NOTIFIED, [failed("extract"), failed("x", job="backfill"), of_day(23)]
        )
        later = decide_on_runs(first.notified, [succeeded(), of_day(24)], undelivered=first.new)
        last = decide_on_runs(later.notified, [of_day(23, passed=True)], undelivered=later.new)

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

    def test_a_run_that_died_outside_of_its_steps_is_alerted_of(self) -> None:
        killed = RunOutcome("run-1", "fleet_status", "failed", reason="The command was killed.")

        texts = [decide_on_runs(NOTHING_NOTIFIED, [run]).new[0].text for run in (failed(), killed)]

        assert "failed outside of its steps. The" in texts[0]
        assert "failed outside of its steps: The command was killed. The" in texts[1]


class TestChecks:
    def test_a_failed_check_of_a_run_that_succeeds_is_alerted_of_once_until_it_passes(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [succeeded(check(passed=False))])
        again = decide_on_runs(first.notified, [succeeded(check(passed=False))])
        passing = decide_on_runs(again.notified, [succeeded(check(passed=True))])
        relapsed = decide_on_runs(passing.notified, [succeeded(check(passed=False))])

        assert [condition.kind for condition in first.new] == ["failed_check"]
        assert [again.new, passing.new] == [[], []]
        assert len(relapsed.new) == 1

    def test_checks_are_told_apart(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [succeeded(check(passed=False))])
        other = decide_on_runs(first.notified, [succeeded(check(passed=False, name="unique"))])

        assert len(other.new) == 1

    def test_the_success_of_the_run_does_not_end_a_failed_check(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [succeeded(check(passed=False))])
        unchecked = decide_on_runs(first.notified, [succeeded()])

        assert decide_on_runs(unchecked.notified, [succeeded(check(passed=False))]).new == []

    def test_the_condition_has_severity_and_the_checks_own_words(self) -> None:
        condition = decide_on_runs(NOTHING_NOTIFIED, [succeeded(check(passed=False))]).new[0]

        assert "`no_jump` of `system_deployment_status` failed (WARN): 12 more" in condition.text

    def test_days_are_told_apart(self) -> None:
        first = decide_on_runs(NOTHING_NOTIFIED, [of_day(22)])
        second = decide_on_runs(first.notified, [of_day(23), of_day(22)])
        passed = decide_on_runs(second.notified, [of_day(22, passed=True)])
        relapsed = decide_on_runs(passed.notified, [of_day(22), of_day(23)])

        assert kinds_and_days(first) == [("failed_check", "2026-11-22")]
        assert kinds_and_days(second) == [("failed_check", "2026-11-23")]
        assert kinds_and_days(relapsed) == [("failed_check", "2026-11-22")]
        assert "`no_jump` of `system_deployment_status` for `2026-11-22` failed" in (
            first.new[0].text
        )

    def test_a_check_of_several_days_passes_for_all_of_them(self) -> None:
        month = CheckOutcome("a", "c", passed=True, severity="WARN", days=DaySpan("1", "30"))
        day = CheckOutcome("a", "c", passed=False, severity="WARN", days=DaySpan("20", "20"))
        before = decide_on_runs(NOTHING_NOTIFIED, [succeeded(day)])

        assert decide_on_runs(before.notified, [succeeded(month)]).notified == NOTHING_NOTIFIED
        assert failed_check("run-1", month).details["partition"] is None

    def test_what_an_earlier_version_was_notified_of_ends(self) -> None:
        before = frozenset({"failed_check:system_deployment_status:no_jump"})

        assert decide_on_runs(before, [of_day(22, passed=True)]).notified == NOTHING_NOTIFIED
        others = frozenset({"failed_check:system_deployment_status:no_jump_at_all:1:2"})
        assert decide_on_runs(others, [of_day(1, passed=True)]).notified == others


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
        first = decide_on_systems(NOTHING_NOTIFIED, behind(system("a", 30, 200.0)))
        worse = decide_on_systems(
            first.notified, behind(system("b", 31, 210.0), system("a", 31, 210.0))
        )
        caught_up = decide_on_systems(worse.notified, behind(system("a", 0, None)))
        again = decide_on_systems(caught_up.notified, behind(system("a", 25, 20.0)))

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
        new = decide_on_runs(
            NOTHING_NOTIFIED, [failed("extract"), succeeded(check(passed=False))]
        ).new

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

    def test_names_without_end_are_bounded_and_told_apart(self) -> None:
        names = ["\U0001f427" * 10**5 + letter + "\x1b\u202e" * 10**5 for letter in "abc"]
        rows = [system(name, 34, 290.0) | {"flake_name": name} for name in names]
        message = compose(behind(*rows * 20), NOW)
        conditions = alert_of(message)["conditions"]

        assert {condition["hostname"] for condition in conditions} == set(map(display_name, names))
        assert all(len(condition["flake"]) <= LONGEST_NAME for condition in conditions)
        assert len(text_of(message)) < 5_000
        assert len(json.dumps(message.payload)) < 200_000
        assert len(message.model_dump_json()) < 200_000

    def test_the_furthest_behind_come_first(self) -> None:
        message = compose(
            behind(system("c", 21, 1.0), system("b", 99, 5.0), system("a", 99, 7.0)), NOW
        )

        hosts = [condition["hostname"] for condition in alert_of(message)["conditions"]]
        assert hosts == ["a", "b", "c"]

    def test_a_heading_sums_up_and_the_report_is_linked(self) -> None:
        links = Links(None, "https://example.org/report")

        message = compose(behind(system("a", 99, 7.0)), NOW, links=links, heading="1 of 7:")

        assert text_of(message).split("\n") == [
            "flakelag: 1 of 7:",
            "• `a` (flake `infra`) is 99 commits and 7h 0m behind.",
            "https://example.org/report",
        ]
        assert alert_of(message)["report_url"] == "https://example.org/report"

    def test_without_a_condition_there_is_no_message(self) -> None:
        assert compose_if_any([], NOW) is None

    def test_a_checks_words_mention_nobody(self) -> None:
        outcome = CheckOutcome(
            "a", "c", passed=False, severity="ERROR", description="<!here> @channel\n![x](http://y)"
        )

        text = decide_on_runs(NOTHING_NOTIFIED, [succeeded(outcome)]).new[0].text

        assert text.endswith("(ERROR): &lt;!here&gt; @\u200bchannel ![x]\u200b(http://y)")
