"""The deployments, one file a day, and the same events in the history database."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from assets.compute.deployments import deployments as trace_deployments
from assets.publishing.checks import JudgedCheck, unique_key
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day, days_as_of
from assets.publishing.interfaces import ReportStore
from assets.publishing.loading import FleetLoader
from assets.publishing.partitions import StepEvents, publish_days
from assets.schemas import DEPLOYMENTS, REQUIRED_TABLES


@daily_dataset(
    DEPLOYMENTS,
    deps=[table.name for table in REQUIRED_TABLES],
    group="deployment_status",
    kinds={"pandas", "parquet"},
    checks=[unique_key(DEPLOYMENTS)],
)
def deployments(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> StepEvents:
    """Finds each day's deployments among the states of every host."""
    loaded = fleet.load(context.run)
    days = days_as_of(context.partition_keys, loaded.extracted_at)
    events = trace_deployments(loaded.timeline, days[-1].snapshot_at)

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        # Events are in order of deployed_at.
        bounds = [pd.Timestamp(day.date, tz="UTC"), day.snapshot_at]
        first, end = events["deployed_at"].searchsorted(bounds, side="left")
        made = events.iloc[first:end].reset_index(drop=True)
        return made, [unique_key(DEPLOYMENTS).on(made)]

    yield from publish_days(context, DEPLOYMENTS, days, reports, compute)
