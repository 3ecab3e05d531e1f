"""How the fleet moved over the last days: the roll-up of deployment_velocity over all flakes.

Counts are summed and shares of host-hours are weighted by host-hours, so both are exact for the
fleet. Percentiles can't be rolled up: lead times stay by flake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.page.flake_names import FlakeNames
from assets.page.wording import plain_records

STATUS_COUNTS = tuple(f"systems_{name}" for name in DEPLOYMENT_STATUSES)
ACTIVITY_COUNTS = ("new_commits", "host_deployments", "rollbacks")
COMMIT_SHARES = (
    "up_to_date_share",
    "within_1_commit_share",
    "within_5_commits_share",
    "within_20_commits_share",
)
HOUR_SHARES = ("within_24_hours_share", "within_168_hours_share")
LEAD_TIMES = ("change_lead_time_p50_seconds", "change_lead_time_p90_seconds")


@dataclass(frozen=True)
class Day:
    """One day of the whole fleet.

    Attributes:
        day: the day (UTC).
        measures: by column of deployment_velocity; None on a day that has not been computed, and
            for a share of no host-hours.
    """

    day: date
    measures: dict[str, float | None]


@dataclass(frozen=True)
class FlakeLeadTimes:
    """Lead times of one flake.

    Attributes:
        flake: its label.
        pairs: (host, commit) pairs over all days.
        days: every day, with the columns `LEAD_TIMES` and change_lead_time_count.
    """

    flake: str
    pairs: int
    days: tuple[Day, ...]


def recent(velocity: pd.DataFrame, last_day: date, days: int) -> pd.DataFrame:
    """The rows of the `days` days that end with `last_day`."""
    first_day = last_day - timedelta(days=days - 1)
    in_window = (velocity["snapshot_date"] >= first_day) & (velocity["snapshot_date"] <= last_day)
    return velocity[in_window]


def fleet_days(velocity: pd.DataFrame) -> tuple[Day, ...]:
    """Rolls up a window, not empty, of `deployment_velocity` over all flakes.

    Args:
        velocity: one row a day and flake.

    Returns:
        Every day from the first to the last, also those between that have no row.
    """
    shares = [*COMMIT_SHARES, *HOUR_SHARES]
    hours = velocity[shares].astype("float64").mul(velocity["host_hours"], axis="index")
    summed = (
        velocity[["snapshot_date", "host_hours", *STATUS_COUNTS, *ACTIVITY_COUNTS]]
        .assign(**hours)
        .groupby("snapshot_date")
        .sum()
    )
    summed[shares] = summed[shares].div(
        summed["host_hours"].where(summed["host_hours"] > 0), axis=0
    )
    return _every_day(summed)


def lead_times(velocity: pd.DataFrame, names: FlakeNames, limit: int) -> tuple[FlakeLeadTimes, ...]:
    """The lead times of the flakes that deployed most, most (host, commit) pairs first.

    Args:
        velocity: one row a day and flake.
        names: what to call the flakes.
        limit: at most so many flakes.
    """
    pairs = velocity.groupby("flake_id")["change_lead_time_count"].sum()
    most = pairs[pairs > 0].sort_values(ascending=False, kind="stable").head(limit).reset_index()
    days = pd.Index(velocity["snapshot_date"].unique())
    columns = [*LEAD_TIMES, "change_lead_time_count"]
    return tuple(
        FlakeLeadTimes(
            names[flake["flake_id"]],
            int(flake["change_lead_time_count"]),
            _every_day(
                velocity[velocity["flake_id"] == flake["flake_id"]]
                .set_index("snapshot_date")[columns]
                .reindex(days)
            ),
        )
        for flake in plain_records(most)
    )


def _every_day(by_day: pd.DataFrame) -> tuple[Day, ...]:
    by_day = by_day.astype("float64")
    every_day = pd.date_range(min(by_day.index), max(by_day.index), freq="D")
    return tuple(
        Day(day, measures)
        for day, measures in zip(
            every_day.date, plain_records(by_day.reindex(every_day.date)), strict=True
        )
    )


def charted(days: Sequence[Day], name: str) -> list[float | None]:
    """One column's values, day by day."""
    return [day.measures[name] for day in days]
