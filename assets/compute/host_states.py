"""What each host reported, in order, and when it began to run another path."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.encoding import (
    NOTHING,
    Integers,
    ends_before,
    find_text,
    integers,
    microseconds,
    text_codes,
    translate,
)
from assets.compute.segments import Segments


@dataclass(frozen=True)
class HostStates:
    """All states, sorted by (host, timestamp, id), and the runs of one path that they form.

    A host's *code* is its index in the sorted list of hostnames that it was made with, a path's its
    index in `paths`. A *run* is an unbroken sequence of a host's states with the same path; its
    first state is a deployment.

    Attributes:
        paths: the distinct deployed paths.
        host: by state, the host's code.
        timestamps: by state, microseconds.
        run_host: by run, the host's code.
        run_path: by run, the path's code.
        run_started_at: by run, microseconds.
        run_state_id: by run, the id of its first state.
    """

    paths: pa.Array
    host: Integers
    timestamps: Integers
    run_host: Integers
    run_path: Integers
    run_started_at: Integers
    run_state_id: Integers
    _run: Integers
    _by_host: Segments

    def last_states(self, instant: int) -> Integers:
        """By host code, the host's last state before the instant; `NOTHING` if there is none."""
        starts, ends = self._by_host.starts[:-1], self._by_host.ends[:-1]
        visible_ends = ends_before(self.timestamps, starts, ends, np.full(len(starts), instant))
        return np.where(visible_ends > starts, visible_ends - 1, NOTHING)

    def runs(self, states: Integers) -> Integers:
        """The run that each state belongs to; `NOTHING` for `NOTHING`."""
        return translate(states, self._run)


def order_states(states: pd.DataFrame, hostnames: pa.Array) -> HostStates:
    """Sorts the states; `hostnames` must hold every hostname that occurs."""
    reported_hosts, reported_names = text_codes(states["hostname"])
    path, paths = text_codes(states["deployed_path"])
    host = translate(reported_hosts, find_text(reported_names, among=hostnames))
    timestamps = microseconds(states["timestamp"])
    ids = integers(states["id"])
    order = np.lexsort((ids, timestamps, host))
    host, path, timestamps, ids = host[order], path[order], timestamps[order], ids[order]

    starts_run = (np.diff(host, prepend=NOTHING) != 0) | (np.diff(path, prepend=NOTHING) != 0)
    first = np.flatnonzero(starts_run)
    return HostStates(
        paths=paths,
        host=host,
        timestamps=timestamps,
        run_host=host[first],
        run_path=path[first],
        run_started_at=timestamps[first],
        run_state_id=ids[first],
        _run=np.cumsum(starts_run) - 1,
        _by_host=Segments.of(host, len(hostnames)),
    )
