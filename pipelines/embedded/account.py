"""As whom the embedded PostgreSQL runs: PostgreSQL refuses to run as root.

Belongs here: the choice of an unprivileged account and the folder permissions that it needs. Does
not belong here: starting or stopping anything.
"""

import logging
import os
import pwd
import stat
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from assets.publishing.interfaces import OutsideFailure
from pipelines.files import open_resolved

_ACCOUNT_NAME = "pgserver"

_logger = logging.getLogger(__name__)


class ServerAccountError(OutsideFailure):
    """There is no unprivileged account that could run the server, or it may not reach a folder."""


@dataclass(frozen=True)
class ServerAccount:
    """The unprivileged account that owns the cluster and runs its processes."""

    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Gives the folder and all that is in it to the account.

        Raises:
            OSError: it is a link, or can't be given.
        """
        with open_resolved(folder) as opened:
            os.fchown(opened, self.uid, self.gid)
            for _, folders, files, parent in os.fwalk(".", dir_fd=opened, follow_symlinks=False):
                for name in (*folders, *files):
                    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                    # A hard link may be to a file that is none of the cluster's.
                    if stat.S_ISDIR(status.st_mode) or status.st_nlink <= 1:
                        os.chown(name, self.uid, self.gid, dir_fd=parent, follow_symlinks=False)

    def open_way_to(self, folder: Path, own: Collection[Path] = ()) -> None:
        """Lets the account pass through the parents of a folder, and no more than pass.

        A clean clone below a home or a temporary folder that only root may enter would otherwise
        be out of the server's reach. Only the missing bit is set, and told.

        Args:
            folder: without links on the way to it.
            own: parents that are ours alone: nobody but the account is let in, through its group.

        Raises:
            ServerAccountError: a parent can't be opened.
        """
        for parent in folder.parents:
            try:
                with open_resolved(parent) as opened:
                    status = os.fstat(opened)
                    if self._may(status, stat.S_IXUSR):
                        continue
                    mode = stat.S_IMODE(status.st_mode)
                    if parent in own:
                        os.fchown(opened, -1, self.gid)
                        os.fchmod(opened, mode & ~stat.S_IRWXG | stat.S_IXGRP)
                        continue
                    os.fchmod(opened, mode | stat.S_IXOTH)
            except OSError as error:
                raise ServerAccountError(
                    f"PostgreSQL can't run as root, and its account may not enter {parent} "
                    f"({error.strerror}). Run as another user than root, or from another folder."
                ) from None
            _logger.warning("chmod o+x %s, because PostgreSQL can't run as root", parent)

    def open_for_reading(self, folder: Path) -> None:
        """Lets the account read a folder of programs, as a strict umask at installing forbids.

        Raises:
            ServerAccountError: a parent can't be opened.
            OSError: something in it can't be.
        """
        self.open_way_to(folder)
        with open_resolved(folder) as opened:
            self._let_read(opened)
            for _, folders, files, parent in os.fwalk(".", dir_fd=opened, follow_symlinks=False):
                for name in (*folders, *files):
                    if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        continue
                    inner = os.open(
                        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent
                    )
                    try:
                        self._let_read(inner)
                    finally:
                        os.close(inner)

    def _let_read(self, opened: int) -> None:
        status = os.fstat(opened)
        needed = stat.S_IRUSR | (status.st_mode & stat.S_IXUSR)
        if not self._may(status, needed):
            os.fchmod(opened, stat.S_IMODE(status.st_mode) | needed >> 6)

    def _may(self, status: os.stat_result, owner_bits: int) -> bool:
        if status.st_uid == self.uid:
            granted = status.st_mode
        elif status.st_gid == self.gid:
            granted = status.st_mode << 3
        else:
            granted = status.st_mode << 6
        return granted & owner_bits == owner_bits


def server_account(data_dir: Path, cluster: Path) -> ServerAccount | None:
    """Says as whom to run the server of a data folder.

    Returns:
        None for "as ourselves", unless we are root. Then, in this order: the owner of the cluster,
        so that a `sudo` between two ordinary runs leaves the first owner in charge; the owner of
        the data folder; the system account `pgserver`, created if need be.

    Raises:
        ServerAccountError: we are root and no account can be had.
    """
    if os.geteuid() != 0:
        return None
    for folder in (cluster, data_dir):
        if os.path.lexists(folder) and (owner := folder.lstat().st_uid) != 0:
            # initdb and pg_ctl look their own account up by number, so it must have a name.
            try:
                return ServerAccount(owner, pwd.getpwuid(owner).pw_gid)
            except KeyError:
                continue
    try:
        entry = pwd.getpwnam(_ACCOUNT_NAME)
    except KeyError:
        entry = _create_account()
    return ServerAccount(entry.pw_uid, entry.pw_gid)


def _create_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _ACCOUNT_NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        # Another process may have created it between our look and our attempt.
        try:
            return pwd.getpwnam(_ACCOUNT_NAME)
        except KeyError:
            detail = (
                error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            )
            raise ServerAccountError(
                f"PostgreSQL can't run as root, and the account {_ACCOUNT_NAME!r} can't be created "
                f"({detail}). Run as another user than root."
            ) from None
    return pwd.getpwnam(_ACCOUNT_NAME)
