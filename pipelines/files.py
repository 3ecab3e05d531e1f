"""Folders and files of ours: of a mode on purpose, whatever the umask, and never through a link.

Folders are held open and what is in them is found by name (`dir_fd`), so that nobody who may write
in one of them can lead us elsewhere: as root we would follow a link to any file of the machine.

Belongs here: what the report store, the embedded server and Dagster's folder have in common; what
an error of the operating system means for an operator. Does not belong here: what files hold.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

# macOS has no O_PATH; there we need to be able to list what we pass through.
_PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Without O_NONBLOCK, whoever puts a named pipe there would keep us waiting for ever.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK

_NO_ACCESS = "The user that runs flakelag needs access to all of {setting}."
_IN_THE_WAY = (
    "Where {setting} needs a folder or a file of its own there is something else, or a link, which "
    "is not followed: remove it."
)
_ADVICE = {
    errno.ENOSPC: "Free some space there.",
    errno.EDQUOT: "Free some space there, or raise the quota.",
    errno.EFBIG: "Raise the limit on the size of a file (ulimit -f).",
    errno.EROFS: "Remount that filesystem writable, or set {setting} to a folder elsewhere.",
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
    errno.EXDEV: "{setting} must be one filesystem: no folder in it may be a mount.",
    errno.ENOSYS: "{setting} must be on a filesystem with file locks (flock).",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.EIO: "Look at the disk and at the system's log.",
    errno.ENAMETOOLONG: "Set {setting} to a folder with a shorter path.",
}
# What may be over by the next try without anybody's help.
_PASSING_ERRORS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


def explanation(error: OSError, path: Path, doing: str, setting: str) -> str:
    """What an error of the operating system means, and what to do about it.

    Args:
        error: while `path` was used.
        path: the file or folder.
        doing: "write", "read", "use".
        setting: the variable that says where it lies.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"Can't {doing} {path}: {reason}. {advice(error.errno, setting)}"


def advice(number: int | None, setting: str) -> str:
    """What to do about an error (`errno`) in the folder that a variable names."""
    return _ADVICE.get(number or 0, "Look at the system's log.").format(setting=setting)


def may_pass(error: OSError) -> bool:
    """Whether the same may succeed a little later, without anybody's help."""
    return error.errno in _PASSING_ERRORS


def make_folders(folder: Path, mode: int) -> bool:
    """Makes a folder, and those above it that are missing, durably; whether there was none.

    What is there is left as it is.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(PRIVATE_FOLDER)
            # Not by the argument above, from which the umask is taken.
            each.chmod(mode)
        make_durable(each.parent)
    return bool(missing)


def make_private(folder: Path, holding: Collection[str] | None = None) -> bool:
    """Makes a folder that nobody else may enter, or makes one of ours such.

    That a group may pass through is left: an unprivileged server was let in (`ServerAccount`).

    Args:
        folder: where links are followed: somebody chose to have it there.
        holding: what we put there. A folder that has anything else is somebody's for other things
            too, and stays as it is. None: it is ours alone.

    Returns:
        Whether it is ours alone.

    Raises:
        OSError: it can't be made or opened.
    """
    make_folders(folder, PRIVATE_FOLDER)
    with open_folder(folder) as opened:
        if holding is not None and not set(names_in(opened)) <= set(holding):
            return False
        if stat.S_IMODE(os.fstat(opened).st_mode) & 0o067:
            set_mode(opened, PRIVATE_FOLDER)
        return os.fstat(opened).st_uid == os.geteuid()


@contextmanager
def open_folder(root: Path, inside: Sequence[str] = (), make: int | None = None) -> Iterator[int]:
    """Opens a folder of ours.

    Args:
        root: where somebody chose to have it; links are followed up to here.
        inside: the way from there to the folder, on which no link is followed.
        make: the mode of folders on that way; those of ours get it, and missing ones are made.
            None: they are only opened.

    Raises:
        OSError: there is none, or something else.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in inside:
            inner = _open_inside(folder, part, make)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open_inside(folder: int, name: str, make: int | None) -> int:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if make is None:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, PRIVATE_FOLDER, dir_fd=folder)
        os.fsync(folder)
        inner = os.open(name, _FOLDER, dir_fd=folder)
    if make is not None:
        set_mode(inner, make)
    return inner


@contextmanager
def open_folder_in(parent: int, name: str) -> Iterator[int]:
    """Opens a folder in an open one.

    Raises:
        OSError: there is none, or something else.
    """
    folder = _open_inside(parent, name, None)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def open_resolved(folder: Path) -> Iterator[int]:
    """Opens a folder of which the path holds no link, and follows none that was put there since.

    Raises:
        OSError: there is no such folder.
    """
    passed = os.open("/", _PASSING)
    try:
        for part in folder.parts[1:]:
            inner = os.open(part, _PASSING, dir_fd=passed)
            os.close(passed)
            passed = inner
        opened = os.open(".", _FOLDER, dir_fd=passed)
    finally:
        os.close(passed)
    try:
        yield opened
    finally:
        os.close(opened)


def names_in(folder: int, *, but_folders: bool = False) -> list[str]:
    """What is in an open folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not (but_folders and entry.is_dir(follow_symlinks=False))
        )


def set_mode(opened: int, mode: int) -> None:
    """Gives an open file or folder a mode, if it is ours; the set-group-id bit stays."""
    status = os.fstat(opened)
    before = stat.S_IMODE(status.st_mode)
    wanted = before & 0o7000 | mode
    if before != wanted and status.st_uid == os.geteuid():
        os.fchmod(opened, wanted)


def create_file(folder: int, name: str, mode: int) -> int:
    """Opens a new file for writing, in place of what a dead process left under its name."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE, dir_fd=folder)
    os.fchmod(opened, mode)
    return opened


def open_file(folder: int, name: str, flags: int = os.O_RDONLY) -> int:
    """Opens a file that others may have put there; one that it makes belongs to the folder's owner.

    Raises:
        OSError: it is a link, no regular file, or in a folder of others one that lies elsewhere
            too (a hard link).
    """
    is_new = False
    if flags & os.O_CREAT:
        with suppress(FileExistsError):
            opened = os.open(name, flags | os.O_EXCL | _FILE, PRIVATE_FILE, dir_fd=folder)
            is_new = True
    if not is_new:
        opened = os.open(name, flags & ~os.O_CREAT | _FILE, dir_fd=folder)
    status, owner = os.fstat(opened), os.fstat(folder)
    is_of_others = owner.st_uid != os.geteuid() or owner.st_mode & 0o022
    if not stat.S_ISREG(status.st_mode) or (is_of_others and status.st_nlink > 1):
        os.close(opened)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    if is_new and status.st_uid != owner.st_uid and os.geteuid() == 0:
        os.fchown(opened, owner.st_uid, owner.st_gid)
    return opened


def read_bounded(folder: int, name: str, size: int) -> str:
    """The beginning of a file that others may have put there.

    Raises:
        OSError: as `open_file`.
    """
    opened = open_file(folder, name)
    try:
        return os.read(opened, size).decode(errors="replace")
    finally:
        os.close(opened)


def write_all(opened: int, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Writes to an open file, and closes it."""
    try:
        left = memoryview(content).cast("B")
        while left:
            left = left[os.write(opened, left) :]
        if durable:
            os.fsync(opened)
    finally:
        os.close(opened)


def make_durable(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's entries."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
