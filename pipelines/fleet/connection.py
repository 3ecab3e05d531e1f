"""A connection to the fleet database that speaks Arrow, never hangs, and tells no secrets.

Belongs here: running and streaming statements, giving up on a server that sends nothing, and what
a failure means to a person. Does not belong here: what is read; what the URL means
(`pipelines.postgres.address`, which also says why failures are raised outside of `except` blocks);
the driver, which runs in a process of its own (`pipelines.fleet.reader` says why).
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pydantic import SecretStr

from pipelines.fleet.errors import (
    FleetDatabaseError,
    FleetDatabaseMisconfigured,
    FleetDatabaseUnavailable,
)
from pipelines.fleet.messages import Answer, Order, batch_in, receive, send_order
from pipelines.postgres.address import Address, MalformedAddress
from pipelines.postgres.faults import Cause, cause_of
from pipelines.postgres.refusal import Refusal
from pipelines.postgres.session import PINNED

_PROGRAM = "from pipelines.fleet.reader import main; main()"
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
# A table or column that the preflight has just seen and that is gone now: a migration.
_GONE = ("42P01", "42703")
# Of all serialization failures, the one that a reader meets: a standby that has to go on.
_CONFLICT = "40001"


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

    def __init__(self, url: SecretStr, patience: timedelta) -> None:
        """Connects.

        Args:
            url: libpq URL or conninfo string.
            patience: how long the server may send nothing before it is given up on.

        Raises:
            FleetDatabaseMisconfigured: malformed URL, wrong password, no such database, ...
            FleetDatabaseUnavailable: the server can't be reached.
        """
        self.address = fleet_address(url)
        self._patience = patience.total_seconds()
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._reader = self._start(theirs)
        try:
            self._order(Order.CONNECT, conninfos=self._conninfos())
            self._finish("connecting")
        except BaseException:
            self._end()
            raise

    def _conninfos(self) -> list[SecretStr]:
        """With our settings from the first moment, and without.

        The driver asks the catalogue as soon as it is connected, by bare names of operators, and
        takes the answer word for word. Poolers refuse options: there it has to ask under the
        settings of the database.
        """
        return [self.address.with_options(PINNED), self.address.conninfo]

    def _start(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        passed_on = (theirs.fileno(), os.getpid(), self._patience)
        return subprocess.Popen(
            # Without the working folder, in which anything may be called `pipelines`.
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, passed_on)],
            env={**os.environ, "PYTHONPATH": _path_of_modules()},
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            # What it has to say comes through the socket; libpq's own words could quote the URL.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        # No farewell to the server, which it might not take: it sees that the socket is closed.
        self._ours.close()
        self._reader.kill()
        self._reader.wait()

    def run(self, *statements: str, longer: timedelta = timedelta()) -> None:
        """Runs statements that return nothing, in one round trip.

        Args:
            statements: what to run.
            longer: how much longer than usual the server may take, because it waits for others.

        Raises:
            FleetDatabaseError: one of them failed.
        """
        self._order(Order.RUN, statement=";\n".join(statements))
        self._finish("opening the transaction", longer.total_seconds())

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Runs a small query and returns its rows.

        Raises:
            FleetDatabaseError: it failed.
        """
        self._order(Order.STREAM, statement=statement)
        return [row for batch in self._batches("the catalogue") for row in batch.to_pylist()]

    def stream(self, statement: str, table: str, batch_bytes: int) -> Iterator[pa.RecordBatch]:
        """Runs a query and yields its rows in batches of about `batch_bytes`, never all at once.

        Args:
            statement: the query.
            table: what it reads, for messages.
            batch_bytes: a hint.

        Raises:
            FleetDatabaseError: it failed, at its start or on the way.
        """
        self._order(Order.STREAM, statement=statement, batch_bytes=batch_bytes)
        yield from self._batches(table)

    def _order(self, order: Order, **details: Any) -> None:
        plain = {
            name: [text.get_secret_value() for text in value] if name == "conninfos" else value
            for name, value in details.items()
        }
        # Whether the other process is gone, the answer tells.
        with suppress(OSError):
            send_order(self._ours, order, **plain)

    def _finish(self, doing: str, longer: float = 0) -> None:
        for _ in self._batches(doing, longer):
            continue

    def _batches(self, reading: str, longer: float = 0) -> Iterator[pa.RecordBatch]:
        while True:
            kind, content = self._next(reading, longer)
            if kind == Answer.DONE:
                return
            if kind == Answer.BATCH:
                yield batch_in(content)
            else:
                raise self._failure(kind, json.loads(bytes(content)), reading)

    def _next(self, reading: str, longer: float) -> tuple[bytes, memoryview]:
        seconds = self._patience + longer
        self._ours.settimeout(seconds)
        try:
            return receive(self._ours)
        except TimeoutError:
            # What comes late would be taken for the answer to something else.
            self._end()
            problem = (
                f"it sent nothing for {seconds:g} s ({reading}). DATABASE_STALL_SECONDS says how "
                "long to wait."
            )
        except (EOFError, OSError):
            status = self._reader.wait()
            problem = f"the process that reads it ended, with status {status} ({reading})."
        raise self._interrupted(problem)

    def _failure(self, kind: bytes, fields: dict[str, Any], reading: str) -> FleetDatabaseError:
        if kind == Answer.REFUSAL:
            return self._refused(Refusal.of(fields))
        state: str = fields["state"]
        said = self.address.said(fields["said"])
        cause = cause_of(state)
        if cause.passes or state in _GONE:
            return self._interrupted(said + _advice_on_passing(state))
        if cause is Cause.DATA:
            said += (
                f" A row of {reading}, or an expression of it if it is a view or has computed "
                f"columns, fails when it is read. Read it whole in psql as the role of "
                "FLEET_DATABASE_URL to find it, and correct the row or the expression."
            )
        elif cause is Cause.DAMAGED:
            said += f" What is stored of {reading} is damaged; the server's log says more."
        return FleetDatabaseMisconfigured(
            f"The fleet database can't be read ({self.address.name}), reading {reading}: {said} "
            f"(SQLSTATE {state})"
        )

    def _refused(self, refusal: Refusal) -> FleetDatabaseError:
        if refusal.passes:
            return FleetDatabaseUnavailable(
                f"The fleet database can't be reached ({self.address.name}): "
                f"{refusal.in_words(self.address)}"
            )
        return FleetDatabaseMisconfigured(
            f"The fleet database can't be connected to ({self.address.name}): "
            f"{refusal.in_words(self.address)}"
        )

    def _interrupted(self, problem: str) -> FleetDatabaseUnavailable:
        return FleetDatabaseUnavailable(
            f"Reading the fleet database was interrupted ({self.address.name}): {problem}"
        )


def _path_of_modules() -> str:
    """Where the program finds what we found, the working folder among it if we look there."""
    return os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)


def _advice_on_passing(state: str) -> str:
    if state == _LOCK_TIMEOUT:
        return " Another session changes or locks these tables (a migration, VACUUM FULL?)."
    if state == _CONFLICT:
        return (
            " This is a standby: hot_standby_feedback, or a longer max_standby_streaming_delay,"
            " lets long reads finish."
        )
    if state == _CANCELLED:
        return (
            " Somebody cancelled it, or it took longer than FLEET_STATEMENT_TIMEOUT_SECONDS: the "
            "server is too busy, or the time-out too short."
        )
    return ""
