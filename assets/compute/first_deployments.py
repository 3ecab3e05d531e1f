"""When each commit reached its first host, and when it had been built."""

from dataclasses import dataclass

import numpy as np

from assets.compute.commit_order import CommitOrder
from assets.compute.deployments import DeploymentEvents
from assets.compute.encoding import NOTHING, Integers, integers, microseconds
from assets.compute.fleet import FleetTables
from assets.compute.ranges import expand
from assets.compute.timeline import FleetTimeline

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class FirstDeployments:
    """Each commit's first host: one element a commit, by position.

    Attributes:
        event: the first deployment of the commit or of a later one of its flake, in the order of
            `deployments`; `NOTHING` where there is none.
        counted_at: the instant at which the commit counts as having reached a host, microseconds;
            `NEVER` where it has not. That of the event, save for a commit dated after it: this
            counts once it is made or is itself deployed, as it could not be known before.
    """

    event: Integers
    counted_at: Integers


def first_deployments(timeline: FleetTimeline, events: DeploymentEvents) -> FirstDeployments:
    """Finds each commit's first deployment among all events of its flake."""
    states, commits = timeline.states, timeline.commits
    traced = np.flatnonzero(events.commit != NOTHING)
    # Host codes are in hostname order; a host's events are in order already.
    order = np.lexsort(
        (traced, states.run_started_at[traced], commits.flake[events.commit[traced]])
    )
    traced = traced[order]
    position = events.commit[traced]
    # Positions ascend from flake to flake, so that the maximum starts anew with each.
    before_flake = commits.starts[commits.flake[position]] - 1
    reached = np.concatenate([[NOTHING], np.maximum.accumulate(position)])[: len(position)]
    reached = np.maximum(reached, before_flake)
    advance, passed = expand(reached + 1, np.maximum(position - reached, 0))

    event = np.full(len(commits.commit_ids), NOTHING, np.int64)
    event[passed] = traced[advance]
    own_deployment = np.full(len(commits.commit_ids), NEVER, np.int64)
    np.minimum.at(own_deployment, position, states.run_started_at[traced])
    known_at = np.minimum(own_deployment, commits.timestamps)
    counted_at = np.full(len(commits.commit_ids), NEVER, np.int64)
    counted_at[passed] = np.maximum(states.run_started_at[event[passed]], known_at[passed])
    return FirstDeployments(event, counted_at)


def build_times(tables: FleetTables, commits: CommitOrder) -> Integers:
    """When each commit was first built successfully, for whichever host.

    Returns:
        By position, the earliest `completed_at` of the commit's successfully built `nixos`
        derivations in microseconds; `NEVER` where none is recorded.
    """
    built_at = np.full(len(commits.commit_ids), NEVER, np.int64)
    if tables.derivation_statuses is None:
        return built_at
    is_success = tables.derivation_statuses["is_success"].astype("boolean").fillna(value=False)
    successes = tables.derivation_statuses.loc[is_success, "id"]
    derivations = tables.derivations
    built = derivations[
        (derivations["derivation_type"] == "nixos")
        & derivations["status_id"].isin(successes)
        & derivations["completed_at"].notna()
    ]
    position = commits.positions(integers(built["commit_id"]))
    has_commit = position != NOTHING
    completed_at = microseconds(built["completed_at"])
    np.minimum.at(built_at, position[has_commit], completed_at[has_commit])
    return built_at
