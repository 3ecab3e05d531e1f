"""When each commit reached its first host, and when it had been built."""

from typing import Any

import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import NOTHING
from assets.compute.fleet import FleetTables
from assets.compute.timeline import FleetTimeline


def first_deployments(timeline: FleetTimeline) -> pd.DataFrame:
    """Finds the first deployment of each commit, or of a later one of its flake.

    Returns:
        One row a commit, by position. flake: code; commit_timestamp; deployed_at and kind: of that
        event, null where there is none; counted_at: the instant at which the commit counts as
        having reached a host, which is that of the event, save for a commit dated after it: this
        counts once it is made or is itself deployed, as it could not be known before.
    """
    events = timeline.events[timeline.events["commit"] != NOTHING]
    # They lie by host, in hostname order.
    events = events.sort_values("deployed_at", kind="stable")
    furthest = events.groupby("flake")["commit"].cummax()
    before = furthest.groupby(events["flake"]).shift()
    advances = events[(events["commit"] > before) | before.isna()].sort_values("commit")
    first = pd.merge_asof(
        timeline.commits.rows[["flake", "commit_timestamp"]].rename_axis("commit").reset_index(),
        advances[["flake", "commit", "deployed_at", "kind"]],
        on="commit",
        by="flake",
        direction="forward",
    )
    made_at, deployed_at = first["commit_timestamp"], first["deployed_at"]
    own = events.groupby("commit")["deployed_at"].min().reindex(first["commit"]).array
    known_at = made_at.where(~(own < made_at), own)
    return first.assign(counted_at=deployed_at.where(~(deployed_at < known_at), known_at))


def build_times(tables: FleetTables, commits: CommitOrder) -> "pd.Series[Any]":
    """When each commit was first built successfully, for whichever host.

    Returns:
        By position, the earliest `completed_at` of the commit's successfully built `nixos`
        derivations; commits without one are left out.
    """
    built = tables.derivations[["commit_id", "status_id", "completed_at"]]
    successes: Any = []
    if tables.derivation_statuses is not None:
        statuses = tables.derivation_statuses
        successes = statuses.loc[statuses["is_success"].fillna(value=False), "id"]
    is_nixos = tables.derivations["derivation_type"] == "nixos"
    built = built[is_nixos & built["status_id"].isin(successes) & built["completed_at"].notna()]
    position = commits.positions(built["commit_id"])
    built = built.assign(position=position)[position != NOTHING]
    first: pd.Series[Any] = built.groupby("position")["completed_at"].min()
    return first
