"""From the settings to the resources, each made only when a step first needs it.

They are functions and no `ConfigurableResource`: Dagster would fix the values of its fields when
the definitions are loaded, show them, and store them with each run, and what an `EnvVar` names has
no default and is not looked up in `.env`. Without fields, or with another resource for a field, it
warns of deprecated calls of its own (dagster 1.13, pydantic 2.14). So the UI shows the name and the
docstring of each function and no value, and secrets stay in `SecretStr` up to the connection.

The databases' modules are imported when a step first asks: they bring the drivers, which whoever
only shows the definitions does without.
"""

import datetime as dt

import dagster as dg

from assets.compute.feeds import FeedRule
from assets.compute.forges import OwnForges
from assets.publishing.interfaces import FleetSource, HistoryDatabase
from assets.publishing.loading import FleetLoader
from assets.publishing.retries import Retries
from pipelines.settings import read_settings
from pipelines.store.report_store import ReportStore


@dg.resource
def report_store(_: dg.InitResourceContext) -> ReportStore:
    """The Parquet files under REPORTS_DIR."""
    settings = read_settings()
    return ReportStore(settings.reports_dir, files_mode=int(settings.published_files_mode, base=8))


@dg.resource(required_resource_keys={"reports"})
def fleet_loader(context: dg.InitResourceContext) -> FleetLoader:
    """The staged extract of the run, indexed."""
    return FleetLoader(context.resources.reports)


@dg.resource
def fleet_database(_: dg.InitResourceContext) -> FleetSource:
    """The fleet database, read only. That of FLEET_DATABASE_URL, or the demo fleet."""
    from pipelines.databases import DemoFleetDatabase, embedded_server  # noqa: PLC0415
    from pipelines.fleet.extraction import FleetDatabase  # noqa: PLC0415

    settings = read_settings()
    if settings.fleet_database_url is None:
        return DemoFleetDatabase(embedded_server(settings))
    return FleetDatabase(
        settings.fleet_database_url,
        lock_timeout=dt.timedelta(seconds=settings.fleet_lock_timeout_seconds),
        statement_timeout=dt.timedelta(seconds=settings.fleet_statement_timeout_seconds),
        patience=dt.timedelta(seconds=settings.database_stall_seconds),
    )


@dg.resource
def history_database(_: dg.InitResourceContext) -> HistoryDatabase:
    """Schema `flakelag` of the database of HISTORY_DATABASE_URL, or one in the embedded server."""
    from pipelines.databases import EmbeddedHistoryDatabase, embedded_server  # noqa: PLC0415
    from pipelines.history.database import HistoryDatabase as History  # noqa: PLC0415

    settings = read_settings()
    if settings.history_database_url is None:
        return EmbeddedHistoryDatabase(embedded_server(settings))
    return History(
        settings.history_database_url,
        patience=dt.timedelta(seconds=settings.database_stall_seconds),
    )


@dg.resource
def retries(_: dg.InitResourceContext) -> Retries:
    """How a step is tried again that a database has failed: the pauses."""
    return Retries(read_settings().extract_retry_seconds)


@dg.resource
def feed_rule(_: dg.InitResourceContext) -> FeedRule:
    """When the feed of a flake is stale: FEED_STALE_HOURS."""
    return FeedRule(read_settings().feed_stale_hours)


@dg.resource
def own_forges(_: dg.InitResourceContext) -> OwnForges:
    """What runs on hosts of one's own that flakes come from: FORGE_HOSTS."""
    return OwnForges.read(read_settings().forge_hosts or "")


RESOURCES = {
    "reports": report_store,
    "fleet": fleet_loader,
    "fleet_database": fleet_database,
    "history": history_database,
    "retries": retries,
    "feed_rule": feed_rule,
    "own_forges": own_forges,
}
"""The resources of the assets, by name."""
