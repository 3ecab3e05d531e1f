"""Running programs together: all start, and when one ends or we are told to, all stop.

Belongs here: their lives. Does not belong here: which programs.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

CHILD_OPTION = "--until-stdin-ends"
"""What is added to the command of a program of ours that is run together with others."""

# Whoever presses Ctrl-C has the prompt back within five seconds.
_SECONDS_TO_STOP = 2.5
_POLL_SECONDS = 0.2


def child_option(command: _Command) -> _Command:
    """The option of a program that `run_together` can run, whoever kills it.

    The program is then ended, with all that it started, when the process that runs it is gone: also
    where that was killed and could not see to it. Standard input is a pipe that only it holds.
    """

    def watch(_context: click.Context, _parameter: click.Parameter, is_child: bool) -> None:
        if is_child:
            threading.Thread(target=_end_with_stdin, daemon=True).start()

    return click.option(
        CHILD_OPTION, is_flag=True, hidden=True, expose_value=False, callback=watch
    )(command)


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        continue
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(0, number)
        time.sleep(_SECONDS_TO_STOP)


class _Told:
    """Whether we were told to stop, and whether we were told again."""

    def __init__(self) -> None:
        self.once = threading.Event()
        self.again = threading.Event()

    def listen(self) -> None:
        # SIGINT too: its default is ignored in what a shell starts in the background.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self.once.is_set():
            self.again.set()
        self.once.set()


def run_together(
    programs: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> str | None:
    """Runs programs until one ends, or until Ctrl-C, SIGTERM or the end of the terminal.

    Nothing that they started is left then, nor if we are killed, because each has
    `child_option`. Each has a process group of its own: so Ctrl-C reaches
    us alone, and they are asked to stop once, not twice. A second Ctrl-C kills them.

    Args:
        programs: their commands, by name, with `CHILD_OPTION`.
        environment: theirs.
        tell: says what happens to whoever waits.

    Returns:
        The name of the program that ended by itself, None where we were told to stop.
    """
    told = _Told()
    told.listen()
    running: dict[str, subprocess.Popen[bytes]] = {}
    ended = None
    try:
        for name, command in programs.items():
            running[name] = subprocess.Popen(
                command, env=environment, process_group=0, stdin=subprocess.PIPE
            )
        while ended is None and not told.once.wait(_POLL_SECONDS):
            ended = next((name for name, each in running.items() if each.poll() is not None), None)
        tell(
            "Stopping; Ctrl-C again kills."
            if ended is None
            else f"{ended} ended; stopping the rest."
        )
    finally:
        _stop(list(running.values()), told.again)
    return ended


def _stop(running: Sequence[subprocess.Popen[bytes]], at_once: threading.Event) -> None:
    # Also what they started, such as the worker of a run, which then records where it was. The end
    # of one that can't, the daemon records when it is started again.
    _signal_groups(running, signal.SIGTERM)
    _wait(lambda: _have_ended(running), _SECONDS_TO_STOP, at_once)
    _signal_groups(running, signal.SIGKILL)
    for each in running:
        each.wait()


def _have_ended(running: Sequence[subprocess.Popen[bytes]]) -> bool:
    # A leader that has ended keeps its group until it is asked for.
    return all(each.poll() is not None for each in running) and not _signal_groups(running, 0)


def _wait(holds: Callable[[], bool], seconds: float, at_once: threading.Event) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        if at_once.wait(_POLL_SECONDS):
            return


def _signal_groups(leaders: Sequence[subprocess.Popen[bytes]], number: int) -> bool:
    """Signals all of their process groups; whether there is still anybody in one."""
    found = False
    for leader in leaders:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, number)
            found = True
    return found
