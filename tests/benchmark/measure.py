"""Measuring: best of several times, peak memory, one process for each thing that is measured."""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Stopwatch:
    """The least time that each thing took, in seconds, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(
        self,
        name: str,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """Calls the function; what it takes counts unless it was faster before."""
        start = time.perf_counter()
        result = function(*args, **kwargs)
        taken = time.perf_counter() - start
        self.seconds[name] = min(taken, self.seconds.get(name, taken))
        return result


def peak_memory(usage: resource.struct_rusage | None = None) -> int:
    """The most memory that a process has had, in bytes; by default this one."""
    used = resource.getrusage(resource.RUSAGE_SELF) if usage is None else usage
    return used.ru_maxrss * _MAXRSS_UNIT


def in_new_process(
    function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Calls the function in a process of its own, so that its peak memory is its own too."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawning) as pool:
        return pool.submit(function, *args, **kwargs).result()


def machine() -> str:
    """The processors, and how busy they are: what a measured time is worth depends on it."""
    return f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}"
