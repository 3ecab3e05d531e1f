"""Which conditions are new: plain functions of what was seen.

A condition that lasts is alerted of once, and once more when it has ended and comes again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assets.publishing.checks import FEEDS_CURRENT
from pipelines.alerts.conditions import (
    NO_LINKS,
    Condition,
    Links,
    RunOutcome,
    failed_check,
    is_ended_by,
    is_failure_of_work,
    is_made_up_for,
    run_failure,
)

ALERTED_OF_BY_ITSELF = frozenset({FEEDS_CURRENT.name})
"""Checks whose finding is a condition of its own, which lasts longer than a day's check."""


@dataclass(frozen=True)
class Decision:
    """What to alert of now, and what has been alerted of when that is delivered.

    Attributes:
        new: conditions to alert of, in order.
        alerted: ids of the conditions that stand and were alerted of, these included.
    """

    new: Sequence[Condition]
    alerted: frozenset[str]


def decide_on_runs(
    alerted: frozenset[str],
    outcomes: Iterable[RunOutcome],
    undelivered: Sequence[Condition] = (),
    links: Links = NO_LINKS,
) -> Decision:
    """Finds the failures among finished runs that nobody was alerted of yet.

    A job that fails at the same steps again is the same condition until a run of it succeeds; a
    failed check is the same condition until it passes for the same days. One that both began and
    ended among these runs is new all the same.

    Args:
        alerted: ids of the conditions that stand and were alerted of, also those undelivered.
        outcomes: the runs that have finished since, in order.
        undelivered: conditions of earlier runs that could not be delivered yet. Those that have
            passed since are left out: of a run, when the same has succeeded for the same days.
        links: where a person can look.
    """
    new: list[Condition] = []
    waiting = list(undelivered)
    standing = set(alerted)

    def begin(condition: Condition) -> None:
        if condition.id not in standing:
            standing.add(condition.id)
            new.append(condition)

    for outcome in outcomes:
        for check in outcome.checks:
            if check.check in ALERTED_OF_BY_ITSELF:
                continue
            if check.passed:
                standing -= {id_ for id_ in standing if is_ended_by(id_, check)}
                waiting = [each for each in waiting if not is_ended_by(each.id, check)]
            else:
                begin(failed_check(outcome.run_id, check, links))
        if outcome.status == "failed":
            begin(run_failure(outcome, links))
        elif outcome.status == "succeeded":
            standing -= {id_ for id_ in standing if is_failure_of_work(id_, outcome)}
            waiting = [each for each in waiting if not is_made_up_for(each, outcome)]
    return Decision([*waiting, *new], frozenset(standing))


def decide_on_systems(alerted: frozenset[str], standing: Sequence[Condition]) -> Decision:
    """Finds the systems that nobody was alerted of since they are too far behind.

    Args:
        alerted: ids of the conditions that stood and were alerted of.
        standing: all conditions that stand now.
    """
    new = [condition for condition in standing if condition.id not in alerted]
    return Decision(new, frozenset(condition.id for condition in standing))
