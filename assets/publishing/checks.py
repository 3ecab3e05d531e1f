"""What must hold before anything is published, and what a person should look at.

Each check is a plain function from data to a `Verdict`; `Check` gives it its name and says whether
it blocks. A blocking check is judged before its dataset is published and keeps it from being
published; Dagster's own blocking, which acts after the step, then also stops what is downstream.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import dagster as dg
import pandas as pd

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.conformity import Problem, Rule
from assets.publishing.display import display_name
from assets.publishing.unusable import UnusableRows, in_sentences
from assets.schemas import Dataset

Measured = Mapping[str, int | float | str]
Subject = TypeVar("Subject")

# Losing more than half of a table between two readings is a fault far more often than a decision.
SMALLEST_REMAINING_SHARE = 0.5
LARGEST_UNKNOWN_JUMP = 0.1
EXAMPLES = 5


@dataclass(frozen=True)
class Verdict:
    """Whether a check holds, why, and the figures behind it."""

    passed: bool
    description: str
    measured: Measured = field(default_factory=dict)


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A check of one dataset.

    Attributes:
        name: as the UI shows it.
        description: what holds when it passes.
        blocks: whether nothing may be published when it fails.
        judge: from the subject to the verdict.
    """

    name: str
    description: str
    blocks: bool
    judge: Callable[[Subject], Verdict]

    def spec(self, asset: str) -> dg.AssetCheckSpec:
        """The check as Dagster knows it."""
        return dg.AssetCheckSpec(
            self.name, asset=asset, description=self.description, blocking=self.blocks
        )

    def on(self, subject: Subject) -> "JudgedCheck":
        """Judges the subject."""
        return JudgedCheck(self.name, self.blocks, self.judge(subject))


@dataclass(frozen=True)
class JudgedCheck:
    """A check and what it found."""

    name: str
    blocks: bool
    verdict: Verdict

    @property
    def forbids_publishing(self) -> bool:
        """Whether what was judged must not be published."""
        return self.blocks and not self.verdict.passed

    def result(self, asset: str) -> dg.AssetCheckResult:
        """The verdict as Dagster records it."""
        return dg.AssetCheckResult(
            check_name=self.name,
            asset_key=asset,
            passed=self.verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR if self.blocks else dg.AssetCheckSeverity.WARN,
            description=self.verdict.description,
            metadata=dict(self.verdict.measured),
        )


def first_failures(judged: Iterable[JudgedCheck]) -> list[JudgedCheck]:
    """Of each check that was judged several times, its first failure, else its last verdict."""
    kept: dict[str, JudgedCheck] = {}
    for check in judged:
        before = kept.get(check.name)
        if before is None or before.verdict.passed:
            kept[check.name] = check
    return list(kept.values())


@dataclass(frozen=True)
class RowsRead:
    """How many rows one source table had, now and at the reading before.

    Attributes:
        table: the table, for the message.
        rows: now, whether they can be used or not.
        rows_before: in the newest complete extract; None where there is none.
        may_be_empty: whether a fleet can have no row of it yet.
        accept_shrunk: whether an operator has said that a loss is meant.
    """

    table: str
    rows: int
    rows_before: int | None
    may_be_empty: bool
    accept_shrunk: bool


def judge_rows_read(read: RowsRead) -> Verdict:
    """Fails when the table has been emptied, or has lost over half of its rows."""
    before = read.rows_before or 0
    measured = {"rows": read.rows} | (
        {} if read.rows_before is None else {"rows_before": read.rows_before}
    )
    if read.rows == 0 and (before or not read.may_be_empty):
        had = f" It had {before:,} at the last reading." if before else ""
        return Verdict(
            False,
            f"Table public.{read.table} has no row.{had} Is FLEET_DATABASE_URL the database of the "
            "fleet, and is it restored completely?",
            measured,
        )
    if read.rows < SMALLEST_REMAINING_SHARE * before and not read.accept_shrunk:
        return Verdict(
            False,
            f"Table public.{read.table} shrank from {before:,} to {read.rows:,} rows. If that is "
            "meant, run once with `flakelag report --accept-shrunk` (in the UI: "
            "`accept_shrunk: true` in the config of `read_fleet_database`).",
            measured,
        )
    return Verdict(True, f"{read.rows:,} rows of public.{read.table}", measured)


NOT_EMPTY_OR_SHRUNK: Check[RowsRead] = Check(
    "not_empty_or_sharply_shrunk",
    "The table was not emptied, and has no less than half of the rows of the last reading.",
    blocks=True,
    judge=judge_rows_read,
)


@dataclass(frozen=True)
class FleetRead:
    """Which repositories the flakes read now and the time before belong to.

    Attributes:
        repositories: URLs, now.
        repositories_before: in the newest complete extract; none where there is none.
        accept_change: whether an operator has said that it is the same fleet all the same.
    """

    repositories: frozenset[str]
    repositories_before: frozenset[str]
    accept_change: bool


def judge_same_fleet(read: FleetRead) -> Verdict:
    """Fails when no flake read now was there the time before: it is another fleet's database."""
    if not read.repositories or not read.repositories_before or read.accept_change:
        return Verdict(True, f"{len(read.repositories)} flakes.")
    known = len(read.repositories & read.repositories_before)
    if known:
        return Verdict(True, f"{known} of {len(read.repositories)} flakes were read before.")
    return Verdict(
        False,
        f"None of the {len(read.repositories)} flakes is one of the "
        f"{len(read.repositories_before)} that were read before: this is another fleet. Give it a "
        "REPORTS_DIR and a HISTORY_DATABASE_URL of its own; what is left of the demo fleet goes "
        "with the folders reports/ and var/. If it is the same fleet, whose repositories have all "
        "moved, run once with `flakelag report --accept-shrunk`.",
    )


SAME_FLEET: Check[FleetRead] = Check(
    "same_fleet_as_before",
    "At least one flake was there at the last reading, too.",
    blocks=True,
    judge=judge_same_fleet,
)


def judge_quarantined(unusable: Sequence[UnusableRows]) -> Verdict:
    """Fails when any row had to be put aside; says what is uncertain because of it, and of whom."""
    if not unusable:
        return Verdict(True, "Every row could be used.", {"rows": 0})
    rows = sum(each.rows for each in unusable)
    told = " ".join(in_sentences(unusable, EXAMPLES))
    if len(unusable) <= EXAMPLES:
        told += " The quarantine dataset has each row, with its reason."
    return Verdict(False, told, {"rows": rows})


NOTHING_QUARANTINED: Check[Sequence[UnusableRows]] = Check(
    "nothing_quarantined",
    "Every source row could be used.",
    blocks=False,
    judge=judge_quarantined,
)


def _keeps(rule: Rule, held: str) -> Callable[[Sequence[Problem]], Verdict]:
    """Judges by what the report store found right before it would have put a file in place."""

    def judge(problems: Sequence[Problem]) -> Verdict:
        broken = [p.text for p in problems if p.rule in (rule, Rule.COLUMNS)]
        return Verdict(not broken, " ".join(broken) or held)

    return judge


def conformity_checks(dataset: Dataset) -> list[Check[Sequence[Problem]]]:
    """The checks of a published dataset that its validation answers: one judgement, told by rule.

    They are judged by the report store, right before a file is put in place, and nowhere else.
    """
    key = " and ".join(dataset.key)
    checks: list[Check[Sequence[Problem]]] = [
        Check(
            f"one_row_per_{key.replace(' ', '_')}",
            f"{dataset.grain.capitalize()}: no two rows have the same {key}.",
            blocks=True,
            judge=_keeps(Rule.KEY, "No two rows have the same key."),
        )
    ]
    if "deployment_status" in dataset.column_names:
        checks.append(
            Check(
                "statuses_in_closed_set",
                f"Every status is one of {', '.join(DEPLOYMENT_STATUSES)}; reasons likewise.",
                blocks=True,
                judge=_keeps(Rule.CLOSED_SET, "Every status is one of the five."),
            )
        )
    return checks


@dataclass(frozen=True)
class FlakeCounts:
    """A flake summary beside the snapshot that it was made from."""

    status: pd.DataFrame
    flakes: pd.DataFrame


def judge_counts_sum(counts: FlakeCounts) -> Verdict:
    """Fails when the flakes' counts do not add up to the systems of the snapshot."""
    by_status = counts.flakes[[f"systems_{status}" for status in DEPLOYMENT_STATUSES]]
    inconsistent = counts.flakes[by_status.sum(axis="columns") != counts.flakes["systems_total"]]
    if not inconsistent.empty:
        names = ", ".join(map(display_name, inconsistent["flake_name"].head(EXAMPLES)))
        return Verdict(False, f"The counts by status do not add up to the total for {names}.")
    in_a_flake = int(counts.status["flake_id"].isin(counts.flakes["flake_id"]).sum())
    counted = int(counts.flakes["systems_total"].sum())
    measured = {"systems_in_a_flake": in_a_flake, "systems_counted": counted}
    if counted != in_a_flake:
        return Verdict(
            False, f"{counted} systems counted by flake, {in_a_flake} in the snapshot.", measured
        )
    return Verdict(True, f"The counts of {len(counts.flakes)} flakes add up.", measured)


COUNTS_SUM: Check[FlakeCounts] = Check(
    "counts_sum",
    "Each flake's counts by status add up to its total, and the totals to the snapshot's systems.",
    blocks=True,
    judge=judge_counts_sum,
)


@dataclass(frozen=True)
class UnknownShares:
    """The share of unknown systems in a snapshot and in the one published before it."""

    now: float
    before: float | None


def share_of_unknown(statuses: "Sequence[str] | pd.Series[str]") -> float:
    """The share of unknown among the systems, 0 where there is none."""
    return float((pd.Series(statuses, dtype="str") == "unknown").mean()) if len(statuses) else 0.0


def judge_unknown_jump(shares: UnknownShares) -> Verdict:
    """Fails when more than ten percent more of the systems are unknown than before."""
    if shares.before is None:
        return Verdict(True, f"{shares.now:.1%} unknown; no earlier snapshot to compare with.")
    # In binary, 0.8 - 0.7 is more than 0.1.
    jump = round(shares.now - shares.before, 9)
    return Verdict(
        jump <= LARGEST_UNKNOWN_JUMP,
        f"{shares.now:.1%} unknown, {shares.before:.1%} in the snapshot before.",
        {"share_unknown": shares.now, "share_unknown_before": shares.before},
    )


NO_JUMP_OF_UNKNOWN: Check[UnknownShares] = Check(
    "no_jump_of_unknown",
    "The share of unknown systems rose by no more than ten percentage points.",
    blocks=False,
    judge=judge_unknown_jump,
)


def judge_quiet_flakes(quiet: pd.DataFrame) -> Verdict:
    """Fails when a flake has had no commit for longer than its rhythm explains."""
    if quiet.empty:
        return Verdict(True, "Every flake's newest commit is as recent as usual.", {"flakes": 0})
    shown = quiet.head(EXAMPLES)
    named = ", ".join(
        f"{display_name(name)} ({hours / 24:.0f} days)"
        for name, hours in zip(shown["flake_name"], shown["age_hours"], strict=True)
    )
    return Verdict(
        False,
        f"Newest commit unusually old in {len(quiet)} flake(s): {named}. Do its pushes still reach "
        "the fleet's server?",
        {"flakes": len(quiet)},
    )


NO_QUIET_FLAKE: Check[pd.DataFrame] = Check(
    "newest_commits_recent",
    "No flake's newest commit is unusually old for its rhythm.",
    blocks=False,
    judge=judge_quiet_flakes,
)


def judge_flapping(deployments: pd.DataFrame) -> Verdict:
    """Fails when a host has so many deployments in a day that they can't be what happened."""
    flapping = deployments.loc[deployments["is_flapping"], "hostname"].value_counts()
    measured = {"hosts": len(flapping), "deployments": int(flapping.sum())}
    if flapping.empty:
        return Verdict(True, "No host has 10 or more deployments on one day.", measured)
    named = ", ".join(
        f"{display_name(str(host))} ({count})" for host, count in flapping.head(EXAMPLES).items()
    )
    return Verdict(
        False,
        f"{len(flapping)} host(s) with 10 or more deployments on one day: {named}. Do two machines "
        "report under one name? These deployments count in no figure of velocity.",
        measured,
    )


NO_FLAPPING_HOST: Check[pd.DataFrame] = Check(
    "no_flapping_host",
    "No host has 10 or more deployments on one day (UTC).",
    blocks=False,
    judge=judge_flapping,
)
