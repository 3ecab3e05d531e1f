"""A connection to the fleet database that speaks Arrow and fails without telling secrets.

Belongs here: opening it, running and streaming statements, and turning the driver's exceptions
into ours. Does not belong here: what is read, and what the URL means (`pipelines.postgres.address`,
which also says why ours are raised outside of `except` blocks).
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa
from adbc_driver_manager import dbapi as adbc
from adbc_driver_postgresql import StatementOptions
from adbc_driver_postgresql import dbapi as adbc_postgresql
from pydantic import SecretStr

from pipelines.fleet.errors import (
    FleetDatabaseError,
    FleetDatabaseMisconfigured,
    FleetDatabaseUnavailable,
)
from pipelines.postgres.address import Address, MalformedAddress
from pipelines.postgres.faults import cause_of

T = TypeVar("T")

# Before a connection exists there is no SQLSTATE, only words of libpq, the server or pgbouncer.
_NEEDS_A_PERSON = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|not permitted to log in"
    r"|does not exist|no such (user|database)|permission denied for database"
    r"|not currently accepting|does not support SSL|certificate"
    r"|invalid (value|integer|connection|\w+ value)"
    r"|definition of service|service file|unsupported startup parameter",
    re.IGNORECASE,
)
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
# A table or column that the preflight has just seen and that is gone now: a migration.
_GONE = ("42P01", "42703")
_DRIVER_WORDS = re.compile(
    r"^([A-Z_]+: )?\[libpq\] [^:]*: |[.]? SQLSTATE: \w{5}$|\nQuery was: ?.*", re.S
)


def fleet_address(url: SecretStr) -> Address:
    """Where the fleet database is.

    Raises:
        FleetDatabaseMisconfigured: the URL is malformed.
    """
    try:
        return Address.of(url, "FLEET_DATABASE_URL")
    except MalformedAddress as error:
        problem = str(error)
    raise FleetDatabaseMisconfigured(problem)


class FleetConnection:
    """An open connection; statements run as they are sent, transactions are the caller's."""

    def __init__(self, url: SecretStr) -> None:
        """Connects.

        Raises:
            FleetDatabaseMisconfigured: malformed URL, wrong password, no such database, ...
            FleetDatabaseUnavailable: the server can't be reached.
        """
        self.address = fleet_address(url)
        connection = _attempt(
            lambda: adbc_postgresql.connect(
                self.address.conninfo.get_secret_value(), autocommit=True
            ),
            self._connecting_failed,
        )
        if isinstance(connection, FleetDatabaseError):
            raise connection
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A broken connection that does not close is gone all the same; what broke it counts.
        _attempt(self._connection.close, self._statement_failed)

    def run(self, *statements: str) -> None:
        """Runs statements that return nothing, in one round trip.

        Raises:
            FleetDatabaseError: one of them failed.
        """
        with self._connection.cursor() as cursor:
            self._do(partial(cursor.executescript, ";\n".join(statements)))

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Runs a small query and returns its rows.

        Raises:
            FleetDatabaseError: it failed.
        """
        with self._connection.cursor() as cursor:
            self._do(partial(cursor.execute, statement))
            table = self._do(cursor.fetch_arrow_table)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def stream(self, statement: str, batch_bytes: int) -> Iterator[pa.RecordBatch]:
        """Runs a query and yields its rows in batches of about `batch_bytes`, never all at once.

        Raises:
            FleetDatabaseError: it failed, at its start or on the way.
        """
        with self._connection.cursor() as cursor:
            hint = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(batch_bytes)}
            cursor.adbc_statement.set_options(**hint)
            self._do(partial(cursor.execute, statement))
            reader = self._do(cursor.fetch_record_batch)
            while (batch := self._do(partial(next, reader, None))) is not None:
                yield batch

    def _do(self, action: Callable[[], T]) -> T:
        result = _attempt(action, self._statement_failed)
        if isinstance(result, FleetDatabaseError):
            raise result
        return result

    def _connecting_failed(self, error: Exception) -> FleetDatabaseError:
        said = self.address.said(_DRIVER_WORDS.sub("", str(error)).strip())
        if _NEEDS_A_PERSON.search(str(error)):
            return FleetDatabaseMisconfigured(
                f"The fleet database refuses us ({self.address.name}): {said}\n"
                "Check the URL (FLEET_DATABASE_URL) and where its password comes from (the URL, "
                "PGPASSWORD, PGPASSFILE, or the service file)."
            )
        return FleetDatabaseUnavailable(
            f"The fleet database can't be reached ({self.address.name}): {said}"
        )

    def _statement_failed(self, error: Exception) -> FleetDatabaseError:
        state = error.sqlstate or "" if isinstance(error, adbc.Error) else ""
        said = self.address.said(_words_of_server(error))
        if state == _LOCK_TIMEOUT:
            said += " Another session changes or locks these tables (a migration, VACUUM FULL?)."
        if "conflict with recovery" in said:
            said += (
                " This is a standby: hot_standby_feedback, or a longer max_standby_streaming_delay,"
                " lets long reads finish."
            )
        if state == _CANCELLED and "timeout" in said:
            said += " The server is too busy, or the time-out too short."
        # A stream that breaks has no SQLSTATE: the connection, a time-out, a standby's conflict.
        if cause_of(state).passes or state in _GONE:
            return FleetDatabaseUnavailable(
                f"Reading the fleet database was interrupted ({self.address.name}): {said}"
            )
        return FleetDatabaseMisconfigured(
            f"The fleet database can't be read ({self.address.name}): {said} (SQLSTATE {state})"
        )


def _attempt(
    action: Callable[[], T], translate: Callable[[Exception], FleetDatabaseError]
) -> T | FleetDatabaseError:
    """Runs an action; a failure is returned, so that it can be raised with no context."""
    try:
        return action()
    except (adbc.Error, OSError, pa.ArrowException) as error:
        return translate(error)


def _words_of_server(error: Exception) -> str:
    details = dict(error.details or ()) if isinstance(error, adbc.Error) else {}
    texts = {
        (key.decode() if isinstance(key, bytes) else key): value.decode("utf-8", "backslashreplace")
        for key, value in details.items()
    }
    parts = [texts.get(f"PG_DIAG_MESSAGE_{part}") for part in ("PRIMARY", "DETAIL", "HINT")]
    return ". ".join(part for part in parts if part) or _DRIVER_WORDS.sub("", str(error)).strip()
