"""Filesystems that are full or read-only, for tests: real ones, in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_FILLER = "filler"


def _mount(*arguments: str) -> None:
    ended = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.skip(f"no filesystem may be mounted here: {ended.stderr.strip()}")


@contextmanager
def small_filesystem(folder: Path) -> Iterator[Path]:
    """Mounts a filesystem of 64 MiB on a folder."""
    _mount("-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(filesystem: Path) -> None:
    """Leaves not a byte."""
    with (filesystem / _FILLER).open("ab", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def empty(filesystem: Path) -> None:
    """Frees what `fill` took."""
    (filesystem / _FILLER).unlink()


def make_read_only(filesystem: Path) -> None:
    """Lets nobody write any more, root neither."""
    os.sync()
    _mount("-o", "remount,ro", str(filesystem))


def make_writable(filesystem: Path) -> None:
    """Undoes `make_read_only`."""
    _mount("-o", "remount,rw", str(filesystem))
