"""How fast each flake's commits reach its hosts, day by day.

Everything is measured for many days at once: rows of commits and of deployments get the day that
they fall in, and are then grouped by day and flake.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.currency import CURRENT, currency
from assets.compute.day_windows import DayWindows
from assets.compute.deployment_events import before, commits_included
from assets.compute.encoding import (
    MICROSECONDS_PER_HOUR,
    MICROSECONDS_PER_SECOND,
    in_microseconds,
)
from assets.compute.first_deployments import build_times, first_deployments
from assets.compute.fleet import FleetTables
from assets.compute.lead_times import PAIRS_AT_ONCE, LivePairs, live_pairs
from assets.compute.quantiles import quantiles
from assets.compute.running_commits import PIECES_AT_ONCE
from assets.compute.seen_time import seen_spans
from assets.compute.timeline import FleetTimeline

_OF_STATUS = [
    "systems_total",
    "systems_up_to_date",
    "systems_behind",
    "systems_ahead",
    "systems_unknown",
    "systems_no_deployment",
    "commits_behind_p50",
    "commits_behind_p90",
    "commits_behind_max",
]
_COUNTS = [
    "new_commits",
    "commits_first_deployed",
    "host_deployments",
    "hosts_deployed",
    "flapping_deployments",
    "rollbacks",
    "change_lead_time_count",
    "negative_lead_time_count",
    "commit_to_built_count",
    "built_to_first_host_count",
    "negative_stage_count",
]
_CELL = ["day", "flake"]


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
    days = measured[measured["snapshot_date"].isin(flake_status["snapshot_date"])]
    rows = days.merge(flake_status[[*key, *_OF_STATUS]], on=key, how="left")
    counts = [name for name in _OF_STATUS if name.startswith("systems_")]
    rows[counts] = rows[counts].fillna(0).astype("int64")
    return rows


def measure_velocity(
    tables: FleetTables,
    timeline: FleetTimeline,
    snapshots_at: Sequence[pd.Timestamp],
    extracted_at: pd.Timestamp,
    *,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> pd.DataFrame:
    """Measures each flake's days, but for what the status snapshots say.

    A day's row depends on what lies before its T alone, so that it is the same whether it is
    measured that day or later, alone or among others; but for the `seen_` shares, which are known
    only right after T.

    Memory: some 400 bytes a deployment, commit and row of the result, and what the two bounds allow
    (80 bytes a pair, 200 bytes a piece); none for the (host, commit) pairs beyond.

    Args:
        tables: the fleet, of any set of flakes.
        timeline: the same, indexed.
        snapshots_at: T of each day, ascending; one a day.
        extracted_at: when the tables were read.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a day and flake, by snapshot_date, flake_name, flake_id. Columns as in
        `assets.schemas.DEPLOYMENT_VELOCITY`, without `systems_*` and `commits_behind_*`.

    Raises:
        ValueError: `snapshots_at` is empty, not ascending, or has two of one day.
    """
    windows = DayWindows.up_to(snapshots_at)
    unfinished = [at for at in snapshots_at[:-1] if at != at.ceil("D")]
    if unfinished:
        # What flaps on a day is known only at its end: a day's row is as of its own T.
        split = list(snapshots_at).index(unfinished[0]) + 1
        bounds = {"pairs_at_once": pairs_at_once, "pieces_at_once": pieces_at_once}
        parts = (snapshots_at[:split], snapshots_at[split:])
        return pd.concat(
            [measure_velocity(tables, timeline, part, extracted_at, **bounds) for part in parts],
            ignore_index=True,
        )
    seen = seen_spans(timeline.states, snapshots_at, extracted_at)
    events = before(timeline.events, snapshots_at[-1])
    first = first_deployments(timeline.commits, events)
    reached = first[first["is_flapping"].eq(False)]
    measures = [
        _count(windows, first, "commit_timestamp", "new_commits"),
        _count(windows, reached, "counted_at", "commits_first_deployed"),
        _flapping(events, windows),
        _deployment_measures(timeline.commits, events, windows),
        _lead_time_measures(live_pairs(timeline.commits, events, windows), pairs_at_once),
        _stage_measures(reached.assign(built_at=build_times(tables, timeline.commits)), windows),
        _currency_measures(
            currency(timeline, windows, seen.values(), pieces_at_once), windows.ends.isin([*seen])
        ),
    ]
    flakes = timeline.flakes[["id", "name"]].sort_values(["name", "id"])
    codes = timeline.commits.flake_codes(flakes["id"])
    cells = pd.MultiIndex.from_product([windows.ends.index, codes], names=_CELL)
    measured = pd.concat([each.reindex(cells) for each in measures], axis="columns")
    measured[_COUNTS] = measured[_COUNTS].fillna(0).astype("int64")
    measured = measured.reset_index()
    measured["snapshot_date"] = measured["day"].dt.date
    measured["flake_id"] = np.tile(flakes["id"].to_numpy(np.int64), len(windows.ends))
    measured["flake_name"] = pd.concat([flakes["name"]] * len(windows.ends)).array
    measured["snapshot_at"] = measured["day"].map(windows.ends)
    return measured.drop(columns=_CELL)


def _count(windows: DayWindows, commits: pd.DataFrame, instant: str, name: str) -> pd.DataFrame:
    return windows.containing(commits, instant).groupby(_CELL).size().to_frame(name)


def _flapping(events: pd.DataFrame, windows: DayWindows) -> pd.DataFrame:
    return _count(windows, events[events["is_flapping"]], "deployed_at", "flapping_deployments")


def _deployment_measures(
    commits: CommitOrder, events: pd.DataFrame, windows: DayWindows
) -> pd.DataFrame:
    is_rollback = events["kind"] == "rollback"
    is_deployment = ~events["kind"].isin(["initial", "untraced"])
    by_host = events.assign(is_rollback=is_rollback, is_deployment=is_deployment).groupby("host")
    last, after = by_host.shift(1), by_host.shift(-1)
    is_recovery = is_rollback & last["is_deployment"].eq(True) & last["is_flapping"].eq(False)
    outage = in_microseconds(events["deployed_at"] - last["deployed_at"])
    chosen = windows.containing(
        events.assign(
            is_deployment=is_deployment,
            is_rollback=is_rollback,
            is_failure=is_deployment & after["is_rollback"].eq(True),
            deployed_host=events["host"].where(is_deployment),
            outage=outage.where(is_recovery),
            ended_at=after["deployed_at"],
        )[~events["is_flapping"]],
        "deployed_at",
    )
    # A deployment counts as failed on its own day, and only once that is known.
    chosen["is_failure"] &= chosen["ended_at"] < chosen["day_ends_at"]
    chosen["batch_size"] = commits_included(commits, chosen, chosen["day_ends_at"])
    by_cell = chosen.groupby(_CELL)
    counts = by_cell.agg(
        host_deployments=("is_deployment", "sum"),
        hosts_deployed=("deployed_host", "nunique"),
        rollbacks=("is_rollback", "sum"),
        failures=("is_failure", "sum"),
    )
    batch_size = quantiles(by_cell["batch_size"], (0.5, 0.9))
    recovery = by_cell["outage"].quantile(0.5)
    return pd.DataFrame(
        {
            "host_deployments": counts["host_deployments"],
            "hosts_deployed": counts["hosts_deployed"],
            "batch_size_p50": batch_size[0.5],
            "batch_size_p90": batch_size[0.9],
            "rollbacks": counts["rollbacks"],
            "change_fail_rate_rollback_proxy": counts["failures"] / counts["host_deployments"],
            "failed_deployment_recovery_p50_seconds_rollback_proxy": (
                recovery / MICROSECONDS_PER_SECOND
            ),
        }
    )


def _lead_time_measures(pairs: LivePairs, pairs_at_once: int) -> pd.DataFrame:
    lead_times = pairs.lead_time_quantiles((0.5, 0.75, 0.9), pairs_at_once)
    seconds, counts = lead_times / MICROSECONDS_PER_SECOND, pairs.counts
    return pd.DataFrame(
        {
            "change_lead_time_p50_seconds": seconds[0.5],
            "change_lead_time_p75_seconds": seconds[0.75],
            "change_lead_time_p90_seconds": seconds[0.9],
            "change_lead_time_count": counts["counted"],
            "negative_lead_time_count": counts["negative"],
        }
    )


def _stage_measures(first: pd.DataFrame, windows: DayWindows) -> pd.DataFrame:
    chosen = windows.containing(first[first["kind"] == "upgrade"], "counted_at")
    chosen = chosen[chosen["built_at"] < chosen["day_ends_at"]]
    spans = {
        "commit_to_built": chosen["built_at"] - chosen["commit_timestamp"],
        "built_to_first_host": chosen["deployed_at"] - chosen["built_at"],
    }
    by_cell = [chosen["day"], chosen["flake"]]
    negative = chosen.groupby(by_cell).size() * len(spans)
    measures = pd.DataFrame(index=negative.index)
    for stage, span in spans.items():
        valid = in_microseconds(span).where(span >= pd.Timedelta(0)).groupby(by_cell)
        seconds = quantiles(valid, (0.5, 0.9)) / MICROSECONDS_PER_SECOND
        measures[f"{stage}_p50_seconds"] = seconds[0.5]
        measures[f"{stage}_p90_seconds"] = seconds[0.9]
        measures[f"{stage}_count"] = valid.count()
        negative -= measures[f"{stage}_count"]
    return measures.assign(negative_stage_count=negative)


def _currency_measures(host_time: pd.DataFrame, is_seen_day: "pd.Series[bool]") -> pd.DataFrame:
    total = host_time["total"]
    seen_total = total.where(is_seen_day.reindex(total.index, level="day"))
    measures = pd.DataFrame({"host_hours": total / MICROSECONDS_PER_HOUR})
    for name in CURRENT:
        share = f"{name}_share".replace("_1_commits_", "_1_commit_")
        measures[share] = host_time[name] / total
        measures[f"seen_{share}"] = host_time[f"seen_{name}"] / seen_total
    return measures
