"""How far a status can be believed: when the repository was read, and when the system was seen.

Belongs here: from the columns of evidence (`feed_status`, `liveness`, `commits_behind_branch`) to
words. Does not belong here: where the page shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.compute.vocabulary import NOT_RECORDED
from assets.page.wording import counted, plain_records, span
from assets.publishing.display import display_sentence

CURRENT_STATUSES = ("up_to_date", "ahead")
_DOUBTFUL_FEEDS = ("failing", "stale")
_UNSEEN = ("missing", "silent")

_LONGEST_ERROR = 200
"""In characters: it stands in a narrow column."""


@dataclass(frozen=True)
class OldReading:
    """A repository of which there can be later commits that the fleet's server has not read.

    Attributes:
        as_of: up to when its commits are known: `as of 3 days ago`.
        why: what is the matter with reading it.
        error: what the server says of it, fit to be shown; None where it says nothing.
    """

    as_of: str
    why: str
    error: str | None

    def __str__(self) -> str:
        """`as of 3 days ago or earlier: last read failed`."""
        return f"{self.as_of}: {self.why}"


def old_readings(flake_status: pd.DataFrame) -> dict[int, OldReading]:
    """The flakes whose feed is not current, by id.

    Args:
        flake_status: a snapshot of `flake_deployment_status`.
    """
    doubtful = flake_status[flake_status["feed_status"].isin(_DOUBTFUL_FEEDS)]
    return {int(record["flake_id"]): _old_reading(record) for record in plain_records(doubtful)}


def _old_reading(record: Mapping[str, Any]) -> OldReading:
    since = ago(record["feed_checked_at"], record["snapshot_at"])
    error = record["feed_error"]
    shown = display_sentence(error, _LONGEST_ERROR) if error and error.strip() else None
    if record["feed_status"] == "failing":
        # What is recorded is when the attempt began, and it read nothing.
        return OldReading(f"as of {since} or earlier", "last read failed", shown)
    return OldReading(f"as of {since}", "not read since", shown)


def inferred_quiet(flake_status: pd.DataFrame, quiet: pd.DataFrame | None) -> dict[int, str]:
    """What can only be guessed of flakes of whose reading nothing is recorded, by id.

    Args:
        flake_status: a snapshot of `flake_deployment_status`.
        quiet: what `assets.compute.flake_freshness.quiet_flakes` gives for it, or None.
    """
    if quiet is None:
        return {}
    guessed = quiet[quiet["flake_id"].isin(unrecorded_flakes(flake_status)["flake_id"])]
    return {
        int(record["flake_id"]): "Only inferred: newest commit unusually old for its rhythm "
        f"({span(record['age_hours'] * 3600)}; usually one within "
        f"{span(record['usual_gap_hours'] * 3600)})"
        for record in plain_records(guessed)
    }


def unrecorded_flakes(flake_status: pd.DataFrame) -> pd.DataFrame:
    """The flakes of which nothing says whether their repository is still read."""
    feed = flake_status["feed_status"].astype("object")
    return flake_status[feed.isna() | (feed == NOT_RECORDED)]


def is_of_old_reading(status: pd.DataFrame) -> "pd.Series[bool]":
    """Which systems count as current only as far as their repository was read.

    Args:
        status: a snapshot of `system_deployment_status`.
    """
    return status["deployment_status"].isin(CURRENT_STATUSES) & status["feed_status"].isin(
        _DOUBTFUL_FEEDS
    )


def is_current_but_unseen(status: pd.DataFrame) -> "pd.Series[bool]":
    """Which systems count as current and have not been heard from for over an hour."""
    return status["deployment_status"].isin(CURRENT_STATUSES) & status["liveness"].isin(_UNSEEN)


def is_contradicted(status: pd.DataFrame) -> "pd.Series[bool]":
    """Which systems count as current though git counts newer commits on their branch."""
    newer = status["commits_behind_branch"].fillna(0) > 0
    return status["deployment_status"].isin(CURRENT_STATUSES) & newer


def last_seen(record: Mapping[str, Any]) -> str:
    """When a system was last heard from, where that is long ago; empty for others.

    Args:
        record: of `system_deployment_status`.
    """
    if record["liveness"] not in _UNSEEN:
        return ""
    return f"last seen {ago(record['last_seen_at'], record['snapshot_at'])}"


def counted_by_git(record: Mapping[str, Any]) -> str:
    """What git says against a system of `is_contradicted`."""
    return f"git counts {counted(record['commits_behind_branch'], 'newer commit')} on the branch"


def ago(instant: pd.Timestamp | None, snapshot_at: pd.Timestamp) -> str:
    """How long before the snapshot: `3 days ago`; later than it counts as now."""
    if instant is None:
        return "an unknown time ago"
    return f"{span(max((snapshot_at - instant).total_seconds(), 0.0))} ago"
