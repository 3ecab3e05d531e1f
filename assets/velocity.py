"""How fast commits reach the fleet, and how far each one got."""

from collections.abc import Iterator, Sequence

import dagster as dg
import pandas as pd

from assets.compute.fleet import frame_from_arrow
from assets.compute.rollouts import rollouts_by_environment, rollouts_of_days
from assets.compute.velocity import deployment_velocity as join_velocity
from assets.compute.velocity import measure_velocity
from assets.publishing.checks import JudgedCheck, conformity_checks
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day
from assets.publishing.interfaces import HistoryDatabase, ReportStore
from assets.publishing.loading import FLEET, FleetLoader
from assets.publishing.partitions import StepEvents, keep_days, publish_days
from assets.publishing.retries import Retries
from assets.publishing.rollout_checks import ENVIRONMENTS_SUM, ROLLOUT_COUNTS, RolloutCounts
from assets.schemas import (
    COMMIT_ROLLOUTS,
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
    DEPLOYMENT_VELOCITY,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_DEPLOYMENT_STATUS,
)
from assets.schemas.rollouts import NEWEST_BY_ENVIRONMENT


@daily_dataset(
    DEPLOYMENT_VELOCITY,
    deps=[*FLEET, FLAKE_DEPLOYMENT_STATUS.name],
    group="velocity",
    kinds={"pandas", "parquet", "postgres"},
    checks=conformity_checks(DEPLOYMENT_VELOCITY),
    metadata={"dagster/table_name": f"flakelag.{DEPLOYMENT_VELOCITY.name}"},
)
def deployment_velocity(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
    retries: dg.ResourceParam[Retries],
) -> StepEvents:
    """Measures every flake's days, and keeps them where Grafana can chart them."""
    loaded = fleet.load(context.run)
    days = loaded.days(context)
    snapshots_at = [day.snapshot_at for day in days]
    measured = measure_velocity(loaded.tables, loaded.timeline, snapshots_at, loaded.extracted_at)

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        flakes = frame_from_arrow(reports.read(FLAKE_DEPLOYMENT_STATUS, day.date))
        return join_velocity(measured, flakes), []

    yield from publish_days(context, DEPLOYMENT_VELOCITY, days, reports, compute)
    keep_days(context, DEPLOYMENT_VELOCITY, DEPLOYMENT_VELOCITY, reports, history, retries)


@daily_dataset(
    COMMIT_ROLLOUTS,
    deps=[*FLEET, SYSTEM_DEPLOYMENT_STATUS.name],
    group="velocity",
    kinds={"pandas", "parquet"},
    checks=conformity_checks(COMMIT_ROLLOUTS),
)
def commit_rollouts(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> StepEvents:
    """Follows every commit to the hosts that it reached."""
    loaded = fleet.load(context.run)
    days = loaded.days(context)
    statuses = (frame_from_arrow(reports.read(SYSTEM_DEPLOYMENT_STATUS, day.date)) for day in days)
    rollouts = rollouts_of_days(loaded.timeline, [day.snapshot_at for day in days], statuses)

    def compute(_day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        return next(rollouts), []

    yield from publish_days(context, COMMIT_ROLLOUTS, days, reports, compute)


@daily_dataset(
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
    deps=[*FLEET, SYSTEM_DEPLOYMENT_STATUS.name, COMMIT_ROLLOUTS.name],
    group="velocity",
    kinds={"pandas", "parquet"},
    checks=[*conformity_checks(COMMIT_ROLLOUTS_BY_ENVIRONMENT), ENVIRONMENTS_SUM],
)
def commit_rollouts_by_environment(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> StepEvents:
    """Follows each flake's newest commits through every environment."""
    loaded = fleet.load(context.run)
    days = loaded.days(context)

    def statuses() -> Iterator[pd.DataFrame]:
        for day in days:
            yield frame_from_arrow(reports.read(SYSTEM_DEPLOYMENT_STATUS, day.date))

    rollouts = rollouts_by_environment(
        loaded.timeline,
        [day.snapshot_at for day in days],
        statuses,
        newest=NEWEST_BY_ENVIRONMENT,
    )

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        by_environment = next(rollouts)
        in_all = frame_from_arrow(reports.read(COMMIT_ROLLOUTS, day.date, ROLLOUT_COUNTS))
        is_of_same_reading = (
            reports.describe(COMMIT_ROLLOUTS, day.date).extracted_at
            == day.extracted_at.to_pydatetime()
        )
        counts = RolloutCounts(in_all if is_of_same_reading else None, by_environment)
        return by_environment, [ENVIRONMENTS_SUM.on(counts)]

    yield from publish_days(context, COMMIT_ROLLOUTS_BY_ENVIRONMENT, days, reports, compute)
