"""How far the status of each system can be believed, and who has to act on it.

Belongs here: the columns that are only known as of when the tables were read, and whether they can
be said of T. Does not belong here: how each of them is found (`feeds`, `liveness`,
`behind_reason`).
"""

import pandas as pd

from assets.compute.behind_reason import behind_reasons
from assets.compute.encoding import rows_at
from assets.compute.feeds import FeedRule, feeds
from assets.compute.liveness import judge_liveness
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import NOT_RECORDED

LONGEST_DELAY = pd.Timedelta(1, "h")
"""From T to the reading, where what was read is still said of T."""


def is_known_at(snapshot_at: pd.Timestamp, extracted_at: pd.Timestamp) -> bool:
    """Whether what the source keeps no history of can be said of T."""
    return extracted_at - snapshot_at <= LONGEST_DELAY


def evidence(
    timeline: FleetTimeline,
    systems: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    feed_rule: FeedRule,
    *,
    is_known: bool,
) -> pd.DataFrame:
    """The columns of `system_deployment_status` that are only known as of the reading.

    Args:
        timeline: the fleet.
        systems: one row a system. host, configuration, flake: codes; current, latest: positions;
            report: row label of its last one, and its timestamp; is_registered, is_counted;
            status; effective: its `commits_behind_effective`; latest_built: position of the last
            commit on the branch that is built for it.
        snapshot_at: T.
        feed_rule: when the feed of a flake is stale.
        is_known: whether what was read can be said of T.

    Returns:
        By the same row labels: feed_status, feed_checked_at, last_seen_at, liveness,
        commits_behind_branch, behind_reason.
    """
    by_flake = feeds(timeline.flakes, snapshot_at, feed_rule, is_known=is_known)
    by_code = by_flake.reindex(timeline.commits.flakes["flake_id"].astype("int64"))
    by_code["feed_status"] = by_code["feed_status"].fillna(NOT_RECORDED)
    feed = rows_at(by_code.reset_index(drop=True), systems["flake"])
    branch = rows_at(timeline.branch_positions, systems["current"])
    is_believed = systems["is_counted"] & (branch["observed_at"] < snapshot_at) & is_known
    seen = judge_liveness(timeline.states, systems, snapshot_at, is_known=is_known)
    is_behind = (systems["status"] == "behind") & is_known
    behind = systems.assign(**seen)[is_behind]
    return pd.DataFrame(
        {
            "feed_status": feed["feed_status"],
            "feed_checked_at": feed["feed_checked_at"],
            "last_seen_at": seen["last_seen_at"],
            "liveness": seen["liveness"],
            "commits_behind_branch": branch["commits"].where(is_believed),
            "behind_reason": behind_reasons(timeline, behind).reindex(systems.index),
        }
    )
