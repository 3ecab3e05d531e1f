"""The embedded PostgreSQL: a real server for a machine that has none.

Belongs here: the life of one server below one folder, shared by any number of processes. Does not
belong here: what the server holds, such as the demo fleet or the history.

The launcher of the wheel that has the programs is left alone: it
counts its users in a file of process ids (wrong after a kill), takes any process of the recorded id
for the server, keeps a half-made cluster when it is killed, locks through one file in /tmp that the
machine's first user owns, gives up after ten seconds and lets everybody list root's folders.
"""

import atexit
import errno
import fcntl
import os
import re
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from assets.publishing.layout import VAR_FOLDERS
from pipelines.embedded.account import ServerAccount, server_account
from pipelines.embedded.programs import (
    WHEEL,
    EmbeddedPostgresError,
    advice_on,
    installation_folder,
    run,
)
from pipelines.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    create_file,
    explanation,
    make_private,
    names_in,
    open_file,
    open_resolved,
    read_bounded,
    set_mode,
    write_all,
)
from pipelines.postgres.address import startup_options
from pipelines.postgres.session import PINNED

_PORT = "5432"
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
# sun_path of macOS, the shorter one: 104 bytes with the terminating zero.
_LONGEST_SOCKET_PATH = 103
_START_SECONDS = 120.0


class EmbeddedPostgres:
    """A PostgreSQL server below a folder, started by its first user and stopped by its last.

    It stops with its last process, rather than running on, because a start takes a fifth of a
    second: `make report` and then `make ui` are quick all the same, and nothing is left running
    that nobody asked for. Being a user is a shared file lock, so that the kernel signs a killed
    process off. A last user that is killed leaves the server idle; the next to leave stops it.
    Whoever is merely connected, with psql for example, is no user and is disconnected then.

    The folder holds `cluster/` (PostgreSQL's data), `server.log` and lock files. Connections go
    through a Unix socket in `cluster/`, which only its owner may enter; no port is opened. Where
    that path is too long for a socket, or holds a comma, which libpq takes for a list of hosts,
    the socket lies in a private temporary folder.

    Not for Windows, which has neither these locks nor these sockets.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        var_dir: Path | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            data_dir: made if need be, with its parents; ours alone.
            settings: PostgreSQL settings for a server that this object has to start.
            var_dir: a parent of it that is made too, and ours alone if nothing else is in it.
        """
        self.data_dir = data_dir.expanduser().resolve()
        self._var_dir = var_dir.expanduser().resolve() if var_dir is not None else None
        self._cluster = self.data_dir / "cluster"
        self._settings = {"timezone": "UTC", "log_timezone": "UTC", **(settings or {})}
        self._user_lock: IO[bytes] | None = None
        self._process_id = 0
        self._socket_dir: Path | None = None

    @property
    def bin_path(self) -> Path:
        """The folder of PostgreSQL's programs (psql, pgbench, ...).

        Raises:
            EmbeddedPostgresError: the wheel is not installed.
        """
        return installation_folder() / "bin"

    @property
    def pid(self) -> int | None:
        """Process id of the running server (its postmaster), None if there is none."""
        recorded = self._pid_file_lines()
        return int(recorded[0]) if recorded and self._is_alive() else None

    def start(self) -> None:
        """Becomes a user of the server, making and starting it if need be; quick if it runs.

        Raises:
            EmbeddedPostgresError: the wheel is missing, or the server does not start.
            ServerAccountError: we are root, and no other account may run the server.
        """
        installation = installation_folder()
        try:
            own = [self.data_dir]
            if self._var_dir is not None and make_private(self._var_dir, VAR_FOLDERS):
                own.append(self._var_dir)
            make_private(self.data_dir)
            with self._exclusively():
                self._join()
                account = server_account(self.data_dir, self._cluster)
                if account is not None:
                    for folder in installation, *installation.parent.parent.glob(f"{WHEEL}.libs"):
                        account.open_for_reading(folder)
                    account.open_way_to(self._cluster, own)
                self._ensure_cluster(installation, account)
                self._ensure_running(account)
        except PermissionError as error:
            path = self.data_dir / os.fsdecode(error.filename or "")
            raise EmbeddedPostgresError(
                f"{path} belongs to another user, root perhaps. Once no server runs in "
                f"{self.data_dir}, take it back: `sudo chown -R $(id -u) {self.data_dir}`."
            ) from None
        except OSError as error:
            path = self.data_dir / os.fsdecode(error.filename or "")
            raise EmbeddedPostgresError(
                explanation(error, path, "use", "FLAKELAG_VAR_DIR")
            ) from None

    def stop(self) -> None:
        """Leaves the server, and stops it if no other process uses it; harmless when repeated."""
        # After a fork the lock is the parent's to give back.
        if self._user_lock is None or self._process_id != os.getpid():
            return
        atexit.unregister(self.stop)
        with self._user_lock as lock:
            self._user_lock, self._process_id = None, 0
            if not self.data_dir.exists():
                return
            with self._exclusively():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                self._shut_down()

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URI of a database, without a password: who may open the socket is trusted.

        Raises:
            EmbeddedPostgresError: the server was not started.
        """
        if self._socket_dir is None:
            raise EmbeddedPostgresError("The embedded server has no URL before start().")
        host = quote(str(self._socket_dir), safe="")
        # The port is said because libpq would otherwise take it from PGPORT.
        return f"postgresql://{quote(user)}@/{quote(database)}?host={host}&port={_PORT}"

    def ensure_database(self, name: str, encoding: str = "UTF8") -> str:
        """Creates a database, empty, unless it is there, and returns its URL."""
        options = startup_options(PINNED)
        with psycopg.connect(self.url(), options=options, autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (name,)).fetchone() is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}").format(
                    sql.Identifier(name), sql.Literal(encoding)
                )
                try:
                    connection.execute(statement)
                except (errors.DuplicateDatabase, errors.UniqueViolation):
                    # Another process created it since we looked.
                    return self.url(name)
        return self.url(name)

    def _join(self) -> None:
        if self._process_id == os.getpid():
            return
        if self._user_lock is not None:
            # We are a fork: the lock, of which this is a copy, is our parent's.
            self._user_lock.close()
        with open_resolved(self.data_dir) as folder:
            self._user_lock = _open_lock(folder, "users.lock")
        fcntl.flock(self._user_lock, fcntl.LOCK_SH)
        self._process_id = os.getpid()
        atexit.register(self.stop)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with open_resolved(self.data_dir) as folder:
            opened = _open_lock(folder, "start.lock")
        with opened as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ensure_cluster(self, installation: Path, account: ServerAccount | None) -> None:
        ours = re.sub(r"\D", "", installation.name)
        version = self._read_in_cluster("PG_VERSION", 10).strip()
        if version:
            if version != ours:
                raise EmbeddedPostgresError(
                    f"{self._cluster} was made by PostgreSQL {version}, the installed wheel has "
                    f"{ours}. Install the earlier {WHEEL}, or move {self.data_dir} away."
                )
            owner = self._cluster.lstat().st_uid
            if account is not None and owner != account.uid:
                account.own(self._cluster)
            elif account is None and owner != os.geteuid():
                raise PermissionError(errno.EACCES, "of another user", str(self._cluster))
            return
        # Made beside and then renamed, so that a killed initdb leaves nothing that looks complete.
        with open_resolved(self.data_dir) as folder:
            for name in names_in(folder):
                if name.startswith(_PARTIAL):
                    shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
            partial = self.data_dir / f"{_PARTIAL}{uuid.uuid4().hex}"
            os.mkdir(partial.name, PRIVATE_FOLDER, dir_fd=folder)
        if account is not None:
            account.own(partial)
        # The C locale exists everywhere and suits every encoding.
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        result = run(account, self._cluster, "initdb", *options, PGDATA=str(partial))
        if result.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedPostgresError(
                f"initdb failed in {self.data_dir}.{advice_on(result.stdout)} It says:\n"
                f"{result.stdout.strip()}"
            )
        partial.rename(self._cluster)

    def _is_alive(self) -> bool:
        """Whether any process of the server lives, be it an orphan of a killed postmaster.

        They all inherited the lock from `_launch`, which is the kernel's word; a recorded process
        id is not, as another process may have been given it since.
        """
        try:
            with open_resolved(self.data_dir) as folder:
                opened = open_file(folder, _SERVER_LOCK)
            with os.fdopen(opened, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _ensure_running(self, account: ServerAccount | None) -> None:
        give_up_at = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up_at:
            if not self._is_alive():
                self._disown_stale_files()
                if not self._launch(account):
                    break
            if self._accepts_connections():
                return
            time.sleep(0.05)
        log = self._end_of_log()
        raise EmbeddedPostgresError(
            f"The embedded server in {self.data_dir} does not start.{advice_on(log)} The end of "
            f"its log:\n{log}"
        )

    def _end_of_log(self) -> str:
        with open_resolved(self.data_dir) as folder:
            opened = open_file(folder, _LOG)
        with os.fdopen(opened, "rb") as log:
            log.seek(max(0, os.fstat(opened).st_size - 4096))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])

    def _disown_stale_files(self) -> None:
        """Makes what a killed server left behind harmless.

        PostgreSQL refuses to start while *any* process of its user has the id in postmaster.pid,
        as happens after a container restarts. It makes an exception for the process that runs
        pg_ctl, so the file is signed with our id; removing it would switch off other checks.
        """
        recorded = self._pid_file_lines()
        if not recorded:
            return
        for place in {self._cluster, *filter(_is_socket_folder, map(Path, recorded[4:5]))}:
            with suppress(FileNotFoundError), open_resolved(place) as folder:
                os.unlink(f"{_SOCKET_NAME}.lock", dir_fd=folder)
        signed = "\n".join([str(os.getpid()), *recorded[1:]])
        with open_resolved(self._cluster) as folder:
            owner = os.fstat(folder)
            # Beside and then renamed: what lies there may have become a link since it was read.
            beside = create_file(folder, f"{_PID_FILE}.signed", PRIVATE_FILE)
            if owner.st_uid != os.geteuid():
                os.fchown(beside, owner.st_uid, owner.st_gid)
            write_all(beside, signed.encode())
            os.rename(f"{_PID_FILE}.signed", _PID_FILE, src_dir_fd=folder, dst_dir_fd=folder)

    def _pid_file_lines(self) -> list[str]:
        """Process id, folder, start, port, socket folder, ...; fewer while the server starts."""
        return self._read_in_cluster(_PID_FILE, 4096).splitlines()

    def _read_in_cluster(self, name: str, size: int) -> str:
        """The beginning of a file in the cluster; nothing if there is none.

        Raises:
            OSError: the server's account put something else in its place.
        """
        try:
            with open_resolved(self._cluster) as folder:
                return read_bounded(folder, name, size)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._cluster / name)) from None

    def _launch(self, account: ServerAccount | None) -> bool:
        socket_dir = self._cluster
        too_long = len(os.fsencode(socket_dir / _SOCKET_NAME)) > _LONGEST_SOCKET_PATH
        if too_long or "," in str(socket_dir):
            socket_dir = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER)).resolve()
            if account is not None:
                account.open_way_to(socket_dir)
                account.own(socket_dir)
        settings = {
            **self._settings,
            "listen_addresses": "",
            "port": _PORT,
            # A list of quoted names, so that spaces are kept.
            "unix_socket_directories": '"' + str(socket_dir).replace('"', '""') + '"',
        }
        options = shlex.join(part for item in settings.items() for part in ("-c", "=".join(item)))
        arguments = ["start", "--wait", f"--timeout={_START_SECONDS:.0f}", f"--options={options}"]
        with open_resolved(self.data_dir) as folder:
            opened = open_file(folder, _LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            held = _open_lock(folder, _SERVER_LOCK)
        with os.fdopen(opened, "ab") as log, held as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = run(
                account, self._cluster, "pg_ctl", *arguments, output=log, pass_on=(lock.fileno(),)
            )
        return result.returncode == 0

    def _accepts_connections(self) -> bool:
        try:
            # The socket is where the server, whoever started it, says.
            self._socket_dir = Path(self._pid_file_lines()[4])
            options = startup_options(PINNED)
            with psycopg.connect(self.url(), options=options, connect_timeout=5):
                return True
        except (IndexError, psycopg.OperationalError):
            return False

    def _shut_down(self) -> None:
        if not self._is_alive():
            return
        account = server_account(self.data_dir, self._cluster)
        for mode in ("fast", "immediate"):
            arguments = ["stop", "--wait", "--timeout=30", f"--mode={mode}"]
            if run(account, self._cluster, "pg_ctl", *arguments).returncode == 0:
                break
        if self._socket_dir is not None and _is_socket_folder(self._socket_dir):
            shutil.rmtree(self._socket_dir, ignore_errors=True)


_PID_FILE = "postmaster.pid"
_SERVER_LOCK = "server.lock"
_LOG = "server.log"
_PARTIAL = "cluster.partial-"
_SOCKET_FOLDER = "flakelag-socket-"


def _open_lock(folder: int, name: str) -> IO[bytes]:
    opened = open_file(folder, name, os.O_RDWR | os.O_CREAT)
    # Whoever can open it can hold it, and with it us.
    set_mode(opened, PRIVATE_FILE)
    return os.fdopen(opened, "r+b", buffering=0)


def _is_socket_folder(folder: Path) -> bool:
    """Whether we made it: the server's account may have named any other in `postmaster.pid`."""
    made_in = Path(tempfile.gettempdir()).resolve()
    return folder.parent == made_in and folder.name.startswith(_SOCKET_FOLDER)
