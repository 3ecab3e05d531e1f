"""How fast each flake's commits reach its hosts, day by day.

Everything is measured for many days at once: the deployments are traced and the commits' first
hosts found once, whatever the number of days.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assets.compute.currency import WITHIN_COMMITS, WITHIN_HOURS, Currency, currency
from assets.compute.day_windows import DayWindows
from assets.compute.deployments import (
    INITIAL,
    MICROSECONDS_PER_SECOND,
    ROLLBACK,
    UNTRACED,
    UPGRADE,
    DeploymentEvents,
    trace_deployments,
)
from assets.compute.encoding import NOTHING, Booleans, Integers, instants, integers
from assets.compute.first_deployments import (
    NEVER,
    FirstDeployments,
    build_times,
    first_deployments,
)
from assets.compute.fleet import FleetTables
from assets.compute.lead_times import PAIRS_AT_ONCE, live_pairs
from assets.compute.quantiles import Numbers, quantiles_by_group
from assets.compute.running_commits import PIECES_AT_ONCE
from assets.compute.status import MICROSECONDS_PER_HOUR
from assets.compute.timeline import FleetTimeline

_STATUS_COUNTS = (
    "systems_total",
    "systems_up_to_date",
    "systems_behind",
    "systems_ahead",
    "systems_unknown",
    "systems_no_deployment",
)
_STATUS_QUANTILES = ("commits_behind_p50", "commits_behind_p90", "commits_behind_max")

_Columns = dict[str, Integers | Numbers]


def deployment_velocity(measured: pd.DataFrame, flake_status: pd.DataFrame) -> pd.DataFrame:
    """Joins what was measured of some days with the status snapshots of these days.

    Args:
        measured: `measure_velocity` of these days at least.
        flake_status: `flake_deployment_status` of one day or several.

    Returns:
        One row a day of `flake_status` and flake, by snapshot_date, flake_name, flake_id; a flake
        without a row there has no systems. Columns as in `assets.schemas.DEPLOYMENT_VELOCITY`.
    """
    key = ["snapshot_date", "flake_id"]
    days = measured[measured["snapshot_date"].isin(flake_status["snapshot_date"].unique())]
    standing = flake_status[[*key, *_STATUS_COUNTS, *_STATUS_QUANTILES]]
    rows = days.merge(standing, on=key, how="left")
    counts = list(_STATUS_COUNTS)
    rows[counts] = rows[counts].fillna(0).astype("int64")
    return rows


def measure_velocity(
    tables: FleetTables,
    timeline: FleetTimeline,
    snapshots_at: Sequence[pd.Timestamp],
    *,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> pd.DataFrame:
    """Measures each flake's days, but for what the status snapshots say.

    A day's row depends on what lies before its T alone, so that it is the same whether it is
    measured that day or later, alone or among others.

    Memory: some 400 bytes a deployment, commit and row of the result, and what the two bounds allow
    (80 bytes a pair, 200 bytes a piece); none for the (host, commit) pairs beyond.

    Args:
        tables: the fleet, of any set of flakes.
        timeline: the same, indexed.
        snapshots_at: T of each day, ascending; one a day.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a day and flake, by snapshot_date, flake_name, flake_id. Columns as in
        `assets.schemas.DEPLOYMENT_VELOCITY`, without `systems_*` and `commits_behind_*`.

    Raises:
        ValueError: `snapshots_at` is empty, not ascending, or has two of one day.
    """
    windows = DayWindows.up_to(snapshots_at)
    events = trace_deployments(timeline)
    first = first_deployments(timeline, events)
    measures: _Columns = {
        "new_commits": _count(
            windows,
            timeline.commits.timestamps,
            timeline.commits.flake,
            len(timeline.commits.flake_ids),
        ),
        **_first_host_counts(timeline, first, windows),
        **_deployment_measures(timeline, events, windows),
        **_lead_time_measures(timeline, events, windows, pairs_at_once),
        **_stage_measures(timeline, events, first, build_times(tables, timeline.commits), windows),
        **_currency_measures(currency(timeline, windows, pieces_at_once)),
    }
    return _rows(timeline, windows, measures)


def _rows(timeline: FleetTimeline, windows: DayWindows, measures: _Columns) -> pd.DataFrame:
    flakes = timeline.flakes[["id", "name"]].sort_values(["name", "id"])
    codes = timeline.commits.flake_codes(integers(flakes["id"]))
    flake_count = len(timeline.commits.flake_ids)
    days = np.arange(len(windows))
    cells = (days[:, np.newaxis] * flake_count + codes).ravel()
    day = np.repeat(days, len(flakes))
    dates = instants(windows.starts).dt.date
    return pd.DataFrame(
        {
            "snapshot_date": dates.take(day).to_numpy(),
            "flake_id": np.tile(integers(flakes["id"]), len(windows)),
            "flake_name": pd.concat([flakes["name"]] * len(windows), ignore_index=True),
            **{name: values[cells] for name, values in measures.items()},
            "snapshot_at": instants(windows.ends[day]),
        }
    )


def _count(
    windows: DayWindows, happened_at: Integers, flake: Integers, flake_count: int
) -> Integers:
    """How many things happened, by `day * flake_count + flake`."""
    day = windows.containing(happened_at)
    cells = (day * flake_count + flake)[day != NOTHING]
    return np.bincount(cells, minlength=len(windows) * flake_count).astype(np.int64)


def _first_host_counts(
    timeline: FleetTimeline, first: FirstDeployments, windows: DayWindows
) -> _Columns:
    commits = timeline.commits
    counts = _count(windows, first.counted_at, commits.flake, len(commits.flake_ids))
    return {"commits_first_deployed": counts}


def _deployment_measures(
    timeline: FleetTimeline, events: DeploymentEvents, windows: DayWindows
) -> _Columns:
    states, commits = timeline.states, timeline.commits
    flake_count = len(commits.flake_ids)
    cell_count = len(windows) * flake_count
    day = windows.containing(states.run_started_at)
    cell = day * flake_count + np.where(
        events.commit == NOTHING, 0, _at(commits.flake, events.commit)
    )
    in_days = day != NOTHING
    is_deployment = (events.kind != INITIAL) & (events.kind != UNTRACED)

    def count(chosen: Booleans) -> Integers:
        return np.bincount(cell[chosen & in_days], minlength=cell_count).astype(np.int64)

    counted = np.flatnonzero(is_deployment & in_days)
    host_count = len(timeline.hosts.names)
    deployed_hosts = np.unique(cell[counted] * host_count + states.run_host[counted]) // max(
        host_count, 1
    )

    same_host = states.run_host[1:] == states.run_host[:-1]
    rolled_back = np.zeros(len(events.kind), np.bool_)
    rolled_back[:-1] = is_deployment[:-1] & same_host & (events.kind[1:] == ROLLBACK)
    ended_at = np.append(states.run_started_at[1:], NEVER)[: len(events.kind)]
    failed = rolled_back & in_days & (ended_at < windows.ends[day])
    recoveries = np.flatnonzero(np.append(False, rolled_back[:-1])[: len(day)] & in_days)
    outage = states.run_started_at[recoveries] - states.run_started_at[recoveries - 1]

    upgrades = np.flatnonzero((events.kind == UPGRADE) & in_days)
    batches = events.commit[upgrades] - events.previous_commit[upgrades]
    batch_p50, batch_p90 = quantiles_by_group(cell[upgrades], batches, cell_count, (0.5, 0.9))
    (recovery_p50,) = quantiles_by_group(cell[recoveries], outage, cell_count, (0.5,))
    deployments = count(is_deployment)
    return {
        "host_deployments": deployments,
        "hosts_deployed": np.bincount(deployed_hosts, minlength=cell_count).astype(np.int64),
        "batch_size_p50": batch_p50,
        "batch_size_p90": batch_p90,
        "rollbacks": count(events.kind == ROLLBACK),
        "change_fail_rate_rollback_proxy": _share(count(failed), deployments),
        "failed_deployment_recovery_p50_seconds_rollback_proxy": (
            recovery_p50 / MICROSECONDS_PER_SECOND
        ),
    }


def _lead_time_measures(
    timeline: FleetTimeline, events: DeploymentEvents, windows: DayWindows, pairs_at_once: int
) -> _Columns:
    pairs = live_pairs(timeline, events, windows)
    p50, p75, p90 = pairs.lead_time_quantiles((0.5, 0.75, 0.9), pairs_at_once)
    return {
        "change_lead_time_p50_seconds": p50 / MICROSECONDS_PER_SECOND,
        "change_lead_time_p75_seconds": p75 / MICROSECONDS_PER_SECOND,
        "change_lead_time_p90_seconds": p90 / MICROSECONDS_PER_SECOND,
        "change_lead_time_count": pairs.counts,
        "negative_lead_time_count": pairs.negative_counts,
    }


def _stage_measures(
    timeline: FleetTimeline,
    events: DeploymentEvents,
    first: FirstDeployments,
    built_at: Integers,
    windows: DayWindows,
) -> _Columns:
    commits = timeline.commits
    day = windows.containing(first.counted_at)
    is_upgrade = (first.event != NOTHING) & (_at(events.kind, first.event) == UPGRADE)
    chosen = np.flatnonzero((day != NOTHING) & is_upgrade & (built_at < windows.ends[day]))
    cell = day[chosen] * len(commits.flake_ids) + commits.flake[chosen]
    cell_count = len(windows) * len(commits.flake_ids)
    built = built_at[chosen]
    spans = {
        "commit_to_built": built - commits.timestamps[chosen],
        "built_to_first_host": timeline.states.run_started_at[first.event[chosen]] - built,
    }
    measures: _Columns = {}
    negative = np.zeros(cell_count, np.int64)
    for stage, span in spans.items():
        valid = span >= 0
        p50, p90 = quantiles_by_group(cell[valid], span[valid], cell_count, (0.5, 0.9))
        measures[f"{stage}_p50_seconds"] = p50 / MICROSECONDS_PER_SECOND
        measures[f"{stage}_p90_seconds"] = p90 / MICROSECONDS_PER_SECOND
        measures[f"{stage}_count"] = np.bincount(cell[valid], minlength=cell_count)
        negative += np.bincount(cell[~valid], minlength=cell_count)
    return {**measures, "negative_stage_count": negative}


def _currency_measures(measured: Currency) -> _Columns:
    measures: _Columns = {
        "host_hours": measured.total / MICROSECONDS_PER_HOUR,
        "up_to_date_share": _share(measured.up_to_date, measured.total),
    }
    for commit_count, time in zip(WITHIN_COMMITS, measured.within_commits, strict=True):
        noun = "commit" if commit_count == 1 else "commits"
        measures[f"within_{commit_count}_{noun}_share"] = _share(time, measured.total)
    for hours, time in zip(WITHIN_HOURS, measured.within_hours, strict=True):
        measures[f"within_{hours}_hours_share"] = _share(time, measured.total)
    return measures


def _share(part: Integers, whole: Integers) -> Numbers:
    shares: Numbers = np.full(len(whole), np.nan)
    return np.divide(part, whole, out=shares, where=whole != 0)


def _at(values: Integers, positions: Integers) -> Integers:
    """The values at the positions; of no meaning at `NOTHING`."""
    return values[positions] if len(values) else np.zeros(len(positions), np.int64)
