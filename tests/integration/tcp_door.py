"""A TCP port that leads to a Unix socket, for tests that need a network address to fail."""

import math
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from typing_extensions import override


class Door(socketserver.ThreadingTCPServer):
    """Leads to a socket, and counts who came."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], behind: Path, lets_out: float) -> None:
        self.behind = behind
        self.visitors = 0
        self.lets_out = lets_out
        self.closed = threading.Event()
        super().__init__(address, _Passage)


class _Passage(socketserver.BaseRequestHandler):
    @override
    def handle(self) -> None:
        assert isinstance(self.server, Door)
        self.server.visitors += 1
        with socket.socket(socket.AF_UNIX) as inside:
            inside.connect(str(self.server.behind))
            back = threading.Thread(target=self._let_out, args=(inside,), daemon=True)
            back.start()
            _pass_on(self.request, inside)
            back.join()

    def _let_out(self, inside: socket.socket) -> None:
        assert isinstance(self.server, Door)
        left = self.server.lets_out
        with suppress(OSError):
            while data := inside.recv(65_536):
                self.request.sendall(data[: int(min(left, len(data)))])
                left -= len(data)
                if left <= 0:
                    # Neither sends nor closes; what comes in is taken.
                    self.server.closed.wait()
        _hang_up(inside, self.request)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    # Either side may hang up at any time; the other one is told.
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _hang_up(source, target)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def open_door(port: int, behind: Path, lets_out: float = math.inf) -> Iterator[Door]:
    """Lets 127.0.0.1:port lead to the socket of a server.

    Args:
        port: of 127.0.0.1.
        behind: the server's socket.
        lets_out: how many bytes of each connection come back from the server; after that, silence.
    """
    with Door(("127.0.0.1", port), behind, lets_out) as door:
        thread = threading.Thread(target=door.serve_forever, daemon=True)
        thread.start()
        try:
            yield door
        finally:
            door.closed.set()
            door.shutdown()
            thread.join()
