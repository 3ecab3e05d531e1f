"""A TCP port that leads to a Unix socket, for tests that need a network address to fail."""

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

    def __init__(self, address: tuple[str, int], behind: Path) -> None:
        self.behind = behind
        self.visitors = 0
        super().__init__(address, _Passage)


class _Passage(socketserver.BaseRequestHandler):
    @override
    def handle(self) -> None:
        assert isinstance(self.server, Door)
        self.server.visitors += 1
        with socket.socket(socket.AF_UNIX) as inside:
            inside.connect(str(self.server.behind))
            back = threading.Thread(target=_pass_on, args=(inside, self.request), daemon=True)
            back.start()
            _pass_on(self.request, inside)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    # Either side may hang up at any time; the other one is told.
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def open_door(port: int, behind: Path) -> Iterator[Door]:
    """Lets 127.0.0.1:port lead to the socket of a server."""
    with Door(("127.0.0.1", port), behind) as door:
        thread = threading.Thread(target=door.serve_forever, daemon=True)
        thread.start()
        try:
            yield door
        finally:
            door.shutdown()
            thread.join()
