"""Conditions for tests, written by hand: runs, checks and systems, without Dagster or a network."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from pipelines.alerts.conditions import (
    CheckOutcome,
    Condition,
    DaySpan,
    FailedStep,
    RunOutcome,
    systems_behind,
)
from pipelines.alerts.decisions import Decision
from pipelines.alerts.messages import Message
from pipelines.alerts.messages import compose as compose_if_any

NOTHING_ALERTED: frozenset[str] = frozenset()
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
        "behind_reason": None,
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
