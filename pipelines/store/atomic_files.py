"""Files that are replaced whole: written beside, made durable, checked, then put in place.

Belongs here: folders, locks, fsync, what an error of the operating system means for an operator.
Does not belong here: what the files hold.
"""

import datetime as dt
import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import filelock

from assets.publishing.interfaces import OutsideFailure
from assets.publishing.layout import LOCKS, OWN_FOLDER, STAGING

LOCK_TIMEOUT = dt.timedelta(minutes=5)
AT_ONCE = dt.timedelta(0)

_logger = logging.getLogger(__name__)

_NO_ACCESS = "The user that runs flakelag needs access to all of REPORTS_DIR."
_IN_THE_WAY = "Where REPORTS_DIR needs a folder there is a file, or the other way round: remove it."
_ADVICE = {
    errno.ENOSPC: "Free some space there.",
    errno.EDQUOT: "Free some space there, or raise the quota.",
    errno.EFBIG: "Raise the limit on the size of a file (ulimit -f).",
    errno.EROFS: "REPORTS_DIR must be writable.",
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EXDEV: "REPORTS_DIR must be one filesystem: neither "
    f"`{OWN_FOLDER}` nor a dataset's folder may be a mount, or a link to elsewhere.",
    errno.ENOSYS: "REPORTS_DIR must be on a filesystem with file locks (flock).",
}


class ReportStoreError(OutsideFailure):
    """The report store can't do what it was asked to; the message says why and what to do."""


class LockHeldError(ReportStoreError):
    """Another process is writing the same file."""

    retryable = True


class AtomicFiles:
    """The files under one root, each replaced whole, and in a folder of our own what that takes.

    Nothing is touched before the first write, so a root that can't be written can still be read.
    """

    def __init__(self, root: Path, lock_timeout: dt.timedelta = LOCK_TIMEOUT) -> None:
        self._lock_timeout = lock_timeout
        self.root = root.absolute()
        self._staging = self.root / STAGING
        self._locks = self.root / LOCKS

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Holds the lock of a path under the root; if this process dies the kernel releases it.

        Raises:
            LockHeldError: another process has it, and still had it after the time-out.
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
    ) -> None:
        """Puts a file in place of another, or where there was none. The caller holds its lock.

        However this ends, even by the death of the process, the old file is there or the new one.
        What a dead process left in staging is overwritten by the next.

        Args:
            target: under the root.
            content: of the new file.
            check: is given the staged file as it will be; if it raises, the target is not touched.
            durable: whether the same must hold for the death of the machine.

        Raises:
            ReportStoreError: the disk is full, a folder is read-only, and the like.
        """
        staged = self._staging / self._flat_name(target)
        with explaining(staged):
            make_folder(self._staging)
        try:
            with explaining(staged):
                staged.write_bytes(content)
                if durable:
                    make_durable(staged)
            if check is not None:
                check(staged)
            with explaining(target):
                make_folder(target.parent)
                staged.replace(target)
                if durable:
                    make_durable(target.parent)
        finally:
            # On a read-only filesystem this fails too, and would hide the error that explains it.
            with suppress(OSError):
                staged.unlink(missing_ok=True)

    def remove_abandoned(self) -> None:
        """Removes what dead writers left in staging; what a living one writes is locked."""
        if not self._staging.is_dir():
            return
        for staged in sorted(entry for entry in self._staging.iterdir() if entry.is_file()):
            with suppress(LockHeldError), self._holding(staged.name, AT_ONCE):
                staged.unlink(missing_ok=True)
                _logger.info("Removed %s, left by a process that died.", staged)

    @contextmanager
    def _holding(self, name: str, timeout: dt.timedelta) -> Iterator[None]:
        path = self._locks / f"{name}.lock"
        # The soft kind is the mere existence of a file, and would outlive its holder.
        lock = filelock.FileLock(path, fallback_to_soft=False)
        with explaining(path):
            make_folder(self._locks)
            try:
                lock.acquire(timeout=timeout.total_seconds())
            except filelock.Timeout:
                raise LockHeldError(
                    f"Another process has held {path} for {timeout.total_seconds():.0f} s. Look "
                    "for a run that hangs, and end it."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def _flat_name(self, path: Path) -> str:
        return quote(path.relative_to(self.root).as_posix(), safe="=")


def make_durable(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, durably."""
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(exist_ok=True)
        make_durable(missing.parent)


@contextmanager
def explaining(path: Path, doing: str = "write") -> Iterator[None]:
    """Turns an error of the operating system into one that says what to do about it.

    Raises:
        ReportStoreError: for any OSError while `path` was being written or read.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "What is published is untouched.")
        raise ReportStoreError(f"Can't {doing} {path}: {reason}. {advice}") from error
