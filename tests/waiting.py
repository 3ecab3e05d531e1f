"""Waiting for what is bound to happen: for the condition itself, never for a guessed time.

Belongs here: how patient the tests are, once for all of them. Does not belong here: how patient the
program is with the world outside; that is a setting, and tests set it.
"""

import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any

PATIENCE_SECONDS = 300.0
"""When to give up.

Only what never happens takes so long: twenty other programs on two cores make everything here ten
times slower. The time limit of a test (pyproject.toml) is longer, so that a wait which is given up
says what it waited for.
"""

_LOOK_AGAIN_SECONDS = 0.02


def wait_until(
    happened: Callable[[], object],
    process: "Popen[Any] | None" = None,
    *,
    said: Callable[[], str] = str,
) -> None:
    """Waits for something that is bound to happen.

    Args:
        happened: whether it has.
        process: what it is expected of; once that has ended there is nothing to wait for.
        said: what there is to read if it does not happen, such as a log.

    Raises:
        AssertionError: the process ended first, or `PATIENCE_SECONDS` are over.
    """
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert process is None or process.poll() is None, f"the program ended by itself\n{said()}"
        assert time.monotonic() < give_up_at, f"it did not happen\n{said()}"
        time.sleep(_LOOK_AGAIN_SECONDS)
