"""Each time a host starts to run another path, with the commit that this brought and its kind."""

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import NOTHING, category, microseconds, translate
from assets.compute.host_states import HostStates
from assets.compute.path_matches import PathMatches
from assets.compute.vocabulary import DEPLOYMENT_KINDS


def trace_events(
    commits: CommitOrder, states: HostStates, paths: PathMatches, hosts: pd.DataFrame
) -> pd.DataFrame:
    """Finds the commit and the kind of every deployment.

    A commit is resolved as of its own event, not as of a later instant: so a published day does not
    change because a commit with the same output was made afterwards.

    Returns:
        The runs of `states`, which are by (host, time), with commit: position of the deployed
        commit, `NOTHING` for untraced; flake: its flake's code; previous_commit: position of the
        commit of the host's last earlier event that had one, or `NOTHING`; kind: a category.
    """
    registered_flake = hosts["registered_flake"].to_numpy()[states.runs["host"]]
    deployed_at = microseconds(states.runs["deployed_at"])
    commit = paths.resolve(states.runs["path"].to_numpy(), registered_flake, deployed_at)
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


_KINDS_AS_TRIED = ("untraced", "initial", "flake_change", "rebuild", "upgrade")
