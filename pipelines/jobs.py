"""The jobs: which assets are made together."""

import dagster as dg
from dagster import MAX_RUNTIME_SECONDS_TAG

from pipelines.units import DAY

FLEET_STATUS_JOB = "fleet_status"
BACKFILL_JOB = "backfill"
BACKFILL_LIMIT = {MAX_RUNTIME_SECONDS_TAG: str(DAY)}
PAGES_JOB = "report_pages"

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
