"""The databases that there are when none is set: both in the embedded server.

Belongs here: which server, and when it starts. Does not belong here: what is read and kept.
"""

import datetime as dt

from pydantic import SecretStr
from typing_extensions import override

from assets.publishing.interfaces import ExtractSink, ExtractSummary
from pipelines.demo.ensure import ensure_demo_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.extraction import FleetDatabase
from pipelines.history.database import HistoryDatabase
from pipelines.settings import Settings

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
