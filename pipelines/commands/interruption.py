"""Ctrl-C while Python can't hear it, because a driver's C code waits for an answer.

Belongs here: ending the process all the same. Does not belong here: what is cleared up on the
usual way out.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS_FOR_THE_USUAL_WAY = 3.0


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
                os._exit(128 + signal.SIGINT)
