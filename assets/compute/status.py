"""Where each system stands at one instant, relative to the latest commit of its flake."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.encoding import (
    NOTHING,
    Booleans,
    Integers,
    instant_microseconds,
    instants,
    take_text,
    translate,
    whole_numbers,
)
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import DEPLOYMENT_STATUSES, UNKNOWN_REASONS

NO_DEPLOYMENT, UNKNOWN, BEHIND, UP_TO_DATE, AHEAD = range(len(DEPLOYMENT_STATUSES))

_DESCRIPTIONS = {
    "no_deployment": "System registered but never deployed",
    "path_not_in_derivations": "Deployed path is not in derivations",
    "derivation_without_commit": "Deployed derivation is not linked to a commit",
    "flake_mismatch": "Deployed commit belongs to another flake than the system is registered to",
    "flake_has_no_commits": "Associated flake has no commit yet",
    "up_to_date": "Running latest commit",
    "ahead": "Running newer commit than expected",
}

MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Standing:
    """Where hosts stand, as codes and positions: one element a host.

    Attributes:
        status: index into `DEPLOYMENT_STATUSES`.
        reason: index into `UNKNOWN_REASONS`, `NOTHING` unless unknown.
        flake: code of the associated flake, `NOTHING` where there is none.
        current: position of the current commit, `NOTHING` where there is none.
        latest: position of the associated flake's last visible commit, `NOTHING` if none.
    """

    status: Integers
    reason: Integers
    flake: Integers
    current: Integers
    latest: Integers

    @property
    def is_counted(self) -> Booleans:
        """Whether the commits behind are known: the status is behind, up_to_date or ahead."""
        return self.status >= BEHIND

    @property
    def commits_behind(self) -> Integers:
        """Visible commits after the current one; meaningful where `is_counted`."""
        return np.where(self.status == BEHIND, self.latest - self.current, 0)


def judge(
    timeline: FleetTimeline, paths: Integers, registered_flake: Integers, instant: int
) -> Standing:
    """Judges hosts that run the given paths at the instant; `contract.md` has the rules.

    Args:
        timeline: the fleet.
        paths: path codes, `NOTHING` for a host without a visible state.
        registered_flake: codes of the flakes that the hosts are registered to, or `NOTHING`.
        instant: microseconds since 1970.
    """
    commits = timeline.commits
    as_of = np.full(len(paths), instant)
    current = timeline.paths.resolve(paths, registered_flake, as_of)
    current_flake = translate(current, commits.flake)
    flake = np.where(registered_flake == NOTHING, current_flake, registered_flake)
    latest = translate(flake, commits.latest_positions(instant))

    has_state = paths != NOTHING
    is_in_derivations = has_state & (translate(paths, timeline.paths.is_in_derivations) == 1)
    reason = np.select(
        [
            ~has_state,
            ~is_in_derivations,
            current == NOTHING,
            current_flake != flake,
            latest == NOTHING,
        ],
        [NOTHING, 0, 1, 2, 3],
        default=NOTHING,
    )
    status = np.select(
        [~has_state, reason != NOTHING, current == latest, current < latest],
        [NO_DEPLOYMENT, UNKNOWN, UP_TO_DATE, BEHIND],
        default=AHEAD,
    )
    return Standing(status, reason, flake, current, latest)


def system_deployment_status(
    timeline: FleetTimeline, snapshot_at: pd.Timestamp, extracted_at: pd.Timestamp
) -> pd.DataFrame:
    """The deployment status of every system at `snapshot_at`.

    Args:
        timeline: the fleet.
        snapshot_at: T; only what lies before it is visible.
        extracted_at: when the tables were read.

    Returns:
        One row a hostname, in triage order: no_deployment, unknown, behind, up_to_date, ahead; then
        `commits_behind` descending, then `hostname`. Columns as in
        `assets.schemas.SYSTEM_DEPLOYMENT_STATUS`.
    """
    instant = instant_microseconds(snapshot_at)
    last_states = timeline.states.last_states(instant)
    hosts = _hosts_with_a_row(timeline, last_states, instant)
    standing = _standing_of(timeline, hosts, last_states[hosts], instant)
    # Host codes are in hostname order.
    order = np.lexsort((hosts, -standing.commits_behind, standing.status))
    hosts = hosts[order]
    states = last_states[hosts]
    return _describe(
        timeline, hosts, states, _standing_of(timeline, hosts, states, instant), instant
    ).assign(
        snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
        snapshot_at=snapshot_at.as_unit("us"),
        extracted_at=extracted_at.as_unit("us"),
    )


def _hosts_with_a_row(timeline: FleetTimeline, last_states: Integers, instant: int) -> Integers:
    hosts = timeline.hosts
    has_row = hosts.registered_before(instant) | (last_states != NOTHING)
    return np.flatnonzero(has_row & ~hosts.is_deactivated)


def _standing_of(
    timeline: FleetTimeline, hosts: Integers, states: Integers, instant: int
) -> Standing:
    is_registered = timeline.hosts.registered_before(instant)[hosts]
    return judge(
        timeline,
        paths=translate(timeline.states.runs(states), timeline.states.run_path),
        registered_flake=np.where(is_registered, timeline.hosts.registered_flake[hosts], NOTHING),
        instant=instant,
    )


def _describe(
    timeline: FleetTimeline,
    hosts: Integers,
    states: Integers,
    standing: Standing,
    instant: int,
) -> pd.DataFrame:
    commits = timeline.commits
    is_registered = timeline.hosts.registered_before(instant)[hosts]
    has_state = states != NOTHING
    runs = timeline.states.runs(states)
    paths = translate(runs, timeline.states.run_path)
    current, latest = standing.current, standing.latest
    is_behind = standing.status == BEHIND
    next_commit = np.where(is_behind, current + 1, NOTHING)
    behind_since = translate(next_commit, commits.timestamps)

    configuration = np.where(
        is_registered,
        timeline.hosts.configuration[hosts],
        timeline.hosts.default_configuration[hosts],
    )
    effective, is_effective_known = timeline.builds.changes_between(
        configuration, current, np.maximum(current, latest)
    )
    deployable = timeline.builds.deployable_between(configuration, current, latest)
    flake_start = translate(standing.flake, commits.starts)
    reasons = take_text(pa.array(UNKNOWN_REASONS), standing.reason)
    statuses = take_text(pa.array(DEPLOYMENT_STATUSES), standing.status)
    return pd.DataFrame(
        {
            "hostname": take_text(timeline.hosts.names, hosts),
            "deployment_status": statuses,
            "status_description": _describe_status(statuses, reasons, standing),
            "unknown_reason": reasons,
            "commits_behind": whole_numbers(standing.commits_behind, standing.is_counted),
            "commits_behind_effective": whole_numbers(
                effective, standing.is_counted & is_effective_known
            ),
            "commits_behind_deployable": whole_numbers(
                deployable, standing.is_counted & timeline.builds.records_success
            ),
            "hours_behind": np.where(
                is_behind, (instant - behind_since) / MICROSECONDS_PER_HOUR, np.nan
            ),
            "behind_since": instants(behind_since, is_behind),
            "flake_id": whole_numbers(
                translate(standing.flake, commits.flake_ids), standing.flake != NOTHING
            ),
            "flake_name": take_text(commits.flake_names, standing.flake),
            "current_flake_name": take_text(commits.flake_names, translate(current, commits.flake)),
            "current_commit_hash": take_text(commits.hashes, current),
            "current_commit_timestamp": instants(
                translate(current, commits.timestamps), current != NOTHING
            ),
            "latest_commit_hash": take_text(commits.hashes, latest),
            "latest_commit_timestamp": instants(
                translate(latest, commits.timestamps), latest != NOTHING
            ),
            "latest_deployable_commit_hash": take_text(
                commits.hashes,
                timeline.builds.latest_deployable(configuration, flake_start, latest),
            ),
            "matching_commit_count": whole_numbers(
                translate(paths, timeline.paths.commit_counts), has_state
            ),
            "current_derivation_path": take_text(timeline.states.paths, paths),
            "deployment_time": instants(translate(runs, timeline.states.run_started_at), has_state),
            "last_reported_at": instants(translate(states, timeline.states.timestamps), has_state),
            "is_registered": is_registered,
            "environment": take_text(
                timeline.hosts.environments, np.where(is_registered, hosts, NOTHING)
            ),
        }
    )


def _describe_status(
    statuses: "pd.Series[str]", reasons: "pd.Series[str]", standing: Standing
) -> "pd.Series[str]":
    fixed = reasons.fillna(statuses).map(_DESCRIPTIONS)
    behind = "Behind by " + pd.Series(standing.commits_behind).astype("str") + " commit(s)"
    return fixed.where(standing.status != BEHIND, behind)
