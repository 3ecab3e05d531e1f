"""The deployments: each time a host starts to run another path."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.encoding import (
    NOTHING,
    Integers,
    instant_microseconds,
    instants,
    take_text,
    translate,
    whole_numbers,
)
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import DEPLOYMENT_KINDS

INITIAL, UPGRADE, ROLLBACK, REBUILD, FLAKE_CHANGE, UNTRACED = range(len(DEPLOYMENT_KINDS))

MICROSECONDS_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class DeploymentEvents:
    """All deployments as codes and positions: one element an event, by (host, time).

    Events are the runs of `HostStates`, in its order.

    Attributes:
        kind: index into `DEPLOYMENT_KINDS`.
        commit: position of the deployed commit, `NOTHING` for untraced.
        previous_commit: position of the commit of the host's last earlier event that had one.
    """

    kind: Integers
    commit: Integers
    previous_commit: Integers


def trace_deployments(timeline: FleetTimeline) -> DeploymentEvents:
    """Finds the commit and the kind of every deployment.

    A commit is resolved as of its own event, not as of a later instant: so a published day does not
    change because a commit with the same output was made afterwards.
    """
    states, commits = timeline.states, timeline.commits
    commit = timeline.paths.resolve(
        states.run_path,
        timeline.hosts.registered_flake[states.run_host],
        states.run_started_at,
    )
    previous = translate(_last_traced_before(states.run_host, commit), commit)
    flake = translate(commit, commits.flake)
    previous_flake = translate(previous, commits.flake)
    kind = np.select(
        [
            commit == NOTHING,
            previous == NOTHING,
            flake != previous_flake,
            commit == previous,
            commit > previous,
        ],
        [UNTRACED, INITIAL, FLAKE_CHANGE, REBUILD, UPGRADE],
        default=ROLLBACK,
    )
    return DeploymentEvents(kind, commit, previous)


def deployments(timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """Every deployment made before `snapshot_at`.

    Returns:
        One row each time that a host started to run another path, by deployed_at, hostname,
        system_state_id. Columns as in `assets.schemas.DEPLOYMENTS`.
    """
    states, commits = timeline.states, timeline.commits
    events = trace_deployments(timeline)
    visible = np.flatnonzero(states.run_started_at < instant_microseconds(snapshot_at))
    # Host codes are in hostname order.
    order = visible[
        np.lexsort(
            (
                states.run_state_id[visible],
                states.run_host[visible],
                states.run_started_at[visible],
            )
        )
    ]
    kind, commit, previous = (
        events.kind[order],
        events.commit[order],
        events.previous_commit[order],
    )
    deployed_at = states.run_started_at[order]
    committed_at = translate(commit, commits.timestamps)
    flake = translate(commit, commits.flake)
    has_commit = commit != NOTHING
    lead_time = (deployed_at - committed_at) / MICROSECONDS_PER_SECOND
    return pd.DataFrame(
        {
            "deployed_at": instants(deployed_at),
            "hostname": take_text(timeline.hosts.names, states.run_host[order]),
            "system_state_id": states.run_state_id[order],
            "deployment_kind": take_text(pa.array(DEPLOYMENT_KINDS), kind),
            "derivation_path": take_text(states.paths, states.run_path[order]),
            "flake_id": whole_numbers(translate(flake, commits.flake_ids), has_commit),
            "flake_name": take_text(commits.flake_names, flake),
            "commit_id": whole_numbers(translate(commit, commits.commit_ids), has_commit),
            "commit_hash": take_text(commits.hashes, commit),
            "commit_timestamp": instants(committed_at, has_commit),
            "previous_commit_id": whole_numbers(
                translate(previous, commits.commit_ids), previous != NOTHING
            ),
            "previous_commit_hash": take_text(commits.hashes, previous),
            "lead_time_seconds": np.where(has_commit, lead_time, np.nan),
            "commits_included": whole_numbers(commit - previous, kind == UPGRADE),
        }
    )


def _last_traced_before(host: Integers, commit: Integers) -> Integers:
    """By event, the host's last earlier event that had a commit, `NOTHING` if there is none."""
    events = np.arange(len(host))
    last_traced = np.maximum.accumulate(np.where(commit == NOTHING, NOTHING, events))
    before = np.concatenate([[NOTHING], last_traced])[: len(host)]
    same_host = translate(before, host) == host
    return np.where(same_host, before, NOTHING)
