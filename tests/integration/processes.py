"""Processes for tests that kill: each starts in a moment, because what it needs is loaded once."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.integration.store_writer"])

event = _CONTEXT.Event
KILLED = -9


@contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Runs a function in a process of its own, which is killed at the end of the block."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    try:
        yield
        # One that has ended by itself has failed, and its traceback is on standard error.
        assert process.is_alive()
    finally:
        process.kill()
        process.join()
        process.close()


def exit_code(target: Callable[..., None], *arguments: Any) -> int | None:
    """Runs a function in a process of its own to its end: 0, or `KILLED`."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    return code
