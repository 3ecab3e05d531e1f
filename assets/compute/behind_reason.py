"""Who has to act so that a system that is behind gets what it lacks.

Belongs here: the reasons, in the order in which they are tried. Does not belong here: whether a
system is behind (`status`), and what was built for it (`host_builds`).
"""

import numpy as np
import pandas as pd

from assets.compute.encoding import (
    NOTHING,
    Booleans,
    Integers,
    category,
    microseconds,
    translate,
)
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import BEHIND_REASONS, DEPLOYMENT_POLICIES

_CODES = {reason: code for code, reason in enumerate(BEHIND_REASONS)}
_BY_EVALUATION = {
    "failed": "evaluation_failed",
    "pending": "not_evaluated",
    "in_progress": "not_evaluated",
    "complete": "not_in_flake",
}


def behind_reasons(timeline: FleetTimeline, behind: pd.DataFrame) -> "pd.Series[str]":
    """Why each system that is behind is not up to date, as of when the tables were read.

    Args:
        timeline: the fleet.
        behind: one row a system. host, configuration, flake: codes; current, latest,
            latest_built: positions; is_registered; effective: its `commits_behind_effective`;
            last_seen_at, liveness.

    Returns:
        By the same row labels, one of `vocabulary.BEHIND_REASONS`.
    """
    current, latest = (behind[name].to_numpy() for name in ("current", "latest"))
    newest = timeline.builds.newest(behind["configuration"].to_numpy(), latest)
    evaluated = newest["evaluated"].to_numpy()
    is_deployable = newest["deployable"].to_numpy() > current
    policy = timeline.hosts["deployment_policy"].to_numpy()[behind["host"]]
    policy = np.where(behind["is_registered"], policy, DEPLOYMENT_POLICIES.index("manual"))
    pinned, manual, automatic = (policy == code for code, _ in enumerate(DEPLOYMENT_POLICIES))
    told = [
        ((behind["effective"] == 0).to_numpy(bool, na_value=False), "nothing_to_deploy"),
        (behind["liveness"].to_numpy() == "silent", "silent"),
        ((evaluated > current) & (timeline.statuses is None), "not_known"),
        (is_deployable & pinned, "pinned"),
        (is_deployable & _is_told(timeline, behind), "not_applied"),
        (is_deployable & manual, "awaiting_release"),
        (is_deployable & automatic, "rolling_out"),
        (is_deployable, "not_known"),
        (behind["latest_built"].to_numpy() == latest, "not_cached"),
    ]
    by_status = _by_status(timeline.statuses, newest["status_id"])
    codes = np.select(
        [*(is_so for is_so, _ in told), evaluated == latest],
        [*(_CODES[reason] for _, reason in told), by_status],
        default=_by_evaluation(timeline, latest),
    )
    return pd.Series(category(codes, BEHIND_REASONS), behind.index).astype("str")


def _is_told(timeline: FleetTimeline, behind: pd.DataFrame) -> Booleans:
    """Whether the server wants a later commit, and the host was seen since it could be fetched."""
    paths = timeline.paths
    flake, current, latest = (behind[name].to_numpy() for name in ("flake", "current", "latest"))
    target = timeline.hosts["desired_target"].to_numpy()[behind["host"]]
    target = np.where(behind["is_registered"], target, NOTHING)
    available_at = translate(target, paths.rows["available_at"].to_numpy())
    is_told: Booleans = microseconds(behind["last_seen_at"]) > available_at
    rows = np.flatnonzero(is_told)
    wanted = paths.on_branch.last_of_flake(target[rows], flake[rows], latest[rows])
    is_told[rows] = wanted > current[rows]
    return is_told


def _by_status(statuses: pd.DataFrame | None, status_ids: "pd.Series[int]") -> Integers:
    """The reason that the status of a derivation gives which is not built, as a code."""
    not_known = _CODES["not_known"]
    if statuses is None:
        return np.full(len(status_ids), not_known)
    name, is_terminal = statuses["name"], statuses["is_terminal"]
    is_dry_run = name.str.startswith("dry-run-")
    told = [
        (name == "dry-run-failed", "evaluation_failed"),
        (name.isin(["pending", "queued"]), "not_evaluated"),
        (statuses["is_success"].fillna(value=False), "not_built"),
        (is_terminal.isna(), "not_known"),
        (is_terminal.fillna(value=False), "build_failed"),
        (is_dry_run, "not_evaluated"),
    ]
    codes: Integers = np.select(
        [is_so.to_numpy("bool") for is_so, _ in told],
        [_CODES[reason] for _, reason in told],
        default=_CODES["not_built"],
    )
    by_id = pd.Series(codes, statuses["id"])
    return np.asarray(status_ids.map(by_id).fillna(not_known), np.int64)


def _by_evaluation(timeline: FleetTimeline, commits: Integers) -> Integers:
    """The reason that a commit gives which has no derivation, as a code."""
    distinct, place = np.unique(commits, return_inverse=True)
    evaluation = timeline.commits.rows["evaluation_status"].iloc[distinct].astype("str")
    reason = evaluation.map(_BY_EVALUATION).fillna("not_known")
    return np.asarray(reason.map(_CODES), np.int64)[place]
