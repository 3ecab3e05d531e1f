"""What people and monitoring look at: the report page, and the metrics of the newest snapshot."""

import datetime as dt

import dagster as dg
import pandas as pd

from assets.compute.adoption import adoption_curves
from assets.compute.fleet import frame_from_arrow
from assets.exports.openmetrics import fleet_metrics_text
from assets.page import FleetReportInputs, render_fleet_report
from assets.publishing.daily_asset import daily_asset
from assets.publishing.days import Day
from assets.publishing.interfaces import ReportStore
from assets.publishing.layout import LATEST_PAGE, METRICS_FILE, file_of, page_of
from assets.publishing.loading import FLEET, FleetLoader, LoadedFleet
from assets.publishing.metadata import OWNERS, Metadata
from assets.publishing.partitions import newest_published
from assets.schemas import (
    COMMIT_ROLLOUTS,
    DEPLOYMENT_VELOCITY,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)

DAYS_LOOKED_BACK = 90


@daily_asset(
    "fleet_report",
    description=(
        "One page for people: how the fleet stands, what needs attention first and why, how it "
        "moved over the last 90 days, and what changed since the day before. One HTML file that "
        "needs no network."
    ),
    deps=[
        *FLEET,
        SYSTEM_DEPLOYMENT_STATUS.name,
        FLAKE_DEPLOYMENT_STATUS.name,
        DEPLOYMENT_VELOCITY.name,
        COMMIT_ROLLOUTS.name,
    ],
    group="report",
    kinds={"html"},
    metadata={},
)
def fleet_report(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
) -> dg.MaterializeResult[None]:
    """Renders the page of each day; that of the newest day is also `latest.html`."""
    loaded = fleet.load(context.run)
    newest = newest_published(reports, SYSTEM_DEPLOYMENT_STATUS)
    for day in loaded.days(context):
        page = render_fleet_report(_inputs(day, loaded, reports)).encode()
        path = reports.write_atomically(page_of(day.date), page)
        metadata: Metadata = {"path": dg.MetadataValue.path(str(path)), "bytes": len(page)}
        if day.date == newest:
            latest = reports.write_atomically(LATEST_PAGE, page)
            metadata["latest"] = dg.MetadataValue.path(str(latest))
        context.add_asset_metadata(metadata, partition_key=day.date.isoformat())
        context.log.info(f"fleet_report {day.date}: {len(page) / 1e6:.1f} MB")
    return dg.MaterializeResult()


@dg.asset(
    description=(
        "The newest snapshot as metrics in a text file, for the textfile collector of Prometheus' "
        "node_exporter."
    ),
    deps=[SYSTEM_DEPLOYMENT_STATUS.name, FLAKE_DEPLOYMENT_STATUS.name],
    group_name="report",
    kinds={"prometheus"},
    owners=OWNERS,
    pool="fleet_metrics",
)
def fleet_metrics(reports: dg.ResourceParam[ReportStore]) -> dg.MaterializeResult[None]:
    """Writes the metrics of the newest snapshot."""
    newest = newest_published(reports, FLAKE_DEPLOYMENT_STATUS)
    status = frame_from_arrow(reports.read(SYSTEM_DEPLOYMENT_STATUS, newest))
    flakes = frame_from_arrow(reports.read(FLAKE_DEPLOYMENT_STATUS, newest))
    described = flakes if status.empty else status
    text = fleet_metrics_text(
        status, flakes, described["snapshot_at"].iloc[0], described["extracted_at"].iloc[0]
    )
    path = reports.write_atomically(METRICS_FILE, text.encode())
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(path))})


def _inputs(day: Day, loaded: LoadedFleet, reports: ReportStore) -> FleetReportInputs:
    def read(dataset: Dataset, date: dt.date) -> pd.DataFrame:
        return frame_from_arrow(reports.read(dataset, date))

    earlier = [d for d in reports.published_dates(SYSTEM_DEPLOYMENT_STATUS) if d < day.date]
    first = day.date - dt.timedelta(days=DAYS_LOOKED_BACK - 1)
    measured = [d for d in reports.published_dates(DEPLOYMENT_VELOCITY) if first <= d <= day.date]
    status = read(SYSTEM_DEPLOYMENT_STATUS, day.date)
    described = status.iloc[0] if len(status) else None
    return FleetReportInputs(
        status=status,
        previous_status=read(SYSTEM_DEPLOYMENT_STATUS, earlier[-1]) if earlier else None,
        flake_status=read(FLAKE_DEPLOYMENT_STATUS, day.date),
        velocity=pd.concat([read(DEPLOYMENT_VELOCITY, d) for d in measured], ignore_index=True),
        rollouts=read(COMMIT_ROLLOUTS, day.date),
        adoption=adoption_curves(loaded.timeline, status, day.snapshot_at),
        snapshot_at=day.snapshot_at if described is None else described["snapshot_at"],
        extracted_at=day.extracted_at if described is None else described["extracted_at"],
        unusable=loaded.unusable,
        status_file=file_of(SYSTEM_DEPLOYMENT_STATUS.name, day.date),
    )
