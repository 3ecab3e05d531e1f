"""Why no connection comes about, and whether trying again can help.

Belongs here: telling a server that can't be reached from one that says no, and from one to which we
say no. Does not belong here: connecting in earnest, and failures of statements.

While it connects, libpq has only words for a failure, in the language of the server's
`lc_messages`, and other words with every version. So nothing is concluded from them, but from how
far the attempt came and who ended it. In the order of the attempt:

1. Options that contradict each other or have no such value are refused before a socket is opened.
2. Until something answers at the address, nobody is there, or not yet. This passes.
3. A server, or a pooler, that says no gives its SQLSTATE, which libpq tells where it is asked to be
   verbose.
4. Where neither happened, somebody hung up. If it was the server, it is starting, stopping or full.
   If it was we, then libpq found that what the URL asks for is not what this server offers: its
   certificate, a way to log in, a password that nobody gave. No retry mends that.
"""

import ctypes
import os
import re
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGconn

from pipelines.postgres.address import Address
from pipelines.postgres.faults import cause_of

_DEFAULT_SECONDS = 10.0
_VERBOSE = 2
_MODULES_OF_LIBPQ = ("psycopg_binary.pq", "psycopg_c.pq")
# As libpq writes it where it is verbose, in any language: "FATAL:  28P01: password ...".
_STATE = re.compile(r":  ([0-9A-Z]{5}): ")
_OUR_SERVER = re.compile(r'^connection to server at "127\.0\.0\.1", port \d+ failed: ')
_LOCATION = re.compile(r"\n\S+:  \w+, [\w.]+:\d+\s*$")
# The one SQLSTATE that pgbouncer has for most of what it refuses; its words are never translated.
_OF_POOLERS = "08P01"
_NO_SUCH_DATABASE = "3D000"
_POOLER_NEEDS_A_PERSON = re.compile(
    r"no such (user|database)|unsupported startup parameter|authentication failed|SSL required"
    r"|not allowed|disabled",
    re.IGNORECASE,
)


class Matter(StrEnum):
    """What a refusal is about; the value says what to do, after "Check " and the setting."""

    REACHING = "that the server runs and accepts connections from here, and host and port"
    OPTIONS = "its options"
    TLS = (
        "sslmode, sslrootcert and host: the server must speak TLS, with a certificate that is "
        "valid, issued for this host, and signed by the authority whose file sslrootcert names "
        "(or, with sslrootcert=system, by one that this machine trusts)"
    )
    LOGIN = (
        "user, password and database, and what it requires of the server (require_auth, "
        "channel_binding, options); a password may also come from PGPASSWORD, PGPASSFILE or the "
        "service file"
    )
    DATABASE = "the name of the database"
    BUSY = "the server's log; it may be starting, stopping, or have too many connections"


@dataclass(frozen=True)
class Refusal:
    """Why no connection came about.

    Attributes:
        matter: what it is about.
        passes: whether the same may succeed later.
        said: in the words of the server or of libpq. May quote a secret; see `Address.said`.
        state: the SQLSTATE, empty where the server gave none.
    """

    matter: Matter
    passes: bool
    said: str
    state: str = ""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The refusal whose fields another process sent as JSON."""
        return cls(**{**fields, "matter": Matter(fields["matter"])})

    @property
    def is_of_a_pooler(self) -> bool:
        """Whether a pooler may have said no to what its server would have taken."""
        return self.state == _OF_POOLERS

    def in_words(self, address: Address) -> str:
        """What was said and what to do, in one line that is fit for any log."""
        where = "" if self.matter is Matter.BUSY else f"{address.setting}: "
        return f"{address.said(self.said).rstrip('.')}. Check {where}{self.matter}."


def why_refused(conninfo: str) -> Refusal | None:
    """Tries to connect, as far as it takes to find out; None if that succeeds.

    Looks hosts up without holding up other threads, and waits for no server longer than
    `connect_timeout` says.
    """
    given = conninfo_to_dict(conninfo)
    said = _problem_of_options(given)
    if said is not None:
        return Refusal(Matter.OPTIONS, passes=False, said=said)
    said = _problem_of_names(given)
    if said is not None:
        return Refusal(Matter.REACHING, passes=True, said=said)
    refusal = _Attempt(conninfo, _seconds(given)).run()
    wants_a_kind_of_server = given.get("target_session_attrs", "any") != "any"
    if refusal is not None and not refusal.passes and wants_a_kind_of_server and not refusal.state:
        anywhere = make_conninfo(conninfo, target_session_attrs="any")
        if _Attempt(anywhere, _seconds(given)).run() is None:
            # Which server is the primary changes.
            return Refusal(Matter.BUSY, passes=True, said=refusal.said)
    return refusal


class _Attempt:
    """One connection, watched while libpq makes it."""

    def __init__(self, conninfo: str, seconds: float) -> None:
        self._connection = pq.PGconn.connect_start(conninfo.encode())
        self._deadline = time.monotonic() + seconds
        self._reached = False
        self._in_tls = False
        # Our own handle on libpq's socket, which it closes before we can ask who hung up.
        self._socket: socket.socket | None = None
        _be_verbose(self._connection)

    def run(self) -> Refusal | None:
        try:
            return self._run()
        finally:
            self._connection.finish()
            if self._socket is not None:
                self._socket.close()

    def _run(self) -> Refusal | None:
        while self._connection.status != pq.ConnStatus.BAD:
            self._keep_socket()
            self._in_tls = self._connection.status == pq.ConnStatus.SSL_STARTUP
            status = self._connection.connect_poll()
            if status == pq.PollingStatus.OK:
                return None
            if status == pq.PollingStatus.FAILED:
                break
            self._reached = self._reached or self._connection.status not in (
                pq.ConnStatus.STARTED,
                pq.ConnStatus.BAD,
            )
            if not self._wait(status):
                return Refusal(Matter.REACHING, passes=True, said="no answer in time")
        return self._refusal()

    def _refusal(self) -> Refusal:
        words = self._connection.error_message.decode("utf-8", "backslashreplace")
        stated = _STATE.search(words)
        said = _STATE.sub(":  ", _LOCATION.sub("", words)).strip()
        if stated:
            state = stated[1]
            passes = cause_of(state).passes
            if state == _OF_POOLERS:
                passes = not _POOLER_NEEDS_A_PERSON.search(said)
            matter = Matter.DATABASE if state == _NO_SUCH_DATABASE else Matter.LOGIN
            return Refusal(Matter.BUSY if passes else matter, passes, said, state)
        if not self._reached:
            return Refusal(Matter.REACHING, passes=True, said=said)
        # A server hangs up as soon as it hears that its certificate won't do, perhaps before we
        # look. These words are OpenSSL's and libpq's own, and not translated.
        about_certificate = self._in_tls and "certificate" in said
        if self._peer_hung_up() and not about_certificate:
            return Refusal(Matter.BUSY, passes=True, said=said)
        return Refusal(Matter.TLS if self._in_tls else Matter.LOGIN, passes=False, said=said)

    def _keep_socket(self) -> None:
        with suppress(OSError):
            descriptor = os.dup(self._connection.socket)
            if self._socket is not None:
                self._socket.close()
            self._socket = socket.socket(fileno=descriptor)

    def _peer_hung_up(self) -> bool:
        if self._socket is None:
            return False
        self._socket.setblocking(False)
        try:
            while self._socket.recv(65_536):
                continue
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _wait(self, status: int) -> bool:
        """Waits until libpq can go on; False where the time is over."""
        reading = [self._connection.socket] if status == pq.PollingStatus.READING else []
        writing = [self._connection.socket] if status == pq.PollingStatus.WRITING else []
        left = max(0.0, self._deadline - time.monotonic())
        return any(select.select(reading, writing, [], left))


def _problem_of_options(given: Mapping[str, object]) -> str | None:
    """What libpq refuses whatever server it is; it finds out as soon as it has a place to go to."""
    with _some_server() as port:
        nowhere = {"host": "127.0.0.1", "hostaddr": "127.0.0.1", "port": port}
        attempt = pq.PGconn.connect_start(make_conninfo("", **{**given, **nowhere}).encode())  # type: ignore[arg-type]
        try:
            if attempt.status == pq.ConnStatus.BAD:
                words = attempt.error_message.decode("utf-8", "backslashreplace").strip()
                return _OUR_SERVER.sub("", words)
        finally:
            attempt.finish()
    # The one option that libpq looks at only where it is also to wait.
    seconds = str(given.get("connect_timeout", 0))
    if not re.fullmatch(r"\s*[+-]?\d+\s*", seconds):
        return f'invalid integer value "{seconds}" for connection option "connect_timeout"'
    return None


@contextmanager
def _some_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _problem_of_names(given: Mapping[str, object]) -> str | None:
    """Why no host of the address has one of its own, if so."""
    if given.get("hostaddr") or given.get("service") or "PGSERVICE" in os.environ:
        return None
    hosts = str(given.get("host") or os.environ.get("PGHOST", "")).split(",")
    problem = None
    for host in hosts:
        if not host or host.startswith(("/", "@")):
            return None
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problem = f"host {host} has no address ({error})"
        else:
            return None
    return problem


def _seconds(given: Mapping[str, object]) -> float:
    try:
        return float(str(given.get("connect_timeout"))) or _DEFAULT_SECONDS
    except ValueError:
        return _DEFAULT_SECONDS


def _be_verbose(connection: PGconn) -> None:
    """Lets libpq tell SQLSTATEs, which psycopg has no call for.

    Where it can't be asked, a server's no looks as if it hung up, and is tried again.
    """
    pointer = getattr(connection, "pgconn_ptr", None)
    for name in _MODULES_OF_LIBPQ:
        module = sys.modules.get(name)
        if pointer is None or module is None or module.__file__ is None:
            continue
        # A name is looked up in what the module is linked to as well.
        set_verbosity = getattr(ctypes.CDLL(module.__file__), "PQsetErrorVerbosity", None)
        if set_verbosity is not None:
            set_verbosity(ctypes.c_void_p(pointer), _VERBOSE)
