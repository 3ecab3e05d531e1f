"""Processes for tests that kill: each starts in a moment, because what it needs is loaded once."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.integration.store_writer"])

KILLED = -9

new_pipe = _CONTEXT.Pipe


@contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[ForkServerProcess]:
    """Runs a function in a process of its own, which is killed at the end of the block."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
        assert process.is_alive(), "it failed; its traceback is on standard error"
    finally:
        process.kill()
        process.join()
        process.close()


def exit_codes(target: Callable[..., None], *calls: tuple[Any, ...]) -> list[int | None]:
    """Runs a function once for each tuple of arguments, at the same time, each to its end.

    Returns:
        0 for each that returned, `KILLED` for each that was killed.
    """
    processes = [_CONTEXT.Process(target=target, args=arguments) for arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.close()
    return codes
