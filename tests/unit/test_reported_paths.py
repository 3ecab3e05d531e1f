"""Which reported paths are looked up: those that no row read so far explains, each once."""

from collections.abc import Mapping

import pyarrow as pa

from assets.schemas.dictionary import Dataset
from assets.schemas.source import DERIVATIONS, SYSTEM_STATES
from pipelines.fleet.reported_paths import ReportedPaths


def _batch(dataset: Dataset, *rows: Mapping[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), dataset.arrow_schema)


def test_what_a_row_just_found_explains_is_not_looked_up_again() -> None:
    reports = [{"deployed_path": path} for path in ("/a.drv", "/a", "/a.drv", " ", "/b")]
    with ReportedPaths() as reported:
        reported.note(SYSTEM_STATES, _batch(SYSTEM_STATES, *reports[:2]))
        reported.note(SYSTEM_STATES, _batch(SYSTEM_STATES, *reports[2:]))
        looked_up = reported.unexplained(1)

        assert next(looked_up) == ["/a.drv"]
        found = {"derivation_path": "/a.drv", "store_path": "/a"}
        reported.note(DERIVATIONS, _batch(DERIVATIONS, found))

        assert list(looked_up) == [["/b"]]


def test_all_are_looked_up_so_many_at_once() -> None:
    reports = [{"deployed_path": f"/{number}"} for number in range(5)]
    with ReportedPaths() as reported:
        reported.note(SYSTEM_STATES, _batch(SYSTEM_STATES, *reports))
        assert list(reported.unexplained(2)) == [["/0", "/1"], ["/2", "/3"], ["/4"]]
