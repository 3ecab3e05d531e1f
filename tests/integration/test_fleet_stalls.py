"""Servers that fall silent and readers that stop: nobody waits for either without end."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.errors import FleetDatabaseUnavailable
from tests.integration.command_process import (
    FLAKELAG,
    ROOT,
    kill_session,
    running,
    session_members,
)
from tests.integration.fleet_support import create_fleet, extract, run_sql
from tests.integration.tcp_door import free_port, open_door
from tests.integration.tcp_postgres import installations, tcp_postgres
from tests.waiting import wait_until

NewDatabase = Callable[..., str]
A_SECOND = timedelta(seconds=1)
# More than any buffer on the way takes.
MANY_STATES = 300_000


def behind(server: EmbeddedPostgres) -> Path:
    return server.data_dir / "cluster" / ".s.PGSQL.5432"


def through_door(url: str, port: int) -> str:
    database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    return f"postgresql://postgres@127.0.0.1:{port}/{database}"


def readers() -> list[int]:
    """The readers that this process has started."""
    found = []
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        # A thread may end while it is looked at.
        with suppress(OSError):
            found += [int(pid) for pid in children.read_text().split() if is_reader(pid)]
    return found


def is_reader(pid: str | int) -> bool:
    with suppress(OSError):
        return b"pipelines.fleet.reader" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.mark.parametrize("lets_out", [0, 30, 1_500, 20_000, 2_000_000])
def test_a_server_that_falls_silent_is_given_up_on(
    postgres_server: EmbeddedPostgres, new_database: NewDatabase, lets_out: int
) -> None:
    url, port = create_fleet(new_database(), states=50_000), free_port()

    with (
        open_door(port, behind(postgres_server), lets_out),
        pytest.raises(FleetDatabaseUnavailable, match="sent nothing for 1 s") as caught,
    ):
        extract(through_door(url, port), patience=A_SECOND)

    assert caught.value.retryable
    assert "DATABASE_STALL_SECONDS" in str(caught.value)
    assert readers() == []


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port at which somebody gives one answer, whatever is asked, and then nothing more."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = opened.enter_context(listener.accept()[0])
                    connection.recv(1000)
                    connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


@pytest.mark.parametrize("answer", [b"", b"S"], ids=["nothing", "TLS, and then nothing"])
def test_a_handshake_that_stalls_is_given_up_on(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(FleetDatabaseUnavailable) as caught:
        extract(f"postgresql://u@127.0.0.1:{port}/x?sslmode=require", patience=A_SECOND)

    assert caught.value.retryable
    assert readers() == []


def test_a_handshake_that_stalls_is_given_up_on_by_libpq_too() -> None:
    with answering(b"") as port, pytest.raises(FleetDatabaseUnavailable, match="can't be reached"):
        extract(f"postgresql://u@127.0.0.1:{port}/x?connect_timeout=2")


def test_ctrl_c_ends_a_command_whose_server_has_fallen_silent(
    postgres_server: EmbeddedPostgres, new_database: NewDatabase, tmp_path: Path
) -> None:
    url, port = create_fleet(new_database(), states=MANY_STATES), free_port()
    settings = {"FLEET_DATABASE_URL": through_door(url, port), "DATABASE_STALL_SECONDS": "86400"}
    command = (*FLAKELAG, "report")

    with (
        open_door(port, behind(postgres_server), 2_000_000),
        running(command, tmp_path, tmp_path / "said", **settings) as process,
    ):
        wait_until(lambda: any(map(is_reader, session_members(process.pid))), process)
        wait_until(lambda: waits_for_its_client(url), process)
        process.send_signal(signal.SIGINT)
        # Without end otherwise.
        wait_until(lambda: process.poll() is not None)

        assert process.returncode == 128 + signal.SIGINT
        assert (tmp_path / "said").read_text().splitlines()[-1] == "Interrupted."
        wait_until(lambda: session_members(process.pid) == [])


def waits_for_its_client(url: str) -> bool:
    query = "SELECT FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = %s"
    database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url) as connection:
        return connection.execute(query, [database]).fetchone() is not None


@contextmanager
def stopped_reader(url: str, seconds: float, who: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has stopped in the middle of its read; `who`: it alone, or `all` of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.fleet_reading", url, str(seconds), who],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in the middle\n"
        with process.stdout:
            yield process
    finally:
        kill_session(process)


def alter(url: str) -> None:
    """What the owner does meanwhile; waits long, but not as long as it would have to."""
    run_sql(url, "SET lock_timeout = '70s'", "ALTER TABLE system_states ADD COLUMN more int")


@pytest.mark.parametrize("version", [16, 18])
def test_a_stopped_reader_lets_go_of_the_tables(version: int) -> None:
    with tcp_postgres(installations()[version]) as url:
        create_fleet(url, states=MANY_STATES)
        with stopped_reader(url, 86_400, "all"):
            alter(url)


def test_a_stopped_reader_lets_go_of_the_tables_over_a_unix_socket(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database(), states=MANY_STATES)
    with stopped_reader(url, 1, "alone"):
        alter(url)


def test_a_reader_ends_with_the_process_that_started_it(
    postgres_server: EmbeddedPostgres, new_database: NewDatabase
) -> None:
    url, port = create_fleet(new_database(), states=MANY_STATES), free_port()
    # Silent, so that the reader waits inside of its driver.
    with open_door(port, behind(postgres_server), 2_000_000):
        with stopped_reader(through_door(url, port), 86_400, "alone") as process:
            process.kill()
            wait_until(lambda: session_members(process.pid) == [process.pid])
        alter(url)
