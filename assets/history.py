"""The history database: every deployment, and the current status behind the document's view."""

import datetime as dt

import dagster as dg
import pyarrow as pa

from assets.daily_asset import daily_asset
from assets.interfaces import HistoryDatabase, ReportStore
from assets.loading import FleetLoader
from assets.presentation import OWNERS, Metadata
from assets.schemas import DEPLOYMENT_HISTORY, DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS, Dataset

STATUS_VIEW = "view_system_deployment_status"


@daily_asset(
    DEPLOYMENT_HISTORY,
    deps=[DEPLOYMENTS.name],
    group="history",
    kinds={"postgres"},
    metadata={"dagster/table_name": f"flakelag.{DEPLOYMENT_HISTORY.name}"},
)
def deployment_history(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
) -> dg.MaterializeResult[None]:
    """Keeps the published deployments of each day, one row an event."""
    keep_days(context, DEPLOYMENTS, DEPLOYMENT_HISTORY, fleet, reports, history)
    return dg.MaterializeResult()


def keep_days(
    context: dg.AssetExecutionContext,
    published: Dataset,
    kept: Dataset,
    fleet: FleetLoader,
    reports: ReportStore,
    history: HistoryDatabase,
) -> None:
    """Copies the published days of a run into a table of the history database."""
    history.migrate()
    dates = sorted(dt.date.fromisoformat(key) for key in context.partition_keys)
    rows = pa.concat_tables([reports.read(published, date) for date in dates])
    outcomes = history.replace_days(
        kept,
        dates,
        rows.cast(kept.arrow_schema),
        extracted_at=fleet.load(context.run).extract.extracted_at,
    )
    for date, outcome in outcomes.items():
        metadata: Metadata = {
            "dagster/row_count": outcome.rows,
            "rows_added": outcome.added,
            "rows_removed": outcome.removed,
            "outcome": outcome.decision.value,
        }
        context.add_asset_metadata(metadata, partition_key=date.isoformat())
    added = sum(outcome.added for outcome in outcomes.values())
    context.log.info(f"{kept.name}: {rows.num_rows:,} rows kept, {added:,} of them new or changed")


@dg.asset(
    name=STATUS_VIEW,
    deps=[SYSTEM_DEPLOYMENT_STATUS.name],
    group_name="history",
    kinds={"postgres"},
    owners=OWNERS,
    description=(
        "The newest snapshot in PostgreSQL, under the document's name and with its columns: the "
        "document's queries run as they stand."
    ),
    metadata={"dagster/table_name": f"flakelag.{STATUS_VIEW}"},
    pool="history",
)
def view_system_deployment_status(
    context: dg.AssetExecutionContext,
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
) -> dg.MaterializeResult[None]:
    """Replaces the table behind the view by the newest published snapshot."""
    history.migrate()
    newest = reports.published_dates(SYSTEM_DEPLOYMENT_STATUS)[-1]
    rows = reports.read(SYSTEM_DEPLOYMENT_STATUS, newest)
    described = rows.slice(0, 1).to_pylist()
    if not described:
        context.log.warning("The newest snapshot has no system; the view stays as it is.")
        return dg.MaterializeResult(metadata={"dagster/row_count": 0})
    outcome = history.replace_current(
        SYSTEM_DEPLOYMENT_STATUS,
        rows,
        snapshot_at=described[0]["snapshot_at"],
        extracted_at=described[0]["extracted_at"],
    )
    context.log.info(f"{STATUS_VIEW}: {outcome.rows:,} rows as of {newest}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": outcome.rows,
            "snapshot_date": newest.isoformat(),
            "outcome": outcome.decision.value,
        }
    )
