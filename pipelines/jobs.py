"""The jobs: which assets are made together."""

import dagster as dg

FLEET_STATUS_JOB = "fleet_status"

fleet_status = dg.define_asset_job(
    FLEET_STATUS_JOB,
    selection=dg.AssetSelection.all(),
    description=(
        "Reads the fleet database once and publishes everything that follows from it, for one day "
        "or for a range of days."
    ),
)
