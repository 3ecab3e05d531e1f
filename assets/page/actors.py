"""Who must act: the systems that are behind, by whose turn it is."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from assets.page.wording import plain_records

NOT_KNOWN_WHO, NOBODY = "not_known", "nobody"

ACTORS: Mapping[str, str] = {
    "author": "Author of the commit",
    "builders": "Builders",
    "evaluator": "Evaluator",
    "cache": "Binary cache",
    "release": "Release",
    "operator": "Operator of the host",
    "host_owner": "Owner of the host",
    "registration_owner": "Owner of the registration",
    NOT_KNOWN_WHO: "Not known",
    NOBODY: "Nobody",
}
"""Who acts, in words."""

_ACTS = {
    "nothing_to_deploy": NOBODY,
    "silent": "host_owner",
    "pinned": NOBODY,
    "not_applied": "operator",
    "awaiting_release": "release",
    "rolling_out": NOBODY,
    "not_cached": "cache",
    "evaluation_failed": "author",
    "not_evaluated": "evaluator",
    "build_failed": "author",
    "not_built": "builders",
    "not_in_flake": "registration_owner",
    "not_known": NOT_KNOWN_WHO,
}

REASONS: Mapping[str, str] = {
    "nothing_to_deploy": "Deploying would change nothing on it",
    "silent": "Not heard from for over 4 hours, so nothing can be deployed to it",
    "pinned": "Pinned: a newer commit is ready, its deployment policy keeps it where it is",
    "not_applied": "Told to run a newer commit, and heard from since that was ready, "
    "but it has not switched",
    "awaiting_release": "A newer commit is ready for it and has to be released: it does not "
    "follow its flake by itself",
    "rolling_out": "A newer commit is ready for it, and it follows its flake by itself",
    "not_cached": "The latest commit is built for it, but not in a binary cache yet",
    "evaluation_failed": "The latest commit does not evaluate for it",
    "not_evaluated": "The latest commit is not evaluated for it yet",
    "build_failed": "The build of the latest commit for it failed",
    "not_built": "The latest commit is evaluated for it, but not built yet",
    "not_in_flake": "The latest commit has no configuration for it any more",
    "not_known": "Why is not recorded",
}
"""`behind_reason` in words, of one system."""


@dataclass(frozen=True)
class Turn:
    """The systems for which somebody has to act.

    Attributes:
        actor: one of `ACTORS`.
        reasons: (reason in words, systems), most systems first.
        systems: how many.
        most_commits_behind: the greatest among them.
        longest_wait_seconds: since when the first of them is behind; None where not known.
        first: hostnames of the first of them in triage order.
    """

    actor: str
    reasons: tuple[tuple[str, int], ...]
    systems: int
    most_commits_behind: int
    longest_wait_seconds: float | None
    first: tuple[str, ...]


def acting(status: pd.DataFrame) -> "pd.Series[str]":
    """Who has to act for each system; null for one that is not behind, or was not asked about.

    Args:
        status: a snapshot of `system_deployment_status`.
    """
    actors: pd.Series[str] = status["behind_reason"].astype("object").map(_ACTS)
    return actors.where(status["deployment_status"] == "behind")


def turns(status: pd.DataFrame, limit: int) -> tuple[Turn, ...]:
    """Groups the systems that are behind by who has to act.

    Args:
        status: a snapshot of `system_deployment_status`, in triage order.
        limit: at most so many systems of each are named.

    Returns:
        Most systems first, at the end those that nobody is known to have to act for. Empty where
        no system is behind, or no reason is recorded for any.
    """
    behind = status[status["deployment_status"] == "behind"]
    if behind["behind_reason"].isna().all():
        return ()
    behind = behind.assign(actor=acting(behind).fillna(NOT_KNOWN_WHO))
    found = [_turn(str(actor), systems, limit) for actor, systems in behind.groupby("actor")]
    return tuple(sorted(found, key=_order))


def _order(turn: Turn) -> tuple[int, int, int]:
    last = (NOT_KNOWN_WHO, NOBODY)
    rank = last.index(turn.actor) + 1 if turn.actor in last else 0
    return rank, -turn.systems, list(ACTORS).index(turn.actor)


def _turn(actor: str, systems: pd.DataFrame, limit: int) -> Turn:
    reasons = systems["behind_reason"].astype("object").fillna("not_known").value_counts()
    longest = systems["hours_behind"].max()
    return Turn(
        actor,
        tuple((REASONS[str(reason)], int(count)) for reason, count in reasons.items()),
        len(systems),
        int(systems["commits_behind"].max()),
        None if pd.isna(longest) else float(longest) * 3600,
        tuple(record["hostname"] for record in plain_records(systems[["hostname"]].head(limit))),
    )
