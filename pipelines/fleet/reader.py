"""The program that reads the fleet database for us, so that nothing it waits for can hang us.

Belongs here: the driver, the connection, and doing what it is told. Does not belong here: what is
read, and what a failure means to a person (`pipelines.fleet.connection`).

Why a process. A server that falls silent leaves the driver waiting inside its C code, where signals
are not seen: for a host to be looked up, a handshake, the next batch. Tried against a proxy that
swallows everything after some bytes: `tcp_user_timeout` and keepalives see a healthy connection;
the driver's own cancel asks the server over a second connection, and hangs as well; shutting the
socket down from another thread wakes the driver, but it does not say which descriptor is its own,
and has none yet while it looks a host up. A process can be killed at any moment, over TCP, TLS and
Unix sockets alike, and the kernel closes whatever it had open.

It lives no longer than who started it, and gives up when that one takes nothing for as long as the
deadline is: so a stopped reader lets go of the owner's tables even over a Unix socket, where the
server itself would wait for ever.
"""

import os
import re
import select
import signal
import socket
import sys
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement, Error

# Asks the driver for the SQLSTATE of a stream that breaks, which DBAPI's reader does not.
from adbc_driver_manager._reader import AdbcRecordBatchReader

from pipelines.fleet.messages import Answer, Order, receive_order, send, send_batch, send_json

if TYPE_CHECKING:
    from pipelines.postgres.refusal import Refusal

_POLL_MILLISECONDS = 1000
_DRIVER_WORDS = re.compile(
    r"^([A-Z_]+: )?\[libpq\] [^:]*: |[.]? SQLSTATE: \w{5}$|\nQuery was: ?.*", re.DOTALL
)


def main() -> None:
    """Obeys orders from a socket until it closes.

    Arguments of the program: the socket's descriptor, the id of the process at its other end, and
    the longest time, in seconds, that this one may take to receive something.
    """
    # Ctrl-C and Ctrl-Z at the terminal are for who started us, and it ends us when it ends.
    for number in (signal.SIGINT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, other, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    threading.Thread(target=_end_with, args=(other, os.dup(descriptor)), daemon=True).start()
    with suppress(EOFError, OSError), socket.socket(fileno=descriptor) as ours:
        _Reader(ours, patience).obey()
    # Not through the driver's clean-up, which may wait for the server.
    os._exit(0)


def _end_with(other: int, descriptor: int) -> None:
    """Ends this process when the other is gone, whatever the driver waits for meanwhile."""
    poll = select.poll()
    # Only for the news that the other end is closed, which comes unasked.
    poll.register(descriptor, 0)
    while not poll.poll(_POLL_MILLISECONDS) and os.getppid() == other:
        continue
    os._exit(0)


class _Reader:
    def __init__(self, ours: socket.socket, patience: float) -> None:
        self._ours = ours
        self._patience = patience
        self._connection: AdbcConnection | None = None

    def obey(self) -> None:
        while True:
            # The next order may be long in coming: what was read is being worked on. The server
            # has a time-out of its own for that.
            self._ours.settimeout(None)
            order, details = receive_order(self._ours)
            self._ours.settimeout(self._patience)
            if order is Order.CONNECT:
                self._connect(**details)
            else:
                self._execute(order, **details)

    def _connect(self, conninfos: list[str]) -> None:
        for conninfo in conninfos:
            try:
                self._connection = AdbcConnection(adbc_driver_postgresql.connect(conninfo))
            except Error as error:
                refusal = _refusal(conninfo, _DRIVER_WORDS.sub("", str(error)).strip())
                if not (refusal.is_of_a_pooler and conninfo != conninfos[-1]):
                    send_json(self._ours, Answer.REFUSAL, **vars(refusal))
                    return
            else:
                send(self._ours, Answer.DONE)
                return

    def _execute(self, order: Order, statement: str, batch_bytes: int = 0) -> None:
        try:
            with closing(AdbcStatement(self._connection)) as prepared:
                prepared.set_sql_query(statement)
                if order is Order.RUN:
                    prepared.execute_update()
                else:
                    if batch_bytes:
                        hint = adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES
                        prepared.set_options(**{hint.value: str(batch_bytes)})
                    self._send_rows(prepared)
        except (Error, pa.ArrowException) as error:
            send_json(self._ours, Answer.FAULT, **_described(error))
        else:
            send(self._ours, Answer.DONE)

    def _send_rows(self, statement: AdbcStatement) -> None:
        stream, _ = statement.execute_query()
        with AdbcRecordBatchReader._import_from_c(stream.address) as batches:
            for batch in batches:
                send_batch(self._ours, batch)


def _refusal(conninfo: str, words: str) -> "Refusal":
    # Takes a moment to import, and is seldom needed.
    from pipelines.postgres.refusal import Matter, Refusal, why_refused  # noqa: PLC0415

    # That a second attempt finds nothing wrong means that the fault has passed.
    return why_refused(conninfo) or Refusal(Matter.BUSY, passes=True, said=words)


def _described(error: Exception) -> dict[str, Any]:
    state = error.sqlstate or "" if isinstance(error, Error) else ""
    details = dict(error.details or ()) if isinstance(error, Error) else {}
    texts = {
        (key.decode() if isinstance(key, bytes) else key): value.decode("utf-8", "backslashreplace")
        for key, value in details.items()
    }
    parts = [texts.get(f"PG_DIAG_MESSAGE_{part}") for part in ("PRIMARY", "DETAIL", "HINT")]
    said = ". ".join(part for part in parts if part) or _DRIVER_WORDS.sub("", str(error)).strip()
    return {"state": state, "said": said}
