"""The `flakelag` command and Dagster's programs, in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).parents[2]
FLAKELAG = (sys.executable, "-m", "pipelines.cli")


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Nothing of our own environment but what makes programs run at all; an empty home."""
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | settings


def flakelag(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command in a folder, whose subfolder `home` is its user's."""
    return subprocess.run(
        [*FLAKELAG, *arguments],
        cwd=folder,
        env=environment(folder / "home", **settings),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def running(
    command: tuple[str, ...], folder: Path, output: Path, **settings: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a program and all that it starts, which are gone at the end of the block.

    Args:
        command: what to run.
        folder: where; its subfolder `home` is the program's user's.
        output: the file that takes standard output and standard error.
        settings: the environment.
    """
    with output.open("ab") as sink:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(output.parent / "home", **settings),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_session(process)


def kill_session(process: "subprocess.Popen[bytes]") -> None:
    """Kills a program that has its own session, with all that it started, as a lost machine does.

    Dagster's run workers and code servers stay in the session of the program.
    """
    for pid in session_members(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def session_members(session: int) -> list[int]:
    """Process ids of a session."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                pid = int(folder.name)
                if os.getsid(pid) == session:
                    members.append(pid)
            except ProcessLookupError:
                continue
    return members


@contextmanager
def instance_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str | None = None
) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that a command has left in a folder."""
    with monkeypatch.context() as patched:
        if postgres_url is not None:
            patched.setenv("DAGSTER_POSTGRES_URL", postgres_url)
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance


def slots_taken(instance: dg.DagsterInstance) -> set[str]:
    """The pools of which a place is taken, or waited for."""
    storage = instance.event_log_storage
    infos = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    return {info.concurrency_key for info in infos if info.claimed_slots or info.pending_steps}
