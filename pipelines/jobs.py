"""The jobs: which assets are made together, and what keeps house."""

import datetime as dt

import dagster as dg
from dagster import MAX_RUNTIME_SECONDS_TAG

from pipelines.settings import read_settings
from pipelines.units import DAY

FLEET_STATUS_JOB = "fleet_status"
BACKFILL_JOB = "backfill"
BACKFILL_LIMIT = {MAX_RUNTIME_SECONDS_TAG: str(DAY)}
PAGES_JOB = "report_pages"
HOUSEKEEPING_JOB = "housekeeping"

HOUSEKEEPING_PATIENCE = dt.timedelta(minutes=20)
"""A year's backlog takes longer; what is left is for the next time."""

fleet_status = dg.define_asset_job(
    FLEET_STATUS_JOB,
    selection=dg.AssetSelection.all(),
    description="Reads the fleet database once and publishes everything that follows from it.",
)

backfill = dg.define_asset_job(
    BACKFILL_JOB,
    # Pages of the past are for whoever asks for them: a year of them takes longer than its data.
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("report"),
    description=(
        "Reads the fleet database once and publishes the data of a range of past days: everything "
        "but the pages."
    ),
    # The daemon's usual limit is meant for runs whose worker vanished, not for years of days.
    run_tags=BACKFILL_LIMIT,
)

report_pages = dg.define_asset_job(
    PAGES_JOB,
    selection=dg.AssetSelection.groups("report"),
    description="Renders a day's page, the metrics and the analysts' views anew.",
)


@dg.op(
    pool="remove_replaced_runs",
    description="Removes Dagster's records of the runs that later runs have replaced.",
)
def remove_replaced_runs(context: dg.OpExecutionContext) -> None:
    """Removes old runs of this code location, and says how many."""
    # It brings the tables of Dagster's storage, which no other job needs.
    from pipelines.instance.old_runs import is_of_location, remove_old_runs  # noqa: PLC0415

    origin = context.run.remote_job_origin
    # A run that no daemon and no UI started does not say.
    location = None
    if origin is not None:
        location = origin.repository_origin.code_location_origin.location_name
    removal = remove_old_runs(
        context.instance,
        lambda run: is_of_location(run, location),
        now=dt.datetime.now(dt.UTC),
        failed_kept=dt.timedelta(days=read_settings().failed_runs_kept_days),
        patience=HOUSEKEEPING_PATIENCE,
    )
    rest = "" if removal.is_complete else " The time was over; the rest is for the next run."
    context.log.info(f"{removal.removed:,} runs removed, {removal.kept:,} kept.{rest}")


@dg.job(
    name=HOUSEKEEPING_JOB,
    description=(
        "Removes Dagster's records of runs that later ones have replaced. What was published "
        "stays, and so do the newest materialization of each day and the newest results of checks."
    ),
)
def housekeeping() -> None:
    """Removes old runs."""
    remove_replaced_runs()
