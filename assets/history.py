"""The history database: every deployment, and the current status behind the document's view."""

import dagster as dg

from assets.publishing.daily_asset import daily_dataset
from assets.publishing.interfaces import HistoryDatabase, ReportStore
from assets.publishing.metadata import OWNERS
from assets.publishing.partitions import keep_days, newest_published
from assets.publishing.retries import Retries
from assets.schemas import DEPLOYMENT_HISTORY, DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS

STATUS_VIEW = "view_system_deployment_status"


@daily_dataset(
    DEPLOYMENT_HISTORY,
    deps=[DEPLOYMENTS.name],
    group="history",
    kinds={"postgres"},
    metadata={"dagster/table_name": f"flakelag.{DEPLOYMENT_HISTORY.name}"},
)
def deployment_history(
    context: dg.AssetExecutionContext,
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
    retries: dg.ResourceParam[Retries],
) -> dg.MaterializeResult[None]:
    """Keeps the published deployments of each day, one row an event."""
    keep_days(context, DEPLOYMENTS, DEPLOYMENT_HISTORY, reports, history, retries)
    return dg.MaterializeResult()


@dg.asset(
    name=STATUS_VIEW,
    deps=[SYSTEM_DEPLOYMENT_STATUS.name],
    group_name="history",
    kinds={"postgres"},
    owners=OWNERS,
    description=(
        "The newest snapshot in PostgreSQL: columns of `system_deployment_status` under the name "
        "and in the order of Crystal Forge's own view, so that queries written for that run as "
        "they stand."
    ),
    metadata={"dagster/table_name": f"flakelag.{STATUS_VIEW}"},
    pool="history",
)
def view_system_deployment_status(
    context: dg.AssetExecutionContext,
    reports: dg.ResourceParam[ReportStore],
    history: dg.ResourceParam[HistoryDatabase],
    retries: dg.ResourceParam[Retries],
) -> dg.MaterializeResult[None]:
    """Replaces the table behind the view by the newest published snapshot."""
    newest = newest_published(reports, SYSTEM_DEPLOYMENT_STATUS)
    rows = reports.read(SYSTEM_DEPLOYMENT_STATUS, newest)
    described = rows.slice(0, 1).to_pylist()
    if not described:
        context.log.warning("The newest snapshot has no system; the view stays as it is.")
        return dg.MaterializeResult(metadata={"dagster/row_count": 0})
    with retries.of(context):
        history.migrate()
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
