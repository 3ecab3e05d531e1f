"""The demo fleet of the embedded server: there when it is needed, made once.

Belongs here: which demo fleet a newcomer sees, and as whom it is read. Does not belong here: making
or loading fleets in general.
"""

import logging
from datetime import datetime
from importlib import resources

import psycopg

from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import fill_database
from pipelines.embedded.postgres import EmbeddedPostgres

DEMO_DATABASE = "fleet"
READER_ROLE = "flakelag_reader"

# Of our own choosing: who makes the demo fleet holds this advisory lock.
_ADVISORY_LOCK = 7_305_809

_logger = logging.getLogger(__name__)


def ensure_demo_fleet(server: EmbeddedPostgres, now: datetime) -> str:
    """Makes the demo fleet in the server's database `fleet`, unless it is there.

    It is made once, as of `now`, and not moved on: a second report reads what the first one read,
    as it would from a fleet in which nothing has happened. Loading and granting are one
    transaction, so a process that is killed leaves nothing, and of two that begin at once the
    second one waits and finds it done.

    Args:
        server: started.
        now: the present of the fleet, aware.

    Returns:
        The URL for reading it as the role `flakelag_reader`, which may do nothing else.
    """
    with psycopg.connect(server.ensure_database(DEMO_DATABASE)) as connection:
        if not _is_there(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
            if not _is_there(connection):
                _logger.info("Making the demo fleet; this happens once.")
                spec = DemoFleet(until=now)
                fill_database(connection, generate_fleet(spec), spec.generation)
                grant_reader_role(connection)
    return server.url(DEMO_DATABASE, user=READER_ROLE)


def grant_reader_role(connection: psycopg.Connection) -> None:
    """Makes the role `flakelag_reader` and lets it read the fleet, within the transaction."""
    script = resources.files("pipelines").joinpath("sql", "reader_role.sql")
    connection.execute(script.read_bytes())


def _is_there(connection: psycopg.Connection) -> bool:
    # Not to_regclass: within a transaction it may remember that there was no such table.
    query = "SELECT FROM pg_catalog.pg_tables WHERE (schemaname, tablename) = ('public', 'flakes')"
    return connection.execute(query).fetchone() is not None
