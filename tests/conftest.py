"""Fixtures for all tests: a real PostgreSQL server, fresh databases in it, a demo fleet to read."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pipelines.demo.ensure import READER_ROLE, grant_reader_role
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import fill_database
from pipelines.embedded.postgres import EmbeddedPostgres

_database_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A server of this test session's own, in a short folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    # What the tests kill is our code; nobody cuts the power, so nothing needs to be durable.
    not_durable = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    server = EmbeddedPostgres(folder / "pg", settings=not_durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        if (pid := server.pid) is not None:
            # A process that some test started still uses it.
            os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(folder)


@pytest.fixture
def new_database(postgres_server: EmbeddedPostgres) -> Iterator[Callable[..., str]]:
    """Creates a fresh empty database at each call, and returns its URL; dropped afterwards."""
    created = []

    def create(encoding: str = "UTF8") -> str:
        name = f"test_{next(_database_numbers)}"
        created.append(name)
        return postgres_server.ensure_database(name, encoding)

    yield create
    # FORCE, because a test that kills a client leaves its connection for the server to notice.
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        for name in created:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


@pytest.fixture(scope="session")
def demo_fleet_url(postgres_server: EmbeddedPostgres) -> str:
    """A small demo fleet as of now, read as the least-privilege role."""
    spec = DemoFleet(until=datetime.now(UTC), systems=60, commits=120, package_derivations=2_000)
    owner_url = postgres_server.ensure_database("demo_fleet")
    with psycopg.connect(owner_url) as connection:
        fill_database(connection, generate_fleet(spec), spec.generation)
        grant_reader_role(connection)
    return postgres_server.url("demo_fleet", user=READER_ROLE)


_first_to_fail = pytest.StashKey[dict[int, tuple[BaseException, str]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lets a fixture that several tests share fail once: the others only say where to look.

    pytest remembers the exception and raises it again for each of them, as if each had waited.
    """
    report = yield
    if call.when == "setup" and call.excinfo is not None and report.failed:
        failed = item.config.stash.setdefault(_first_to_fail, {})
        error = call.excinfo.value
        # The exception is kept too, so that no other gets its id.
        _, first = failed.setdefault(id(error), (error, item.nodeid))
        if first != item.nodeid:
            report.longrepr = f"A fixture that it shares with {first} failed there."
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Lets tests start `python -m tests...` after one that has opened an instance in this process.

    What opens one forbids the processes it starts to import from the folder they are started in.
    """
    os.environ.pop("PYTHONSAFEPATH", None)
