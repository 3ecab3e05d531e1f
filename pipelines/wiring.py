"""From the settings to the resources, each made only when a step first needs it."""

import datetime as dt
from collections.abc import Callable

import dagster as dg
from pydantic import SecretStr
from typing_extensions import override

from assets.publishing.interfaces import ExtractSink
from assets.publishing.loading import FleetLoader
from pipelines.demo.ensure import ensure_demo_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.extraction import ExtractSummary, FleetDatabase
from pipelines.history.database import HistoryDatabase
from pipelines.settings import Settings
from pipelines.store.report_store import ReportStore

SettingsProvider = Callable[[], Settings]

HISTORY_DATABASE = "history"


class DemoFleetDatabase:
    """The demo fleet in the embedded server: started and filled when it is first read."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables of the demo fleet as of one instant; see `FleetDatabase.extract`."""
        self._server.start()
        url = ensure_demo_fleet(self._server, dt.datetime.now(dt.UTC))
        return FleetDatabase(SecretStr(url)).extract(sink)


def fleet_database(settings: Settings) -> FleetDatabase | DemoFleetDatabase:
    """The database of FLEET_DATABASE_URL, or the demo fleet."""
    if settings.fleet_database_url is None:
        return DemoFleetDatabase(EmbeddedPostgres(settings.embedded_postgres_dir))
    return FleetDatabase(
        settings.fleet_database_url,
        lock_timeout=dt.timedelta(seconds=settings.fleet_lock_timeout_seconds),
        statement_timeout=dt.timedelta(seconds=settings.fleet_statement_timeout_seconds),
        patience=dt.timedelta(seconds=settings.database_stall_seconds),
    )


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


def history_database(settings: Settings) -> HistoryDatabase:
    """The database of HISTORY_DATABASE_URL, or one in the embedded server."""
    if settings.history_database_url is None:
        return EmbeddedHistoryDatabase(EmbeddedPostgres(settings.embedded_postgres_dir))
    return HistoryDatabase(
        settings.history_database_url,
        patience=dt.timedelta(seconds=settings.database_stall_seconds),
    )


def build_resources(settings: SettingsProvider) -> dict[str, dg.ResourceDefinition]:
    """The resources of the assets, by name; nothing is read or opened yet."""
    return {
        "reports": dg.ResourceDefinition(
            lambda _: ReportStore(settings().reports_dir),
            description="The Parquet files under REPORTS_DIR.",
        ),
        "fleet": dg.ResourceDefinition(
            lambda context: FleetLoader(context.resources.reports),
            required_resource_keys={"reports"},
            description="The staged extract of the run, indexed.",
        ),
        "fleet_database": dg.ResourceDefinition(
            lambda _: fleet_database(settings()),
            description="The fleet database, read only.",
        ),
        "history": dg.ResourceDefinition(
            lambda _: history_database(settings()),
            description="The history database, schema `flakelag`.",
        ),
        "first_retry_seconds": dg.ResourceDefinition(
            lambda _: settings().extract_retry_seconds,
            description="Pause before the first retry of a failed extraction.",
        ),
    }
