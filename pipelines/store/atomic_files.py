"""Files that are replaced whole: written beside, made durable, checked, then put in place.

Belongs here: how a file is replaced, and the locks that it takes. Does not belong here: what the
files hold; modes and links in general, which are in `pipelines.files`.
"""

import datetime as dt
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePath
from urllib.parse import quote

from assets.publishing.interfaces import OutsideFailure
from assets.publishing.layout import LOCKS, OWN_FOLDER, STAGING
from pipelines.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    create_file,
    explanation,
    make_folders,
    may_pass,
    names_in,
    open_file,
    open_folder,
    set_mode,
    write_all,
)

LOCK_TIMEOUT = dt.timedelta(minutes=5)
AT_ONCE = dt.timedelta(0)

READABLE_BY_ALL = 0o644

_SECONDS_BETWEEN_TRIES = 0.05

_logger = logging.getLogger(__name__)


class ReportStoreError(OutsideFailure):
    """The report store can't do what it was asked to; the message says why and what to do."""


class LockHeldError(ReportStoreError):
    """Another process is writing the same file."""

    retryable = True


class AtomicFiles:
    """The files under one root, each replaced whole, and in a folder of our own what that takes.

    Nothing is touched before the first write, so a root that can't be written can still be read.
    Modes do not depend on the umask; no link below the root is followed.

    Args:
        root: made at the first write, if need be.
        mode: of the files; their folders can be entered by whoever can read the files. What is in
            our own folder is ours alone.
        lock_timeout: how long to wait for another process that is writing the same file.
    """

    def __init__(
        self, root: Path, *, mode: int = READABLE_BY_ALL, lock_timeout: dt.timedelta = LOCK_TIMEOUT
    ) -> None:
        self.root = root.absolute()
        self._mode = mode
        self._folder_mode = PRIVATE_FOLDER | mode | (mode & 0o444) >> 2
        self._lock_timeout = lock_timeout

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Holds the lock of a path under the root; if this process dies the kernel releases it.

        Raises:
            LockHeldError: another process has it, and still had it after the time-out.
            ReportStoreError: the lock can't be had, because the disk is full, and the like.
        """
        with self._holding(self._flat_name(path), self._lock_timeout):
            yield

    def replace(
        self,
        target: Path,
        content: bytes | memoryview,
        *,
        check: Callable[[Path], None] | None = None,
        durable: bool = True,
        locked: Path | None = None,
    ) -> None:
        """Puts a file in place of another, or where there was none. The caller holds its lock.

        However this ends, even by the death of the process, the old file is there or the new one.
        What a dead process left in staging is overwritten by the next.

        Args:
            target: under the root.
            content: of the new file.
            check: is given the staged file as it will be; if it raises, the target is not touched.
            durable: whether the same must hold for the death of the machine.
            locked: the path of which the caller holds the lock, if it is not the target's.

        Raises:
            ReportStoreError: the disk is full, a folder is read-only, and the like.
        """
        name = self._flat_name(locked or target)
        staged = self.root / STAGING / name
        relative = target.relative_to(self.root)
        with explaining(staged), self.opened(STAGING) as staging:
            try:
                mode = self._mode_of(relative)
                write_all(create_file(staging, name, mode), content, durable=durable)
                if check is not None:
                    check(staged)
                with explaining(target), self.opened(relative.parent) as folder:
                    os.rename(name, relative.name, src_dir_fd=staging, dst_dir_fd=folder)
                    if durable:
                        os.fsync(folder)
            finally:
                # On a read-only filesystem this fails too, and would hide the error that says so.
                with suppress(OSError):
                    os.unlink(name, dir_fd=staging)

    def restore_mode(self, path: Path) -> None:
        """Gives a file that stays as it is the mode that it would be written with, if it is ours.

        Raises:
            ReportStoreError: it can't be changed.
        """
        relative = path.relative_to(self.root)
        with explaining(path), self.opened(relative.parent) as folder:
            try:
                opened = open_file(folder, relative.name)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    return
                raise
            try:
                set_mode(opened, self._mode_of(relative))
            finally:
                os.close(opened)

    def remove_abandoned(self) -> None:
        """Removes what dead writers left in staging; what a living one writes is locked.

        Raises:
            ReportStoreError: the folder can't be read or written.
        """
        path = self.root / STAGING
        if not path.is_dir():
            return
        with explaining(path), self.opened(STAGING) as staging:
            for name in names_in(staging, but_folders=True):
                with suppress(LockHeldError), self._holding(name, AT_ONCE):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=staging)
                    _logger.info("Removed %s, left by a process that died.", path / name)

    def opened(self, folder: str | PurePath) -> AbstractContextManager[int]:
        """Opens a folder under the root to write in it, made if need be.

        Raises:
            OSError: it can't be opened or made.
        """
        parts = PurePath(folder).parts
        make_folders(self.root, self._folder_mode)
        is_own = parts[:1] == (OWN_FOLDER,)
        return open_folder(self.root, parts, PRIVATE_FOLDER if is_own else self._folder_mode)

    @contextmanager
    def _holding(self, name: str, timeout: dt.timedelta) -> Iterator[None]:
        path = self.root / LOCKS / f"{name}.lock"
        give_up_at = time.monotonic() + timeout.total_seconds()
        with explaining(path), self.opened(LOCKS) as folder:
            lock = open_file(folder, path.name, os.O_RDWR | os.O_CREAT)
        try:
            with explaining(path):
                while not _try_to_lock(lock):
                    if time.monotonic() >= give_up_at:
                        raise LockHeldError(
                            f"Another process has held {path} for {timeout.total_seconds():.0f} s. "
                            "Look for a run that hangs, and end it."
                        )
                    time.sleep(_SECONDS_BETWEEN_TRIES)
            yield
        finally:
            os.close(lock)

    def _mode_of(self, relative: PurePath) -> int:
        return PRIVATE_FILE if relative.parts[0] == OWN_FOLDER else self._mode

    def _flat_name(self, path: Path) -> str:
        return quote(path.relative_to(self.root).as_posix(), safe="=")


def _try_to_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some filesystems say EACCES for a lock that another process holds.
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@contextmanager
def explaining(path: Path, doing: str = "write") -> Iterator[None]:
    """Turns an error of the operating system into one that says what to do about it.

    Raises:
        ReportStoreError: for any OSError while `path` was being written or read.
    """
    try:
        yield
    except OSError as error:
        failure = ReportStoreError(explanation(error, path, doing, "REPORTS_DIR"))
        failure.retryable = may_pass(error)
        raise failure from error
