"""When each host had been seen lately: what its reports and heartbeats can show, and no more.

Belongs here: the spans of time in which there was a recent sign of life. Does not belong here: what
the host ran meanwhile (`running_commits`).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assets.compute.day_windows import DayWindows
from assets.compute.encoding import MICROSECONDS_PER_HOUR, NEVER, instant_microseconds, microseconds
from assets.compute.host_states import HostStates

SEEN_WITHIN_HOURS = 4
KNOWN_FOR = pd.Timedelta(1, "h")
"""How long after T the heartbeats as of T can still be read: they are overwritten by later ones."""


def seen_spans(
    states: HostStates, snapshots_at: Sequence[pd.Timestamp], extracted_at: pd.Timestamp
) -> dict[pd.Timestamp, pd.DataFrame]:
    """When each host had been seen less than `SEEN_WITHIN_HOURS` before, on each day.

    Each report is a sign of life. So is every instant from the host's last report as of T to the
    newest heartbeat of it before T: the agent reports whenever it starts, so one that sends a
    heartbeat for a report has run ever since.

    Args:
        states: of every host.
        snapshots_at: T of each day, ascending; one a day.
        extracted_at: when the tables were read.

    Returns:
        By T, of the days of which it can be known. One row a span, none of which touches another of
        its host: host (code); start, end: microseconds, within the day and before T.
    """
    if states.heartbeats is None:
        return {}
    known = [at for at in snapshots_at if extracted_at - at <= KNOWN_FOR]
    return {at: _spans_before(states, at) for at in known}


def _spans_before(states: HostStates, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    lasting, ends = SEEN_WITHIN_HOURS * MICROSECONDS_PER_HOUR, instant_microseconds(snapshot_at)
    [day_starts] = DayWindows.up_to([snapshot_at]).starts
    reported_at = microseconds(states.reports["timestamp"])
    counts = (reported_at > day_starts - lasting) & (reported_at < ends)
    reported = pd.DataFrame({"host": states.reports["host"], "start": reported_at})[counts]
    last = states.last_before(snapshot_at)
    newest = states.last_heartbeats(snapshot_at).reindex(last["report"])
    heard = pd.DataFrame(
        {
            "host": last.index,
            "start": microseconds(last["timestamp"]),
            "until": microseconds(newest, missing=-NEVER),
        }
    )
    # A clock that runs slow can date a heartbeat before the report that it belongs to.
    heard = heard[heard["until"] > heard["start"]]
    signs = pd.concat([reported.assign(until=reported["start"]), heard])
    spans = pd.DataFrame(
        {
            "host": signs["host"],
            "start": np.maximum(signs["start"], day_starts),
            "end": np.minimum(signs["until"] + lasting, ends),
        }
    )
    return _united(spans[spans["start"] < spans["end"]])


def _united(spans: pd.DataFrame) -> pd.DataFrame:
    """Spans that overlap or touch become one."""
    spans = spans.sort_values(["host", "start"])
    reached = spans.groupby("host")["end"].cummax().groupby(spans["host"])
    is_apart = spans["start"] > reached.shift(fill_value=-NEVER)
    return (
        spans.groupby(is_apart.cumsum())
        .agg(host=("host", "first"), start=("start", "min"), end=("end", "max"))
        .reset_index(drop=True)
    )
