"""A real HTTP server that a test can make fail, stall and recover."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override


@dataclass(frozen=True)
class Answer:
    """How the server answers one request; a stall answers nothing until the server is stopped."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stalls: bool = False
    hangs_up: bool = False


OK = Answer()
STALL = Answer(stalls=True)
HANG_UP = Answer(hangs_up=True)


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
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

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
