"""Where each system stands at one instant, relative to the latest commit of its flake."""

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    MICROSECONDS_PER_HOUR,
    NOTHING,
    Integers,
    category,
    find_text,
    in_microseconds,
    instant_microseconds,
    rows_at,
    text_array,
    text_chunks,
    translate,
)
from assets.compute.evidence import evidence, is_known_at
from assets.compute.feeds import USUAL_FEED_RULE, FeedRule
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import DEPLOYMENT_STATUSES, UNKNOWN_REASONS

_DESCRIPTIONS = {
    "registration_unusable": "Registration of the system can't be used",
    "no_deployment": "System registered but never deployed",
    "path_not_in_derivations": "Deployed path is not in derivations",
    "derivation_without_commit": "Deployed derivation is not linked to a commit",
    "flake_mismatch": "Deployed commit belongs to another flake than the system is registered to",
    "flake_unusable": "Associated flake's own row can't be used",
    "flake_deleted": "Associated flake has been deleted",
    "flake_has_no_commits": "Associated flake has no commit yet",
    "up_to_date": "Running latest commit",
    "ahead": "Running newer commit than expected",
}


def system_deployment_status(
    timeline: FleetTimeline,
    snapshot_at: pd.Timestamp,
    extracted_at: pd.Timestamp,
    feed_rule: FeedRule = USUAL_FEED_RULE,
) -> pd.DataFrame:
    """The deployment status of every system at `snapshot_at`.

    Args:
        timeline: the fleet.
        snapshot_at: T; only what lies before it is visible.
        extracted_at: when the tables were read.
        feed_rule: when the feed of a flake is stale.

    Returns:
        One row a hostname, in triage order: no_deployment, unknown, behind, up_to_date, ahead; then
        `commits_behind` descending, then `hostname`. Columns as in
        `assets.schemas.SYSTEM_DEPLOYMENT_STATUS`.
    """
    systems = _judge(timeline, _systems_with_a_row(timeline, snapshot_at), snapshot_at)
    # Host codes are in hostname order.
    in_order = systems.sort_values(
        ["status", "commits_behind", "host"], ascending=[True, False, True], ignore_index=True
    )
    in_order = in_order.assign(**_compare(timeline, in_order))
    is_known = is_known_at(snapshot_at, extracted_at)
    return _describe(timeline, in_order, snapshot_at).assign(
        **evidence(timeline, in_order, snapshot_at, feed_rule, is_known=is_known),
        snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
        snapshot_at=snapshot_at.as_unit("us"),
        extracted_at=extracted_at.as_unit("us"),
    )


def current_commits(commits: CommitOrder, status: pd.DataFrame) -> Integers:
    """Which commit of its associated flake each system of a snapshot runs.

    Args:
        commits: of every flake.
        status: `system_deployment_status`, one row a hostname.

    Returns:
        By row, the position of the current commit, `NOTHING` where it is none of that flake.
    """
    hashes = text_array(status["current_commit_hash"])
    distinct = hashes.unique().drop_null()
    # Of a million hashes only the few that are asked for are compared.
    known = find_text(text_chunks(commits.rows["commit_hash"]), among=distinct)
    candidates = pd.DataFrame({"flake": commits.flake, "hash": known})[known != NOTHING]
    # A fork can hold the same hashes: a commit of another flake is not this one's.
    is_own = status["unknown_reason"] != "flake_mismatch"
    flake = np.where(is_own, commits.flake_codes(status["flake_id"]), NOTHING)
    running = pd.DataFrame({"flake": flake, "hash": find_text(hashes, among=distinct)})
    found = running.merge(candidates.reset_index(names="position"), how="left")
    return found["position"].fillna(NOTHING).to_numpy(np.int64)


def systems_by_host(timeline: FleetTimeline, status: pd.DataFrame) -> pd.DataFrame:
    """The systems of a snapshot: one row a host, by its code.

    Returns:
        flake: code of the associated flake; commit: as in `current_commits`; both `NOTHING` for a
        host that is not in the snapshot.
    """
    systems = pd.DataFrame(
        {
            "host": pd.Index(timeline.hosts["hostname"]).get_indexer(status["hostname"]),
            "flake": timeline.commits.flake_codes(status["flake_id"]),
            "commit": current_commits(timeline.commits, status),
        }
    )
    # A day that was closed with more can have systems that the source has forgotten since.
    known = systems[systems["host"] != NOTHING].set_index("host")
    return known.reindex(timeline.hosts.index, fill_value=NOTHING)


def _systems_with_a_row(timeline: FleetTimeline, instant: pd.Timestamp) -> pd.DataFrame:
    """One row a system: its host, as which it is registered, and its last report.

    A system without a report has path and report `NOTHING`.
    """
    hosts, is_registered = timeline.hosts, timeline.is_registered(instant)
    reports = timeline.states.last_before(instant)
    reports = reports.join(timeline.states.runs[["path", "deployed_at"]], on="run")
    has_row = (is_registered | hosts.index.isin(reports.index)) & ~hosts["is_deactivated"]
    is_unusable = hosts["is_unusable"]
    configuration = hosts["configuration"].where(is_registered, hosts["default_configuration"])
    systems = pd.DataFrame(
        {
            "host": hosts.index,
            "hostname": hosts["hostname"],
            "is_registered": is_registered,
            "is_unusable": is_unusable,
            "environment": hosts["environment"].where(is_registered),
            "registered_flake": hosts["registered_flake"].where(is_registered, NOTHING),
            "configuration": configuration,
        }
    )[has_row].join(reports)
    codes = ["path", "report"]
    return systems.fillna(dict.fromkeys(codes, NOTHING)).astype(dict.fromkeys(codes, "int64"))


def _judge(timeline: FleetTimeline, systems: pd.DataFrame, instant: pd.Timestamp) -> pd.DataFrame:
    """Adds where each system stands; `contract.md` has the rules.

    Returns:
        The systems, with flake: code of the associated flake, or `NOTHING`; current and latest:
        positions, or `NOTHING`; status and reason: categories; commits_behind: 0 unless behind.
    """
    commits, paths = timeline.commits, timeline.paths
    path, registered_flake = (systems[c].to_numpy() for c in ("path", "registered_flake"))
    at = instant_microseconds(instant)
    current = paths.resolve_by_branch(path, registered_flake, np.full(len(systems), at))
    current_flake = translate(current, commits.flake)
    is_unusable = systems["is_unusable"].to_numpy()
    flake = np.where(registered_flake == NOTHING, current_flake, registered_flake)
    flake = np.where(is_unusable, NOTHING, flake)
    latest = translate(flake, commits.latest(at))
    has_state = path != NOTHING
    reason = np.select(
        [
            is_unusable,
            ~has_state,
            translate(path, paths.rows["is_in_derivations"].to_numpy()) != 1,
            current == NOTHING,
            current_flake != flake,
            np.isin(flake, timeline.unusable_flakes),
            (flake != NOTHING) & (translate(flake, timeline.deleted_at) <= at),
            latest == NOTHING,
        ],
        [0, NOTHING, *range(1, len(UNKNOWN_REASONS))],
        default=NOTHING,
    )
    is_counted = has_state & (reason == NOTHING)
    is_behind = is_counted & (current < latest)
    counted = translate(latest, commits.count_on_branch) - translate(
        current, commits.count_on_branch
    )
    # In the order of DEPLOYMENT_STATUSES.
    told = [~has_state & ~is_unusable, reason != NOTHING, is_behind, current == latest]
    status = np.select(told, range(len(told)), default=len(told))
    return systems.assign(
        flake=flake,
        current=current,
        latest=latest,
        reason=category(reason, UNKNOWN_REASONS),
        status=category(status, DEPLOYMENT_STATUSES),
        is_counted=is_counted,
        commits_behind=np.where(is_behind, counted, 0),
    )


def _compare(timeline: FleetTimeline, systems: pd.DataFrame) -> pd.DataFrame:
    """What was built for each system; `HostBuilds.compare` says more.

    Returns:
        effective and deployable: null where commits are not counted; latest_built: position.
    """
    configuration, current, latest = (
        systems[name].to_numpy() for name in ("configuration", "current", "latest")
    )
    first = translate(latest, timeline.commits.starts)
    compared = timeline.builds.compare(configuration, first, current, latest)
    counted = systems["is_counted"]
    return pd.DataFrame(
        {
            "effective": compared["effective"].where(counted),
            "deployable": compared["deployable"].where(counted),
            "latest_built": compared["latest_deployable"],
        }
    )


def _describe(
    timeline: FleetTimeline, systems: pd.DataFrame, instant: pd.Timestamp
) -> pd.DataFrame:
    commits = timeline.commits
    current, latest = (systems[c].to_numpy() for c in ("current", "latest"))
    is_behind = systems["status"].to_numpy() == "behind"
    next_commit = np.full(len(systems), NOTHING)
    next_commit[is_behind] = commits.on_branch[commits.count_on_branch[current[is_behind]]]
    behind_since = rows_at(commits.rows[["commit_timestamp"]], next_commit)["commit_timestamp"]
    dated = commits.rows[["commit_hash", "commit_timestamp"]]
    current_commit, latest_commit = rows_at(dated, current), rows_at(dated, latest)
    flake = rows_at(commits.flakes, systems["flake"])
    current_flake = rows_at(commits.flakes, translate(current, commits.flake))
    path = rows_at(timeline.paths.rows, systems["path"])
    counted = systems["is_counted"]
    statuses, reasons = systems["status"].astype("str"), systems["reason"].astype("str")
    return pd.DataFrame(
        {
            "hostname": systems["hostname"],
            "deployment_status": statuses,
            "status_description": _in_words(statuses, reasons, systems["commits_behind"]),
            "unknown_reason": reasons,
            "commits_behind": systems["commits_behind"].astype("Int64").where(counted),
            "commits_behind_effective": systems["effective"],
            "commits_behind_deployable": systems["deployable"],
            "hours_behind": in_microseconds(instant - behind_since) / MICROSECONDS_PER_HOUR,
            "behind_since": behind_since,
            "flake_id": flake["flake_id"],
            "flake_name": flake["flake_name"],
            "current_flake_name": current_flake["flake_name"],
            "current_commit_hash": current_commit["commit_hash"],
            "current_commit_timestamp": current_commit["commit_timestamp"],
            "latest_commit_hash": latest_commit["commit_hash"],
            "latest_commit_timestamp": latest_commit["commit_timestamp"],
            "latest_deployable_commit_hash": rows_at(commits.rows, systems["latest_built"])[
                "commit_hash"
            ],
            "matching_commit_count": path["commit_count"].mask(
                systems["is_unusable"] & path["path"].isna(), 0
            ),
            "current_derivation_path": path["path"],
            "deployment_time": systems["deployed_at"],
            "last_reported_at": systems["timestamp"],
            "is_registered": systems["is_registered"],
            "environment": systems["environment"],
        }
    )


def _in_words(
    statuses: "pd.Series[str]", reasons: "pd.Series[str]", commits_behind: "pd.Series[int]"
) -> "pd.Series[str]":
    behind = "Behind by " + commits_behind.astype("str") + " commit(s)"
    return reasons.fillna(statuses).map(_DESCRIPTIONS).where(statuses != "behind", behind)
