"""How far the latest commit of a flake can be believed: when its repository was last read, and how.

Belongs here: what the server says of its own reading, as of when the tables were read. Does not
belong here: what can only be inferred from the commits themselves (`flake_freshness`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.compute.encoding import category
from assets.compute.vocabulary import FEED_STATUSES, NOT_RECORDED

STALE_HOURS = 2.0
LONGEST_ERROR = 300
"""In characters."""


@dataclass(frozen=True)
class FeedRule:
    """When a feed is stale.

    Attributes:
        stale_hours: how long before T its last attempt began, at least.
    """

    stale_hours: float = STALE_HOURS


USUAL_FEED_RULE = FeedRule()


def feeds(
    flakes: pd.DataFrame, snapshot_at: pd.Timestamp, rule: FeedRule, *, is_known: bool
) -> pd.DataFrame:
    """Judges how each flake is fed.

    What would make a feed current has to be recorded: a recent attempt that is not said to have
    gone well makes none.

    Args:
        flakes: the source table.
        snapshot_at: T.
        rule: when a feed is stale.
        is_known: whether what stands in the table can be said of T (`evidence.is_known_at`).

    Returns:
        By flake id: feed_status, feed_checked_at, feed_error.
    """
    status, began = flakes["sync_status"].astype("str"), flakes["last_sync_at"]
    error = flakes["last_sync_error"]
    is_old = began <= snapshot_at - pd.Timedelta(hours=rule.stale_hours)
    told = [status == "error", is_old, status.isin(["synced", "syncing"]) & began.notna()]
    codes = np.select(told, range(len(told)), default=len(told))
    judged = pd.DataFrame(
        {
            "feed_status": pd.Series(category(codes, FEED_STATUSES), flakes.index).astype("str"),
            "feed_checked_at": began,
            "feed_error": error.where(error.str.strip() != "").str.slice(0, LONGEST_ERROR),
        }
    )
    if not is_known:
        judged = judged.assign(feed_status=NOT_RECORDED, feed_checked_at=None, feed_error=None)
        judged = judged.astype({"feed_checked_at": began.dtype, "feed_error": "str"})
    return judged.set_axis(pd.Index(flakes["id"].astype("int64")))
