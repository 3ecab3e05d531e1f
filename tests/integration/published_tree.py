"""A published tree for tests that only read: the demo fleet's last days, with its history database.

Published once a session, by the fixture `published` of `tests/integration/conftest.py`.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.analysts import analyst_views
from assets.history import STATUS_VIEW
from assets.schemas import DEPLOYMENT_HISTORY, PUBLISHED_DATASETS, SOURCE_TABLES
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.integration.pipeline import Pipeline, failures, quiet_instance

PAST_DAYS = 9
"""How many closed days there are, besides today."""


@contextmanager
def published_tree(
    fleet_url: str, postgres_server: EmbeddedPostgres, folder: Path
) -> Iterator[Pipeline]:
    """Publishes everything but pages and metrics, in `reports` below a folder."""
    selection = [
        *(dataset.name for dataset in (*SOURCE_TABLES, *PUBLISHED_DATASETS, DEPLOYMENT_HISTORY)),
        STATUS_VIEW,
        analyst_views.key.to_user_string(),
    ]
    history_url = postgres_server.ensure_database("published_tree_history")
    with quiet_instance(folder / "dagster") as instance:
        pipeline = Pipeline(fleet_url, history_url, folder / "reports", instance)
        today = dt.datetime.now(dt.UTC).date()
        first = today - dt.timedelta(days=PAST_DAYS)
        result = pipeline.run(first.isoformat(), today.isoformat(), selection=selection)
        assert result.success, failures(result)
        yield pipeline
