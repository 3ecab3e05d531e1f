"""What speaks against taking a row of the status for the whole truth, in words for a terminal.

Belongs here: from the columns of evidence (`feed_status`, `last_seen_at`, `commits_behind_branch`)
to notes beside a status. Does not belong here: where the notes are printed.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pipelines.durations import duration

COLUMNS = (
    "deployment_status",
    "feed_status",
    "feed_checked_at",
    "liveness",
    "last_seen_at",
    "commits_behind_branch",
    "snapshot_at",
)
"""The columns that `doubts_about` looks at."""

WHY_BEHIND = {
    "nothing_to_deploy": "deploying would change nothing",
    "silent": "it is silent; its owner has to look",
    "pinned": "it is pinned",
    "not_applied": "it was told to deploy and has not; its operator has to look",
    "awaiting_release": "somebody has to release to it",
    "rolling_out": "it follows its flake by itself",
    "not_cached": "the latest commit is built but in no cache",
    "evaluation_failed": "the latest commit does not evaluate; its author has to look",
    "not_evaluated": "the latest commit is not evaluated yet",
    "build_failed": "the latest commit does not build; its author has to look",
    "not_built": "the latest commit is not built yet",
    "not_in_flake": "the latest commit has no configuration for it",
    "not_known": "why is not recorded",
}
"""`behind_reason`, and who has to act, in the words of a sentence."""

DOUBTFUL_FEEDS = ("failing", "stale")
_UNSEEN = ("missing", "silent")

CURRENT_STATUSES = ("up_to_date", "ahead")


def has_doubtful_feed(row: Mapping[str, Any]) -> bool:
    """Whether there can be later commits that the fleet's server has not read."""
    return row["feed_status"] in DOUBTFUL_FEEDS


def feed_note(row: Mapping[str, Any]) -> str:
    """As of when the flake's commits are known, where its feed is not current.

    An attempt that failed read nothing: what is known is older than it.
    """
    since = _ago(row, "feed_checked_at")
    if row["feed_status"] == "failing":
        return f"as of {since} or earlier: last read failed"
    return f"as of {since}: not read since"


def doubts_about(row: Mapping[str, Any]) -> list[str]:
    """What a person has to know of a row before believing its status.

    Args:
        row: with `COLUMNS`; instants as ISO 8601 text or as `datetime`.
    """
    doubts = []
    if row["deployment_status"] in CURRENT_STATUSES:
        if has_doubtful_feed(row):
            doubts.append(feed_note(row))
        if row["deployment_status"] == "up_to_date" and row["commits_behind_branch"]:
            doubts.append(f"git counts {row['commits_behind_branch']:,} later on the branch")
    if row["liveness"] in _UNSEEN:
        doubts.append(f"last seen {_ago(row, 'last_seen_at')}")
    return doubts


def _ago(row: Mapping[str, Any], column: str) -> str:
    """How long before the snapshot; `an unknown time` where that is not recorded."""
    instant, snapshot_at = (_instant(row[name]) for name in (column, "snapshot_at"))
    if instant is None or snapshot_at is None:
        return "an unknown time ago"
    return f"{duration(max((snapshot_at - instant).total_seconds(), 0))} ago"


def _instant(value: str | dt.datetime | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
