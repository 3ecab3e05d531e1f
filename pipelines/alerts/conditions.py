"""What an alert can be about, each in a line for a chat and in fields for a program.

Belongs here: the words and fields of one condition. Does not belong here: which conditions are new
(`decisions`), and the message that carries several (`messages`).

Of a failure, only sentences that flakelag or Dagster wrote are passed on. The text of a foreign
exception may carry a password (database drivers put whole connection strings into theirs), and a
webhook's receiver keeps what it is sent: it is in Dagster's UI, for those who may see it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from assets.publishing.display import bounded_name, display_sentence
from pipelines.alerts.slack import code, prose
from pipelines.doubts import WHY_BEHIND, feed_note, has_doubtful_feed
from pipelines.durations import duration
from pipelines.units import HOUR

MAX_NAMED = 5
"""Steps or assets that a line names; a run has a dozen."""

MAX_REASONS = 3
"""Reasons of one failed run that its line gives."""

# How Dagster calls the job of a run for which somebody has chosen assets in the UI.
_JOB_OF_CHOSEN_ASSETS = "__ASSET_JOB"


@dataclass(frozen=True)
class Condition:
    """One thing to alert of.

    Attributes:
        id: what makes it the same condition when it is seen again.
        kind: what sort of condition it is.
        text: a line for a chat that reads Slack's markup.
        details: the same for a program.
    """

    id: str
    kind: Literal["run_failure", "failed_check", "system_behind", "feed_not_current"]
    text: str
    details: Mapping[str, JsonValue]


@dataclass(frozen=True)
class DaySpan:
    """The days (UTC, YYYY-MM-DD) that a run or a check is about; first and last may be the same."""

    first: str
    last: str

    def __str__(self) -> str:
        return self.first if self.first == self.last else f"{self.first} to {self.last}"

    def includes(self, other: "DaySpan") -> bool:
        """Whether every day of the other is one of these."""
        return self.first <= other.first and other.last <= self.last


@dataclass(frozen=True)
class CheckOutcome:
    """One evaluation of an asset check.

    Attributes:
        asset: the asset that was checked.
        check: name of the check.
        passed: whether it holds.
        severity: WARN or ERROR.
        description: the check's own words.
        days: the partitions that were checked; None for an asset without partitions.
    """

    asset: str
    check: str
    passed: bool
    severity: str
    description: str | None = None
    days: DaySpan | None = None


@dataclass(frozen=True)
class FailedStep:
    """A step that failed.

    Attributes:
        step: its key.
        error: the class of its exception.
        reason: why, in the words of flakelag; None where the exception is a foreign one.
    """

    step: str
    error: str
    reason: str | None = None


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        run_id: its id.
        job: its job, as Dagster calls it.
        status: how it ended.
        failed_steps: in order.
        checks: what its checks found, in order.
        days: the partitions that it was for; None where there were none.
        assets: those that somebody has chosen for it; empty for a job of its own name.
        reason: why it failed outside of its steps, in words of flakelag or Dagster.
    """

    run_id: str
    job: str
    status: Literal["succeeded", "failed", "canceled"]
    failed_steps: Sequence[FailedStep] = ()
    checks: Sequence[CheckOutcome] = field(default=())
    days: DaySpan | None = None
    assets: Sequence[str] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Links:
    """Where a person who gets an alert can look.

    Attributes:
        ui_url: of Dagster's UI, without a slash at its end.
        report_url: of the report page.
    """

    ui_url: str | None = None
    report_url: str | None = None

    def run(self, run_id: str) -> str | None:
        """The page of a run."""
        return None if self.ui_url is None else f"{self.ui_url}/runs/{run_id}"


NO_LINKS = Links()


def run_failure(outcome: RunOutcome, links: Links = NO_LINKS) -> Condition:
    """A run that failed: what it was for, where it failed, and why."""
    url = links.run(outcome.run_id)
    where_to_look = "The Dagster UI has its log." if url is None else url
    return Condition(
        id=_failures_of(outcome) + ",".join(sorted(step.step for step in outcome.failed_steps)),
        kind="run_failure",
        text=f"Run {code(outcome.run_id)} of {_work(outcome)}{_for_days(outcome.days)} failed"
        f"{_causes(outcome)} {where_to_look}",
        details={
            "run_id": outcome.run_id,
            "job": outcome.job,
            "failed_steps": [
                {"step": step.step, "error": step.error, "reason": _bounded(step.reason)}
                for step in outcome.failed_steps
            ],
            "reason": _bounded(outcome.reason),
            "assets": list(outcome.assets),
            **_day_fields(outcome.days),
            "url": url,
        },
    )


def is_failure_of_work(condition_id: str, succeeded: RunOutcome) -> bool:
    """Whether the id is that of a failure of what has succeeded now, be it for other days."""
    return condition_id.startswith(_failures_of(succeeded))


def is_made_up_for(condition: Condition, succeeded: RunOutcome) -> bool:
    """Whether the condition is a failure of what has succeeded now for the same days."""
    if not is_failure_of_work(condition.id, succeeded):
        return False
    first, last = condition.details["first_day"], condition.details["last_day"]
    if first is None or last is None:
        return True
    days = succeeded.days
    return days is not None and days.includes(DaySpan(str(first), str(last)))


def _failures_of(outcome: RunOutcome) -> str:
    """How the ids of all failures of the same work begin; names of jobs hold no colon."""
    is_named = not outcome.job.startswith(_JOB_OF_CHOSEN_ASSETS)
    work = outcome.job if is_named else f"{outcome.job}({','.join(outcome.assets)})"
    return f"run_failure:{work}:"


def failed_check(run_id: str, check: CheckOutcome, links: Links = NO_LINKS) -> Condition:
    """A failed asset check, in its own words: flakelag's checks write them for people."""
    days = check.days
    return Condition(
        id=f"failed_check:{check.asset}:{check.check}"
        + ("" if days is None else f":{days.first}:{days.last}"),
        kind="failed_check",
        text=f"Check {code(check.check)} of {code(check.asset)}{_for_days(days)} failed "
        f"({check.severity}){_because(check.description)}",
        details={
            "run_id": run_id,
            "asset": check.asset,
            "check": check.check,
            "severity": check.severity,
            "partition": days.first if days is not None and days.first == days.last else None,
            "description": _bounded(check.description),
            **_day_fields(days),
            "url": links.run(run_id),
        },
    )


def is_ended_by(condition_id: str, passed: CheckOutcome) -> bool:
    """Whether the id is that of a failed check which has passed now for the same days."""
    name = f"failed_check:{passed.asset}:{passed.check}"
    if not condition_id.startswith(name):
        return False
    match condition_id.removeprefix(name).split(":"):
        case [""]:
            return True
        case ["", first, last]:
            return passed.days is None or passed.days.includes(DaySpan(first, last))
    return False


def systems_behind(
    rows: Iterable[Mapping[str, Any]], *, commits: int, hours: float
) -> list[Condition]:
    """The systems that are behind by more than a number of commits or of hours, the worst first.

    Args:
        rows: a snapshot of system_deployment_status, with at least hostname, flake_name,
            commits_behind, hours_behind, behind_since (ISO 8601) and behind_reason.
        commits: more commits than this are too many.
        hours: more hours than this are too many.
    """
    too_far = [
        row
        for row in rows
        if (row["commits_behind"] or 0) > commits or (row["hours_behind"] or 0.0) > hours
    ]
    too_far.sort(key=lambda row: (-(row["commits_behind"] or 0), -(row["hours_behind"] or 0.0)))
    return [_system_behind(row) for row in too_far]


def too_far_behind(*, commits: int, hours: float) -> str:
    """The thresholds in words."""
    return f"behind by more than {commits:,} commits or {duration(hours * HOUR)}"


def _system_behind(row: Mapping[str, Any]) -> Condition:
    hostname, flake = row["hostname"], row["flake_name"]
    commits, hours = row["commits_behind"] or 0, row["hours_behind"] or 0.0
    reason = row["behind_reason"]
    return Condition(
        id=f"system_behind:{bounded_name(hostname)}",
        kind="system_behind",
        text=f"{code(hostname)}"
        + (f" (flake {code(flake)})" if flake else "")
        + f" is {commits:,} commit{'' if commits == 1 else 's'} and "
        f"{duration(hours * HOUR)} behind" + (f": {WHY_BEHIND[reason]}." if reason else "."),
        details={
            "hostname": bounded_name(hostname),
            "flake": None if flake is None else bounded_name(flake),
            "commits_behind": commits,
            "hours_behind": round(hours, 2),
            "behind_since": row["behind_since"],
            "behind_reason": reason,
        },
    )


def feeds_not_current(rows: Iterable[Mapping[str, Any]]) -> list[Condition]:
    """The flakes whose repository could not be read, or has not been for too long.

    It is one condition from the first of this until the repository is read again, whether reading
    fails or is not tried meanwhile.

    Args:
        rows: a snapshot of flake_deployment_status, with at least flake_id, flake_name,
            systems_total, feed_status, feed_checked_at (ISO 8601), feed_error and snapshot_at.
    """
    doubtful = [row for row in rows if has_doubtful_feed(row)]
    doubtful.sort(key=lambda row: (-row["systems_total"], row["flake_id"]))
    return [_feed_not_current(row) for row in doubtful]


def feeds_in_trouble(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the conditions that have not ended: also those of feeds that are being tried again.

    An attempt that has begun clears nothing: the error of the one before it stands until then.
    """
    return frozenset(_feed_id(row) for row in rows if has_doubtful_feed(row) or row["feed_error"])


def _feed_id(row: Mapping[str, Any]) -> str:
    return f"feed_not_current:{row['flake_id']}"


def _feed_not_current(row: Mapping[str, Any]) -> Condition:
    flake, systems, error = row["flake_name"], row["systems_total"], row["feed_error"]
    return Condition(
        id=_feed_id(row),
        kind="feed_not_current",
        text=f"Flake {code(flake)} is known {feed_note(row)}, so its {systems:,} "
        f"system{'' if systems == 1 else 's'} can be behind without a sign of it{_because(error)}",
        details={
            "flake_id": row["flake_id"],
            "flake": bounded_name(flake),
            "systems": systems,
            "feed_status": row["feed_status"],
            "feed_checked_at": row["feed_checked_at"],
            "feed_error": _bounded(error),
        },
    )


def _work(outcome: RunOutcome) -> str:
    if not outcome.job.startswith(_JOB_OF_CHOSEN_ASSETS):
        return code(outcome.job)
    return f"chosen assets ({_listed(outcome.assets)})" if outcome.assets else "chosen assets"


def _for_days(days: DaySpan | None) -> str:
    return "" if days is None else f" for {code(str(days))}"


def _day_fields(days: DaySpan | None) -> dict[str, JsonValue]:
    return {
        "first_day": None if days is None else days.first,
        "last_day": None if days is None else days.last,
    }


def _causes(outcome: RunOutcome) -> str:
    """Where and why it failed, each reason once with the steps that gave it; ends a sentence."""
    if not outcome.failed_steps:
        return f" outside of its steps{_because(outcome.reason)}"
    steps: dict[str | None, list[FailedStep]] = {}
    for step in outcome.failed_steps:
        steps.setdefault(step.reason, []).append(step)
    causes = [
        f" at {_listed([step.step for step in failed])}{_because(reason)}"
        if reason
        else f" at {', '.join(f'{code(s.step)} ({code(s.error)})' for s in failed[:MAX_NAMED])}."
        for reason, failed in steps.items()
    ]
    more = f" And {len(causes) - MAX_REASONS} more reasons." if len(causes) > MAX_REASONS else ""
    return " Also".join(causes[:MAX_REASONS]) + more


def _because(reason: str | None) -> str:
    return f": {prose(reason)}" if reason else "."


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(map(code, names[:MAX_NAMED]))
    return listed if len(names) <= MAX_NAMED else f"{listed} and {len(names) - MAX_NAMED} more"


def _bounded(text: str | None) -> str | None:
    return None if text is None else display_sentence(text)
