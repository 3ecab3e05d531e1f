"""Each time a host starts to run another path, with the commit that this brought and its kind."""

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import NOTHING, category, microseconds, translate
from assets.compute.host_states import HostStates
from assets.compute.path_matches import PathMatches
from assets.compute.vocabulary import DEPLOYMENT_KINDS

FLAPPING_EVENTS = 10
"""Events of a host in a day from which on they say nothing about how fast commits arrive."""


def trace_events(
    commits: CommitOrder, states: HostStates, paths: PathMatches, hosts: pd.DataFrame
) -> pd.DataFrame:
    """Finds the commit and the kind of every deployment.

    A commit is resolved as of its own event, not as of a later instant, and with the registration
    that the host had by then: so a published day does not change because a commit with the same
    output is made, or the host is registered, afterwards.

    Returns:
        The runs of `states`, which are by (host, time), with commit: position of the deployed
        commit, `NOTHING` for untraced; flake: its flake's code; previous_commit: position of the
        commit of the host's last earlier event that had one, or `NOTHING`; kind: a category.
    """
    runs = states.runs.join(hosts[["registered_flake", "registered_at"]], on="host")
    is_later = runs["registered_at"] > runs["deployed_at"]
    registered_flake = runs["registered_flake"].mask(is_later, NOTHING).to_numpy()
    deployed_at = microseconds(runs["deployed_at"])
    commit = paths.resolve(runs["path"].to_numpy(), registered_flake, deployed_at)
    flake = translate(commit, commits.flake)
    host = states.runs["host"]
    traced = pd.Series(commit).where(commit != NOTHING)
    so_far = traced.groupby(host).ffill()
    previous = so_far.groupby(host).shift().fillna(NOTHING).to_numpy(np.int64)
    kind = np.select(
        [
            commit == NOTHING,
            previous == NOTHING,
            flake != translate(previous, commits.flake),
            commit == previous,
            commit > previous,
        ],
        [DEPLOYMENT_KINDS.index(k) for k in _KINDS_AS_TRIED],
        default=DEPLOYMENT_KINDS.index("rollback"),
    )
    return states.runs.assign(
        commit=commit,
        flake=flake,
        previous_commit=previous,
        kind=category(kind, DEPLOYMENT_KINDS),
    )


def before(events: pd.DataFrame, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """The events before T, with what they are as of then.

    Args:
        events: as `trace_events` gives them.
        snapshot_at: T.

    Returns:
        The events, with is_flapping: whether the host has ten or more on that day (UTC), as when
        two machines report under one name.
    """
    visible = events[events["deployed_at"] < snapshot_at]
    on_that_day = visible.groupby(["host", visible["deployed_at"].dt.floor("D")])["host"]
    return visible.assign(is_flapping=on_that_day.transform("size") >= FLAPPING_EVENTS)


def commits_included(
    commits: CommitOrder, events: pd.DataFrame, day_ends_at: "pd.Series[pd.Timestamp]"
) -> "pd.Series[int]":
    """How many commits each upgrade brought: those after the previous one, up to its own.

    Of the commits dated T of the upgrade's day or later only its own counts, so that a commit made
    later never changes a closed day.

    Args:
        commits: of every flake.
        events: as `trace_events` gives them, or some of them.
        day_ends_at: by event, T.

    Returns:
        By event (Int64), null unless it is an upgrade.
    """
    commit, previous = events["commit"].to_numpy(), events["previous_commit"].to_numpy()
    last_known = commits.last_before(events["flake"].to_numpy(), microseconds(day_ends_at))
    known = np.clip(last_known, previous, np.maximum(previous, commit))
    included = pd.Series(known - previous + (known < commit), events.index, dtype="Int64")
    return included.where(events["kind"] == "upgrade")


_KINDS_AS_TRIED = ("untraced", "initial", "flake_change", "rebuild", "upgrade")
