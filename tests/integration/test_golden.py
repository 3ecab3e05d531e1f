"""What is published for a fixed fleet and fixed instants is what it was."""

from pathlib import Path
from typing import get_args

import pytest

from pipelines.demo.source_schema import Generation
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.golden import digests_of, read_digests


@pytest.mark.parametrize("generation", get_args(Generation))
def test_what_is_published_is_what_it_was(
    generation: Generation, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    assert digests_of(generation, postgres_server, tmp_path) == read_digests()[generation]
