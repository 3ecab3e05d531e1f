"""How fast commits reach the fleet, and how far each one got."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from assets.compute.fleet import frame_from_arrow
from assets.compute.rollouts import rollouts_of_days
from assets.compute.velocity import deployment_velocity as join_velocity
from assets.compute.velocity import measure_velocity
from assets.publishing.checks import JudgedCheck, unique_key
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day, days_as_of
from assets.publishing.interfaces import HistoryDatabase, ReportStore
from assets.publishing.loading import FleetLoader
from assets.publishing.partitions import StepEvents, keep_days, publish_days
from assets.schemas import (
    COMMIT_ROLLOUTS,
    DEPLOYMENT_VELOCITY,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
)


@daily_dataset(
    DEPLOYMENT_VELOCITY,
    deps=[DEPLOYMENTS.name, FLAKE_DEPLOYMENT_STATUS.name],
    group="velocity",
    kinds={"pandas", "parquet", "postgres"},
    checks=[unique_key(DEPLOYMENT_VELOCITY)],
    metadata={"dagster/table_name": f"flakelag.{DEPLOYMENT_VELOCITY.name}"},
)
def deployment_velocity(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
    first_retry_seconds: dg.ResourceParam[float],
) -> StepEvents:
    """Measures every flake's days, and keeps them where Grafana can chart them."""
    loaded = fleet.load(context.run)
    days = days_as_of(context.partition_keys, loaded.extracted_at)
    measured = measure_velocity(loaded.tables, loaded.timeline, [day.snapshot_at for day in days])

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        flakes = frame_from_arrow(reports.read(FLAKE_DEPLOYMENT_STATUS, day.date))
        velocity = join_velocity(measured, flakes)
        return velocity, [unique_key(DEPLOYMENT_VELOCITY).on(velocity)]

    yield from publish_days(context, DEPLOYMENT_VELOCITY, days, reports, compute)
    keep_days(
        context,
        DEPLOYMENT_VELOCITY,
        DEPLOYMENT_VELOCITY,
        loaded,
        reports,
        history,
        first_retry_seconds,
    )


@daily_dataset(
    COMMIT_ROLLOUTS,
    deps=[DEPLOYMENTS.name],
    group="velocity",
    kinds={"pandas", "parquet"},
    checks=[unique_key(COMMIT_ROLLOUTS)],
)
def commit_rollouts(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> StepEvents:
    """Follows every commit to the hosts that it reached."""
    loaded = fleet.load(context.run)
    days = days_as_of(context.partition_keys, loaded.extracted_at)
    rollouts = rollouts_of_days(loaded.timeline, [day.snapshot_at for day in days])

    def compute(_day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        of_day = next(rollouts)
        return of_day, [unique_key(COMMIT_ROLLOUTS).on(of_day)]

    yield from publish_days(context, COMMIT_ROLLOUTS, days, reports, compute)
