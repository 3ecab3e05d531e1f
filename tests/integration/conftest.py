"""Fixtures that several of the integration tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.database import HistoryDatabase
from pipelines.store.report_store import ReportStore
from tests.integration.pipeline import Pipeline
from tests.integration.published_tree import published_tree


@pytest.fixture(scope="session")
def published(
    demo_fleet_url: str,
    postgres_server: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pipeline]:
    """The demo fleet's last days; only read it."""
    folder = tmp_path_factory.mktemp("published")
    with published_tree(demo_fleet_url, postgres_server, folder) as pipeline:
        yield pipeline


@pytest.fixture
def url(new_database: Callable[..., str]) -> str:
    """Of a fresh empty database."""
    return new_database()


@pytest.fixture
def history(url: str) -> HistoryDatabase:
    """The history in that database, empty."""
    database = HistoryDatabase(SecretStr(url))
    database.migrate()
    return database


@pytest.fixture
def store(tmp_path: Path) -> ReportStore:
    """A report store in a folder that does not exist yet."""
    return ReportStore(tmp_path / "reports")
