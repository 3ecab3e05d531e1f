"""From the settings to the resources, each made only when a step first needs it.

They are functions and no `ConfigurableResource`: Dagster would fix the values of its fields when
the definitions are loaded, show them, and store them with each run, and what an `EnvVar` names has
no default and is not looked up in `.env`. Without fields, or with another resource for a field, it
warns of deprecated calls of its own (dagster 1.13, pydantic 2.14). So the UI shows the name and the
docstring of each function and no value, and secrets stay in `SecretStr` up to the connection.
"""

import datetime as dt

import dagster as dg
from pydantic import SecretStr
from typing_extensions import override

from assets.compute.feeds import FeedRule
from assets.compute.forges import OwnForges
from assets.publishing.interfaces import ExtractSink, ExtractSummary, FleetSource
from assets.publishing.loading import FleetLoader
from assets.publishing.retries import Retries
from pipelines.demo.ensure import ensure_demo_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.extraction import FleetDatabase
from pipelines.history.database import HistoryDatabase
from pipelines.settings import Settings, read_settings
from pipelines.store.report_store import ReportStore

HISTORY_DATABASE = "history"


def embedded_server(settings: Settings) -> EmbeddedPostgres:
    """The embedded server below FLAKELAG_VAR_DIR, not started."""
    return EmbeddedPostgres(settings.embedded_postgres_dir, var_dir=settings.flakelag_var_dir)


class DemoFleetDatabase:
    """The demo fleet in the embedded server: started and filled when it is first read."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables of the demo fleet as of one instant; see `FleetDatabase.extract`."""
        self._server.start()
        url = ensure_demo_fleet(self._server, dt.datetime.now(dt.UTC))
        return FleetDatabase(SecretStr(url)).extract(sink)


class EmbeddedHistoryDatabase(HistoryDatabase):
    """The history in the embedded server, which starts with the migration that precedes all use."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__(SecretStr(""))
        self._server = server

    @override
    def migrate(self, *, set_database_search_path: bool = True) -> list[str]:
        self._server.start()
        self._url = SecretStr(self._server.ensure_database(HISTORY_DATABASE))
        return super().migrate(set_database_search_path=set_database_search_path)


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
    settings = read_settings()
    if settings.history_database_url is None:
        return EmbeddedHistoryDatabase(embedded_server(settings))
    return HistoryDatabase(
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
