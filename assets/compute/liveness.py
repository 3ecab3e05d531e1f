"""When each host was last seen, and how alive that makes it.

A host that changes nothing sends heartbeats only, so its last report can be old; and a clock of its
own that runs fast makes no sight later than T.
"""

import numpy as np
import pandas as pd

from assets.compute.encoding import NOTHING, category, rows_at
from assets.compute.host_states import HostStates
from assets.compute.vocabulary import LIVENESS, NOT_RECORDED

# Up to how long after it was last seen a host is so.
_LIMITS = {
    "alive": pd.Timedelta(15, "min"),
    "late": pd.Timedelta(1, "h"),
    "missing": pd.Timedelta(4, "h"),
}


def judge_liveness(
    states: HostStates, systems: pd.DataFrame, snapshot_at: pd.Timestamp, *, is_known: bool
) -> pd.DataFrame:
    """When each system was last seen, and how alive that makes it.

    Args:
        states: what every host reported.
        systems: one row a system; numbered from 0. report: row label of its last before T, or
            `NOTHING`; timestamp: when that was, null for none.
        snapshot_at: T.
        is_known: whether what was read can be said of T.

    Returns:
        By the same row labels: last_seen_at and liveness; both null for a system that never
        reported.
    """
    reported_at = systems["timestamp"]
    heartbeat_at = rows_at(states.last_heartbeats(snapshot_at).to_frame("at"), systems["report"])[
        "at"
    ]
    seen_at = reported_at.where(~(heartbeat_at > reported_at), heartbeat_at)
    unseen_for = snapshot_at - seen_at
    codes = np.select(
        [unseen_for <= limit for limit in _LIMITS.values()],
        range(len(_LIMITS)),
        default=LIVENESS.index("silent"),
    )
    if not is_known or states.heartbeats is None:
        codes = np.full(len(systems), LIVENESS.index(NOT_RECORDED))
    codes = np.where(reported_at.isna(), NOTHING, codes)
    return pd.DataFrame(
        {
            "last_seen_at": seen_at.where(np.full(len(systems), is_known)),
            "liveness": pd.Series(category(codes, LIVENESS), systems.index).astype("str"),
        }
    )
