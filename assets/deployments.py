"""The deployments, one file a day, and the same events in the history database."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from assets.compute.deployments import deployments as trace_deployments
from assets.publishing.checks import NO_FLAPPING_HOST, JudgedCheck, conformity_checks
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day
from assets.publishing.interfaces import ReportStore
from assets.publishing.loading import FLEET, FleetLoader
from assets.publishing.partitions import StepEvents, publish_days
from assets.schemas import DEPLOYMENTS


@daily_dataset(
    DEPLOYMENTS,
    deps=FLEET,
    group="deployment_status",
    kinds={"pandas", "parquet"},
    checks=[*conformity_checks(DEPLOYMENTS), NO_FLAPPING_HOST],
)
def deployments(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> StepEvents:
    """Finds each day's deployments among the states of every host."""
    loaded = fleet.load(context.run)
    days = loaded.days(context)
    events = trace_deployments(loaded.timeline, days[-1].snapshot_at)

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        # Events are in order of deployed_at.
        bounds = [pd.Timestamp(day.date, tz="UTC"), day.snapshot_at]
        first, end = events["deployed_at"].searchsorted(bounds, side="left")
        made = events.iloc[first:end].reset_index(drop=True)
        return made, [NO_FLAPPING_HOST.on(made)]

    yield from publish_days(context, DEPLOYMENTS, days, reports, compute)
