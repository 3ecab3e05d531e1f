"""Fixtures for all tests: a real PostgreSQL server, fresh databases in it, a demo fleet to read."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pipelines.resources.embedded_postgres import EmbeddedPostgres

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
