"""Which files are opened below a folder, as the kernel tells: no reader gets round inotify.

Python's own audit events would not do: Arrow and DuckDB open files without asking Python.
"""

import ctypes
import os
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_ACCESS, _CLOSE_NOWRITE, _OVERFLOW, _IS_FOLDER = 0x1, 0x10, 0x4000, 0x4000_0000
_EVENT = struct.Struct("iIII")


@dataclass
class Opened:
    """What was opened for reading.

    Attributes:
        files: every one.
        reads: of each, how many times it was opened and its content read.
    """

    files: set[Path] = field(default_factory=set)
    reads: Counter[Path] = field(default_factory=Counter)


class OpenedFiles:
    """Watches folders, from when they are named on."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._queue)

    def watch(self, root: Path) -> None:
        """Watches a folder and all that are below it now."""
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            watch = self._libc.inotify_add_watch(
                self._queue, os.fsencode(folder), _ACCESS | _CLOSE_NOWRITE
            )
            self._folders[self._checked(watch)] = folder

    def since_last_asked(self) -> Opened:
        """The files that were opened read-only and closed again, under the names of their watch."""
        opened, accessed = Opened(), set()
        with suppress(BlockingIOError):
            while events := os.read(self._queue, 2**20):
                while events:
                    watch, mask, _, length = _EVENT.unpack_from(events)
                    name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                    events = events[_EVENT.size + length :]
                    assert not mask & _OVERFLOW
                    if mask & _IS_FOLDER or not name:
                        continue
                    path = self._folders[watch] / os.fsdecode(name)
                    if mask & _ACCESS:
                        accessed.add(path)
                    if mask & _CLOSE_NOWRITE:
                        opened.files.add(path)
                        opened.reads[path] += path in accessed
                        accessed.discard(path)
        return opened

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
