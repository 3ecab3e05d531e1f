"""When each commit reached its first host, and when it had been built."""

from typing import Any

import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import NOTHING
from assets.compute.fleet import FleetTables


def first_deployments(commits: CommitOrder, events: pd.DataFrame) -> pd.DataFrame:
    """Finds the first deployment of each commit, or of a later one of its flake.

    Args:
        commits: of every flake.
        events: as `before` gives them.

    Returns:
        One row a commit, by position. flake: code; commit_timestamp; deployed_at, kind and
        is_flapping: of that event, null where there is none; counted_at: the instant at which the
        commit counts as having reached a host, which is that of the event, save for a commit dated
        after it: this counts once it is made or is itself deployed, as it could not be known
        before.
    """
    events = events[events["commit"] != NOTHING]
    # They lie by host, in hostname order.
    events = events.sort_values("deployed_at", kind="stable")
    furthest = events.groupby("flake")["commit"].cummax()
    before = furthest.groupby(events["flake"]).shift()
    advances = events[(events["commit"] > before) | before.isna()].sort_values("commit")
    first = pd.merge_asof(
        commits.rows[["flake", "commit_timestamp"]].rename_axis("commit").reset_index(),
        advances[["flake", "commit", "deployed_at", "kind", "is_flapping"]],
        on="commit",
        by="flake",
        direction="forward",
    )
    made_at, deployed_at = first["commit_timestamp"], first["deployed_at"]
    own = events.groupby("commit")["deployed_at"].min().reindex(first["commit"]).array
    known_at = made_at.where(~(own < made_at), own)
    return first.assign(counted_at=deployed_at.where(~(deployed_at < known_at), known_at))


def build_times(tables: FleetTables, commits: CommitOrder) -> "pd.Series[Any]":
    """When each commit was first built, for whichever host.

    Returns:
        By position, the earliest `completed_at` of the commit's built `nixos` derivations; commits
        without one are left out or null.
    """
    built = tables.derivations[["commit_id", "status_id", "completed_at"]]
    is_nixos = tables.derivations["derivation_type"] == "nixos"
    is_built = built["status_id"].isin(tables.built_status_ids)
    built = built[is_nixos & is_built]
    position = commits.positions(built["commit_id"])
    built = built.assign(position=position)[position != NOTHING]
    first: pd.Series[Any] = built.groupby("position")["completed_at"].min()
    return first
