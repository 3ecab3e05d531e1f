"""Reads that the server ends in the middle, many times over: nothing is lost, nothing is left."""

import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from assets.publishing.interfaces import ExtractSink, ExtractSummary
from assets.schemas.dictionary import Dataset
from pipelines.fleet.errors import FleetDatabaseUnavailable
from pipelines.store.report_store import ReportStore
from tests.integration.fleet_support import create_fleet, fleet, run_sql, value

ROUNDS = 100 if os.environ.get("FLAKELAG_TEST_SCALE") == "full" else 5
STATES = 100_000
OURS = "FROM pg_stat_activity WHERE application_name = 'flakelag' AND datname = current_database()"


class Terminating:
    """A sink that has the server end the connection after so many batches of the states."""

    def __init__(self, sink: ExtractSink, url: str, batches: int) -> None:
        self._sink = sink
        self._url = url
        self._left = batches

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        self._sink.write(dataset, self._terminating(dataset, batches))

    def _terminating(
        self, dataset: Dataset, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if dataset.name == "system_states":
                self._left -= 1
                if self._left == 0:
                    run_sql(self._url, f"SELECT pg_terminate_backend(pid) {OURS}")
            yield batch


def read(
    reports: ReportStore, url: str, run_id: str, end_after: int | None = None
) -> ExtractSummary:
    with reports.new_extract(run_id) as writer:
        sink = writer if end_after is None else Terminating(writer, url, end_after)
        summary = fleet(url, batch_bytes=50_000).extract(sink)
        writer.complete(summary)
    return summary


def staged_by(reports: ReportStore) -> int:
    extract = reports.newest_extract()
    assert extract is not None
    rows: int = extract.table("system_states").num_rows
    return rows


@pytest.mark.slow
def test_a_terminated_read_leaves_the_last_one_readable_and_the_next_one_free(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    chance, runs = random.Random(20261125), count(1)
    url, reports = create_fleet(new_database(), states=STATES), ReportStore(tmp_path)
    read(reports, url, f"run-{next(runs)}")
    rows = STATES + 1

    for _ in range(ROUNDS):
        with pytest.raises(FleetDatabaseUnavailable) as caught:
            read(reports, url, f"run-{next(runs)}", end_after=chance.randrange(1, 40))
        assert caught.value.retryable
        assert staged_by(reports) == rows
        assert value(url, f"SELECT count(*) {OURS}") == 0
        # Each has a row more, so that it shows which was read.
        run_sql(
            url,
            "INSERT INTO system_states (hostname, change_reason, store_path)"
            " VALUES ('web', 'startup', '/nix/store/d-web')",
        )
        rows += 1
        assert read(reports, url, f"run-{next(runs)}").rows_staged["system_states"] == rows
        assert staged_by(reports) == rows
