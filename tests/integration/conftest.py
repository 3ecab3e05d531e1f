"""Fixtures that several of the integration tests share."""

from collections.abc import Iterator

import pytest

from pipelines.embedded.postgres import EmbeddedPostgres
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
