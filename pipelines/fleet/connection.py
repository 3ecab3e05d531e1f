"""A connection to the fleet database that speaks Arrow and fails without telling secrets.

Belongs here: opening it, running and streaming statements, and turning the driver's exceptions into
ours. Does not belong here: what is read.

Messages of libpq quote pieces of a malformed URL, the password among them, and tools print an
exception's context and its frames' variables. Hence ours are raised outside of `except` blocks, so
that nothing of the original hangs on to them, and plain text of the URL lives only in frames that
have returned.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
import pyarrow as pa
from adbc_driver_manager import dbapi as adbc
from adbc_driver_postgresql import StatementOptions
from adbc_driver_postgresql import dbapi as adbc_postgresql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from assets.publishing.display import display_sentence
from pipelines.fleet.errors import (
    FleetDatabaseError,
    FleetDatabaseMisconfigured,
    FleetDatabaseUnavailable,
)

T = TypeVar("T")

# A server that vanishes without a word is noticed after a minute, not after the kernel's two hours.
_OUR_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "flakelag",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_HOSTS = re.compile(r"([\w.:%-]*|[/@][^,]*)(,([\w.:%-]*|[/@][^,]*))*")
_PORTS = re.compile(r"\d*(,\d*)*")
_URL = re.compile(r"postgres(?:ql)?://(?:[^:/@]*:(?P<password>[^/@]*)@)?[^/]*(?:/(?P<path>[^?]*))?")
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
# By SQLSTATE or its class: connection lost, serialization failure, out of resources, cancelled or
# shut down, transaction time-outs, lock not available; a table or column that the preflight has
# just seen and that is gone now.
_PASSES = re.compile(r"08|40|53|57|25P0[34]|55P03|42P01|42703")
_DRIVER_WORDS = re.compile(
    r"^([A-Z_]+: )?\[libpq\] [^:]*: |[.]? SQLSTATE: \w{5}$|\nQuery was: ?.*", re.S
)


@dataclass(frozen=True)
class FleetServer:
    """Where the fleet database is.

    Attributes:
        conninfo: for libpq, with our time-outs where the user gave none.
        name: for messages; without password.
        secrets: what no message may contain.
    """

    conninfo: SecretStr
    name: str
    secrets: tuple[SecretStr, ...]

    @classmethod
    def at(cls, url: SecretStr) -> Self:
        """Takes a libpq URL or conninfo string.

        Raises:
            FleetDatabaseMisconfigured: it is malformed.
        """
        server = cls._parse(url)
        if server is None:
            raise FleetDatabaseMisconfigured(
                "The URL of the fleet database (FLEET_DATABASE_URL) is malformed. It reads "
                "postgresql://user:password@host:port/database. In user and password, write these "
                "characters percent-encoded: % as %25, / as %2F, @ as %40, : as %3A, ? as %3F, "
                "# as %23, space as %20."
            )
        return server

    @classmethod
    def _parse(cls, url: SecretStr) -> Self | None:
        text = url.get_secret_value().strip()
        try:
            given = conninfo_to_dict(text)
        except (psycopg.Error, ValueError):
            return None
        host, port = (str(given.get(name, "")) for name in ("host", "port"))
        # Where a password holds an unencoded "/" or "@", libpq takes its parts for host, port or
        # database.
        in_url = _URL.match(text)
        path = in_url["path"] or "" if in_url else ""
        if not _HOSTS.fullmatch(host) or not _PORTS.fullmatch(port) or "@" in path:
            return None
        service = given.get("service") or os.environ.get("PGSERVICE")
        # A service file, or the environment, may say otherwise than our defaults.
        defaults = {k: v for k, v in _OUR_DEFAULTS.items() if k not in given and not service}
        if "PGCONNECT_TIMEOUT" in os.environ:
            defaults.pop("connect_timeout", None)
        names = {
            "service": service,
            "host": host or os.environ.get("PGHOST"),
            "port": port or os.environ.get("PGPORT"),
            "database": given.get("dbname") or os.environ.get("PGDATABASE"),
            "user": given.get("user") or os.environ.get("PGUSER"),
        }
        passwords = (
            given.get("password"),
            in_url["password"] if in_url else None,
            given.get("sslpassword"),
            os.environ.get("PGPASSWORD"),
        )
        secrets = [str(password) for password in passwords if password]
        # A name that is also the password is not told either.
        harmless = {
            part: name
            for part, name in names.items()
            if name and not any(secret in str(name) for secret in secrets)
        }
        return cls(
            conninfo=SecretStr(make_conninfo(text, **defaults)),
            name=", ".join(f"{part} {name}" for part, name in harmless.items()),
            secrets=tuple(SecretStr(secret) for secret in secrets),
        )

    def said(self, text: str) -> str:
        """What the server or libpq said, withheld if it quotes a secret."""
        if any(secret.get_secret_value() in text for secret in self.secrets):
            return "(its message quotes the password and is withheld)"
        return display_sentence(text)


class FleetConnection:
    """An open connection; statements run as they are sent, transactions are the caller's."""

    def __init__(self, url: SecretStr) -> None:
        """Connects.

        Raises:
            FleetDatabaseMisconfigured: malformed URL, wrong password, no such database, ...
            FleetDatabaseUnavailable: the server can't be reached.
        """
        self.server = FleetServer.at(url)
        connection = _attempt(
            lambda: adbc_postgresql.connect(
                self.server.conninfo.get_secret_value(), autocommit=True
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
        said = self.server.said(_DRIVER_WORDS.sub("", str(error)).strip())
        if _NEEDS_A_PERSON.search(str(error)):
            return FleetDatabaseMisconfigured(
                f"The fleet database refuses us ({self.server.name}): {said}\n"
                "Check the URL (FLEET_DATABASE_URL) and where its password comes from (the URL, "
                "PGPASSWORD, PGPASSFILE, or the service file)."
            )
        return FleetDatabaseUnavailable(
            f"The fleet database can't be reached ({self.server.name}): {said}"
        )

    def _statement_failed(self, error: Exception) -> FleetDatabaseError:
        state = error.sqlstate or "" if isinstance(error, adbc.Error) else ""
        said = self.server.said(_words_of_server(error))
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
        if not state or _PASSES.match(state):
            return FleetDatabaseUnavailable(
                f"Reading the fleet database was interrupted ({self.server.name}): {said}"
            )
        return FleetDatabaseMisconfigured(
            f"The fleet database can't be read ({self.server.name}): {said} (SQLSTATE {state})"
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
