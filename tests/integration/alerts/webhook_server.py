"""A real HTTP server that a test can make fail, stall and recover."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override


@dataclass(frozen=True)
class Answer:
    """How the server answers one request.

    Attributes:
        status: of the answer.
        headers: of the answer.
        stalls: answers nothing until the server is stopped.
        hangs_up: closes the connection instead.
        drips: answers with a long header, byte by byte with short pauses.
        floods: answers this and then the last of it without end.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stalls: bool = False
    hangs_up: bool = False
    drips: bool = False
    floods: tuple[bytes, ...] = ()


OK = Answer()
STALL = Answer(stalls=True)
HANG_UP = Answer(hangs_up=True)
DRIP = Answer(drips=True)
ENDLESS_BODY = Answer(floods=(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536))
ENDLESS_HEADERS = Answer(floods=(b"HTTP/1.1 200 OK\r\n", b"X-More: again\r\n"))
ENDLESS_LINE = Answer(floods=(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65_536))
ENDLESS_CONTINUE = Answer(floods=(b"HTTP/1.1 100 Continue\r\n\r\n",))
NO_HTTP = Answer(floods=(b"\x00\xff\r\n",))


@dataclass(frozen=True)
class Received:
    """One request that the server got."""

    path: str
    headers: Mapping[str, str]
    body: Any


class WebhookServer(ThreadingHTTPServer):
    """Answers what `answers` holds, in order, then 200; keeps what it received."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: deque[Answer] = deque()
        self.received: list[Received] = []
        self.hung_up_on = 0
        self.stopped = threading.Event()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def texts(self) -> list[str]:
        return [request.body["text"] for request in self.received]

    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.received]


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, json.loads(body)))
        answer = self.server.answers.popleft() if self.server.answers else OK
        if answer.stalls:
            self.server.stopped.wait(60)
        if answer.stalls or answer.hangs_up:
            self.close_connection = True
            return
        if answer.drips:
            self._drip()
            return
        if answer.floods:
            self._flood(answer.floods)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _drip(self) -> None:
        # The answer is complete in the end: a client that waits for it is not stuck, and takes it.
        drops = "HTTP/1.1 200 OK\r\nX-Drip: " + "x" * 100 + "\r\nContent-Length: 0\r\n\r\n"
        try:
            for drop in drops.encode():
                self.wfile.write(bytes([drop]))
                self.server.stopped.wait(0.05)
        except OSError:
            self.server.hung_up_on += 1
        self.close_connection = True

    def _flood(self, parts: tuple[bytes, ...]) -> None:
        self.close_connection = True
        with suppress(OSError):
            for part in parts:
                self.wfile.write(part)
            while not self.server.stopped.wait(0.001):
                self.wfile.write(parts[-1])

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the test's output is no place for it."""


@contextmanager
def running_webhook() -> Iterator[WebhookServer]:
    """A server on a free port of the loopback interface."""
    with WebhookServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
