"""What people are told of, and what is new of it: plain functions of what was seen.

A condition that lasts is told once; when it has ended and comes again, it is told again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from pipelines.alerts.slack import code, prose
from pipelines.printable import duration
from pipelines.units import HOUR


@dataclass(frozen=True)
class Condition:
    """One thing to tell.

    Attributes:
        id: what makes it the same condition when it is seen again.
        kind: what sort of condition it is.
        text: a line for a chat that reads Slack's markup.
        details: the same for a program.
    """

    id: str
    kind: Literal["run_failure", "failed_check", "system_behind"]
    text: str
    details: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Decision:
    """What to tell now, and what people have then been told of.

    Attributes:
        new: conditions to tell, in the order in which they were seen.
        told: ids of the conditions that stand and were told, these included.
    """

    new: Sequence[Condition]
    told: frozenset[str]


@dataclass(frozen=True)
class CheckOutcome:
    """One evaluation of an asset check; `description` is the check's own words."""

    asset: str
    check: str
    passed: bool
    severity: str
    description: str | None = None
    partition: str | None = None


@dataclass(frozen=True)
class FailedStep:
    """A step that failed, and the class of its exception: never the message, see `run_failure`."""

    step: str
    error: str


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended, and what its checks said, in order."""

    run_id: str
    job: str
    status: Literal["succeeded", "failed", "canceled"]
    failed_steps: Sequence[FailedStep] = ()
    checks: Sequence[CheckOutcome] = field(default=())


def decide_on_runs(told: frozenset[str], outcomes: Iterable[RunOutcome]) -> Decision:
    """Finds the failures among finished runs that people don't know of yet.

    A job that fails at the same steps again is the same condition until a run of it succeeds; a
    failed check is the same condition until it passes.

    Args:
        told: ids of the conditions that stand and were told.
        outcomes: the runs that have finished since, in order.
    """
    new: list[Condition] = []
    standing = set(told)

    def tell(condition: Condition) -> None:
        if condition.id not in standing:
            standing.add(condition.id)
            new.append(condition)

    for outcome in outcomes:
        for check in outcome.checks:
            if check.passed:
                standing.discard(_check_id(check))
            else:
                tell(failed_check(outcome.run_id, check))
        if outcome.status == "failed":
            tell(run_failure(outcome))
        elif outcome.status == "succeeded":
            ended = _job_id(outcome.job)
            standing = {condition for condition in standing if not condition.startswith(ended)}
    return Decision(new, frozenset(standing))


def decide_on_systems(told: frozenset[str], standing: Sequence[Condition]) -> Decision:
    """Finds the systems that were not too far behind in the snapshot before.

    Args:
        told: ids of the conditions that stood and were told.
        standing: all conditions that stand now.
    """
    new = [condition for condition in standing if condition.id not in told]
    return Decision(new, frozenset(condition.id for condition in standing))


def run_failure(outcome: RunOutcome) -> Condition:
    """A failed run, without its error messages: an exception's text may carry a password.

    The database drivers put whole connection strings into theirs, and a webhook's receiver keeps
    what it is sent. The names of steps and exception classes are ours or a library's; the rest is
    in Dagster's UI, for those who may see it.
    """
    steps = [f"{code(step.step)} ({code(step.error)})" for step in outcome.failed_steps]
    where = f" at {', '.join(steps)}" if steps else " outside of its steps"
    return Condition(
        id=_job_id(outcome.job) + ",".join(sorted(step.step for step in outcome.failed_steps)),
        kind="run_failure",
        text=f"Run {code(outcome.run_id)} of {code(outcome.job)} failed{where}. "
        "The Dagster UI has its log.",
        details={
            "run_id": outcome.run_id,
            "job": outcome.job,
            "failed_steps": [
                {"step": step.step, "error": step.error} for step in outcome.failed_steps
            ],
        },
    )


def failed_check(run_id: str, check: CheckOutcome) -> Condition:
    """A failed asset check, in its own words: flakelag's checks write them for people."""
    partition = f" for {code(check.partition)}" if check.partition else ""
    description = f": {prose(check.description)}" if check.description else "."
    return Condition(
        id=_check_id(check),
        kind="failed_check",
        text=f"Check {code(check.check)} of {code(check.asset)}{partition} failed "
        f"({check.severity}){description}",
        details={
            "run_id": run_id,
            "asset": check.asset,
            "check": check.check,
            "severity": check.severity,
            "partition": check.partition,
            "description": check.description,
        },
    )


def systems_behind(
    rows: Iterable[Mapping[str, Any]], *, commits: int, hours: float
) -> list[Condition]:
    """The systems that are behind by more than a number of commits or of hours.

    Args:
        rows: a snapshot of system_deployment_status, with at least hostname, flake_name,
            commits_behind, hours_behind and behind_since (ISO 8601).
        commits: more commits than this are too many.
        hours: more hours than this are too many.
    """
    return [
        _system_behind(row)
        for row in rows
        if (row["commits_behind"] or 0) > commits or (row["hours_behind"] or 0.0) > hours
    ]


def _system_behind(row: Mapping[str, Any]) -> Condition:
    hostname, flake = row["hostname"], row["flake_name"]
    commits, hours = row["commits_behind"], row["hours_behind"]
    return Condition(
        id=f"system_behind:{hostname}",
        kind="system_behind",
        text=f"{code(hostname)}"
        + (f" (flake {code(flake)})" if flake else "")
        + f" is {commits} commit{'' if commits == 1 else 's'} and "
        f"{duration(hours * HOUR)} behind.",
        details={
            "hostname": hostname,
            "flake": flake,
            "commits_behind": commits,
            "hours_behind": round(hours, 2),
            "behind_since": row["behind_since"],
        },
    )


def _job_id(job: str) -> str:
    """How the ids of all failures of a job begin; names of jobs hold no colon."""
    return f"run_failure:{job}:"


def _check_id(check: CheckOutcome) -> str:
    return f"failed_check:{check.asset}:{check.check}"
