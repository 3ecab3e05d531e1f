"""Where each system and each flake stands, one snapshot a day."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from assets.compute.feeds import FeedRule
from assets.compute.flake_freshness import quiet_flakes
from assets.compute.flake_status import flake_deployment_status as summarise_flakes
from assets.compute.fleet import frame_from_arrow
from assets.compute.forges import OwnForges
from assets.compute.status import system_deployment_status as judge_systems
from assets.compute.vocabulary import NOT_RECORDED
from assets.publishing.checks import (
    COUNTS_SUM,
    FEEDS_CURRENT,
    NO_JUMP_OF_UNKNOWN,
    NO_QUIET_FLAKE,
    FlakeCounts,
    JudgedCheck,
    UnknownShares,
    conformity_checks,
    share_of_unknown,
)
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day, not_closed
from assets.publishing.interfaces import ReportStore
from assets.publishing.loading import FLEET, FleetLoader
from assets.publishing.partitions import StepEvents, publish_days
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS


@daily_dataset(
    SYSTEM_DEPLOYMENT_STATUS,
    deps=FLEET,
    group="deployment_status",
    kinds={"pandas", "parquet"},
    checks=[*conformity_checks(SYSTEM_DEPLOYMENT_STATUS), NO_JUMP_OF_UNKNOWN],
)
def system_deployment_status(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
    feed_rule: dg.ResourceParam[FeedRule],
) -> StepEvents:
    """Judges every system as of each day of the run."""
    loaded = fleet.load(context.run)
    unknown_before = _share_before(reports, min(context.partition_keys))

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        nonlocal unknown_before
        status = judge_systems(loaded.timeline, day.snapshot_at, day.extracted_at, feed_rule)
        shares = UnknownShares(share_of_unknown(status["deployment_status"]), unknown_before)
        unknown_before = shares.now
        return status, [NO_JUMP_OF_UNKNOWN.on(shares)]

    days = loaded.days(context)
    if (reason := not_closed(days, pd.Timestamp.now("UTC"))) is not None:
        context.log.warning(reason)
    yield from publish_days(context, SYSTEM_DEPLOYMENT_STATUS, days, reports, compute)


def _share_before(reports: ReportStore, first_day: str) -> float | None:
    """The share of unknown systems in the last snapshot published before the day."""
    earlier = [
        date
        for date in reports.published_dates(SYSTEM_DEPLOYMENT_STATUS)
        if date.isoformat() < first_day
    ]
    if not earlier:
        return None
    published = reports.read(SYSTEM_DEPLOYMENT_STATUS, earlier[-1], ["deployment_status"])
    return share_of_unknown(published["deployment_status"].to_pylist())


@daily_dataset(
    FLAKE_DEPLOYMENT_STATUS,
    deps=[*FLEET, SYSTEM_DEPLOYMENT_STATUS.name],
    group="deployment_status",
    kinds={"pandas", "parquet"},
    checks=[
        *conformity_checks(FLAKE_DEPLOYMENT_STATUS),
        COUNTS_SUM,
        FEEDS_CURRENT,
        NO_QUIET_FLAKE,
    ],
)
def flake_deployment_status(
    context: dg.AssetExecutionContext,
    fleet: dg.ResourceParam[FleetLoader],
    reports: dg.ResourceParam[ReportStore],
    feed_rule: dg.ResourceParam[FeedRule],
    own_forges: dg.ResourceParam[OwnForges],
) -> StepEvents:
    """Counts the systems of every flake as of each day of the run."""
    loaded = fleet.load(context.run)
    timeline = loaded.timeline
    days = loaded.days(context)

    def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
        status = frame_from_arrow(reports.read(SYSTEM_DEPLOYMENT_STATUS, day.date))
        flakes = summarise_flakes(
            timeline, status, day.snapshot_at, day.extracted_at, feed_rule, own_forges
        )
        judged = [COUNTS_SUM.on(FlakeCounts(status, flakes))]
        if day == days[-1]:
            judged.append(FEEDS_CURRENT.on(flakes))
            quiet = quiet_flakes(timeline, day.snapshot_at)
            told = flakes.loc[flakes["feed_status"] != NOT_RECORDED, "flake_id"]
            judged.append(NO_QUIET_FLAKE.on(quiet[~quiet["flake_id"].isin(told)]))
        return flakes, judged

    yield from publish_days(context, FLAKE_DEPLOYMENT_STATUS, days, reports, compute)
