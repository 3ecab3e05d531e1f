"""Ctrl-C: one word and one exit status for it, also while Python can't hear it.

Belongs here: ending the process all the same where a driver's C code waits for an answer. Does not
belong here: what is cleared up on the usual way out.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click
from typing_extensions import override

_SAID = "Interrupted."
_SECONDS_FOR_THE_USUAL_WAY = 3.0


class Interrupted(click.ClickException):
    """Somebody pressed Ctrl-C; ends the command as shells expect it."""

    exit_code = 128 + signal.SIGINT

    def __init__(self) -> None:
        super().__init__(_SAID)

    @override
    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(_SAID, file=file, err=file is None)


@contextmanager
def heard_within_seconds() -> Iterator[None]:
    """In the block, SIGINT ends the process after three seconds if it does not before.

    The block may start nothing that outlives the process, nor an event loop.
    """
    hearing, told = socket.socketpair()
    told.setblocking(False)
    over = threading.Event()
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(hearing, over), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        told.close()


def _listen(hearing: socket.socket, over: threading.Event) -> None:
    with hearing:
        while numbers := hearing.recv(1):
            if numbers[0] == signal.SIGINT and not over.wait(_SECONDS_FOR_THE_USUAL_WAY):
                # No lock of Python's own, which whoever waits may hold.
                os.write(2, f"{_SAID}\n".encode())
                os._exit(Interrupted.exit_code)
