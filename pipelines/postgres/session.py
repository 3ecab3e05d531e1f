"""Sessions that mean the same whatever a database or role was set to, and that never hang.

Belongs here: the settings that every session of ours has, and connecting through psycopg with a
bound on every wait. Does not belong here: the fleet's reads, which go through another driver
(`pipelines.fleet.reader`).

A server, or a proxy before it, can take what we send and never answer. The kernel finds nothing
wrong with that: no `tcp_user_timeout` and no keepalive ends it, and a time-out of the server's
never arrives. So each wait has a deadline of its own here. psycopg waits in Python, where a signal
is heard and a deadline is kept; what it can't wait for in that way, looking up a host above all,
happens in another thread, which is left behind when it takes too long.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.errors import _WaitTimeout
from typing_extensions import override

from pipelines.postgres.address import Address
from pipelines.postgres.refusal import Matter, Refusal, why_refused

T = TypeVar("T")

PINNED: Mapping[str, str] = {
    # Nothing but the server's own functions, operators and types answers to a bare name.
    "search_path": "pg_catalog,pg_temp",
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    # A policy that hides rows is an error, not a shorter answer.
    "row_security": "off",
}
"""What a database, a role or a server may have set otherwise, and what would change our results."""

_LISTS = {"search_path", "datestyle"}
# How often psycopg looks whether it was interrupted.
_INTERVAL_SECONDS = 0.1


def set_local(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Statements that set something until the transaction ends, and so through any pooler too."""
    return tuple(
        f"SET LOCAL {name} = {value if name in _LISTS else repr(value)}"
        for name, value in settings.items()
    )


def milliseconds(span: timedelta) -> str:
    """A time-out as PostgreSQL takes it; never 0, which would switch it off."""
    return str(max(1, round(span / timedelta(milliseconds=1))))


class Stalled(psycopg.OperationalError):
    """The server sent nothing for as long as we wait; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than `patience`; Ctrl-C ends it at once."""

    patience = timedelta(seconds=60)

    @override
    def wait(
        self, gen: Any, interval: float = _INTERVAL_SECONDS, timeout: float | None = None
    ) -> Any:
        seconds = self.patience.total_seconds()
        try:
            return waiting.wait(gen, self.pgconn.socket, interval=interval, timeout=seconds)
        except _WaitTimeout:
            self.close()
            raise Stalled(f"no answer for {seconds:g} s") from None
        except psycopg.Error:
            raise
        except BaseException:
            # psycopg would ask the server to cancel and wait for its answer.
            self.close()
            raise


def connect(address: Address, patience: timedelta) -> BoundedConnection | Refusal:
    """Connects; a failure is returned, for a frame to raise that knows no password.

    Args:
        address: where to.
        patience: the longest wait, for this and for each answer of the connection.
    """
    try:
        return within(patience, lambda: _connect(address, patience), _close)
    except TimeoutError:
        return Refusal(Matter.REACHING, passes=True, said="no answer in time")


def _connect(address: Address, patience: timedelta) -> BoundedConnection | Refusal:
    conninfo = address.conninfo.get_secret_value()
    try:
        # psycopg itself converts texts; whatever the locales say, we send and read UTF-8.
        connection = BoundedConnection.connect(
            conninfo, client_encoding="UTF8", prepare_threshold=None
        )
    except psycopg.errors.ConnectionTimeout as error:
        return Refusal(Matter.REACHING, passes=True, said=str(error))
    except (psycopg.Error, ValueError) as error:
        # Why, it asks anew; that the second attempt succeeds means that the fault has passed.
        return why_refused(conninfo) or Refusal(Matter.BUSY, passes=True, said=str(error))
    connection.patience = patience
    return connection


def _close(result: BoundedConnection | Refusal) -> None:
    if isinstance(result, BoundedConnection):
        result.close()


def within(patience: timedelta, action: Callable[[], T], too_late: Callable[[T], None]) -> T:
    """Runs an action in another thread, so that waiting for it has a deadline and hears Ctrl-C.

    Args:
        patience: how long to wait.
        action: what may hang in a driver's or the system's own code.
        too_late: takes a result for which nobody waits any more.

    Raises:
        TimeoutError: it was not done in time; its thread is left behind.
    """
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    given_up = threading.Event()

    def act() -> None:
        try:
            result = action()
        except BaseException as error:  # noqa: BLE001 -- raised where it is waited for
            done.put((None, error))
            return
        done.put((result, None))
        if given_up.is_set():
            too_late(result)

    threading.Thread(target=act, daemon=True).start()
    try:
        result, error = done.get(timeout=patience.total_seconds())
    except queue.Empty:
        given_up.set()
        raise TimeoutError from None
    except BaseException:
        given_up.set()
        raise
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
