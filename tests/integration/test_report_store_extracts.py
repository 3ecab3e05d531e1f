"""Staged extracts: whole or not there, found by run, kept while they are used."""

import datetime as dt
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.publishing.conformity import UnpublishableDataError
from assets.schemas.source import DERIVATION_STATUSES, ENVIRONMENTS, FLAKES
from pipelines.store.extracts import (
    KEPT_WHILE_RECENT,
    ExtractNotFoundError,
    superfluous,
)
from pipelines.store.parquet_files import ROWS_PER_GROUP
from pipelines.store.report_store import ReportStore
from tests.integration.processes import KILLED, exit_codes, new_pipe, running
from tests.integration.store_writer import (
    NOON,
    VERSIONS,
    batches_of,
    read_at,
    rows_of,
    stage_and_die,
    stage_and_wait,
    stage_extract,
    summary,
)


def staged_files(store: ReportStore) -> list[Path]:
    return [path for path in (store.root / "_store" / "staging").rglob("*") if path.is_file()]


def kept(store: ReportStore) -> list[str]:
    """The runs whose extracts are there, the oldest first."""
    folders = sorted((store.root / "_store" / "extracts").iterdir())
    return [folder.name.partition("-")[2] for folder in folders]


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def of_flakes(rows: int) -> Iterator[pa.RecordBatch]:
    columns = {
        "id": range(rows),
        "name": ["name"] * rows,
        "repo_url": [f"url-{row}" for row in range(rows)],
    }
    table = FLAKES.with_later_columns(pa.table(columns)).cast(FLAKES.arrow_schema)
    yield from table.to_batches(max_chunksize=10_000)


def test_an_extract_is_read_as_it_was_staged(store: ReportStore) -> None:
    rows = ROWS_PER_GROUP + 20_000
    with store.new_extract("run-1") as writer:
        writer.write(FLAKES, of_flakes(rows))
        writer.write(ENVIRONMENTS, iter(()))
        writer.complete(
            summary(
                read_at(1),
                "older",
                rows_read={"flakes": rows + 1},
                rows_staged={"flakes": rows},
                rows_quarantined={"flakes": 1},
                values_cleared={"derivations.completed_at": 2},
                notes=("A note.",),
            )
        )

    extract = store.extract_for_run(["run-1"])

    assert extract.table("flakes").schema.equals(FLAKES.arrow_schema, check_metadata=True)
    assert extract.table("flakes")["id"].to_pylist() == list(range(rows))
    assert set(extract.tables()) == {"flakes", "environments"}
    assert extract.tables()["environments"].num_rows == 0
    assert extract.table("derivation_statuses").equals(
        DERIVATION_STATUSES.arrow_schema.empty_table()
    )
    with pytest.raises(KeyError, match="has no table commits"):
        extract.table("commits")
    assert extract.extracted_at == read_at(1)
    assert extract.run_id == "run-1"
    assert extract.rows_read == {"flakes": rows + 1}
    assert extract.summary == {
        "run_id": "run-1",
        "extracted_at": "2026-11-23T12:00:01+00:00",
        "generation": "older",
        "rows_read": {"flakes": rows + 1},
        "rows_staged": {"flakes": rows},
        "rows_quarantined": {"flakes": 1},
        "values_cleared": {"derivations.completed_at": 2},
        "notes": ["A note."],
    }
    metadata = pq.ParquetFile(extract.path / "flakes.parquet").metadata
    assert metadata.num_row_groups == 2
    assert staged_files(store) == []


def test_a_table_that_is_written_again_is_replaced(store: ReportStore) -> None:
    with store.new_extract("run-1") as writer:
        writer.write(FLAKES, of_flakes(5))
        writer.write(FLAKES, of_flakes(3))
        writer.complete(summary(NOON))

    assert store.extract_for_run(["run-1"]).table("flakes").num_rows == 3


def test_an_extract_is_seen_once_it_is_complete(store: ReportStore) -> None:
    with store.new_extract("run-1") as writer:
        writer.write(VERSIONS, batches_of(1))
        assert store.newest_extract() is None

    assert store.newest_extract() is None
    assert staged_files(store) == []


def test_an_interrupted_extraction_leaves_nothing(store: ReportStore) -> None:
    def interrupted() -> Iterator[pa.RecordBatch]:
        yield from batches_of(1)
        raise ConnectionResetError("the server went away")

    with pytest.raises(ConnectionResetError), store.new_extract("run-1") as writer:
        writer.write(VERSIONS, interrupted())

    assert store.newest_extract() is None
    assert staged_files(store) == []


def test_what_is_not_what_the_dataset_says_is_not_staged(store: ReportStore) -> None:
    without_name = pa.RecordBatch.from_pylist(
        [{"id": 1, "name": None, "repo_url": "url"}], FLAKES.arrow_schema
    )

    with (
        store.new_extract("run-1") as writer,
        pytest.raises(UnpublishableDataError, match=r"flakes\.name: null in 1 row, the first id=1"),
    ):
        writer.write(FLAKES, iter([without_name]))


def test_a_key_that_occurs_again_is_the_extraction_s_to_find(store: ReportStore) -> None:
    [batch] = of_flakes(3)
    twice = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()
    with store.new_extract("run-1") as writer:
        writer.write(FLAKES, iter(twice))
        writer.complete(summary(NOON))

    assert store.extract_for_run(["run-1"]).table("flakes").num_rows == 6


def test_a_run_finds_its_own_extract_then_that_of_the_run_it_repeats_then_the_newest(
    store: ReportStore,
) -> None:
    stage_extract(store, 1, "root")
    stage_extract(store, 2, "parent")
    stage_extract(store, 3, "parent")
    stage_extract(store, 4, "other")

    def found(*run_ids: str) -> dt.datetime:
        return store.extract_for_run(run_ids).extracted_at

    assert found("root") == read_at(1)
    assert found("mine", "parent", "root") == read_at(3)
    assert found("mine", "root", "parent") == read_at(1)
    assert found("mine") == read_at(4)
    newest = store.newest_extract()
    assert newest is not None
    assert newest.extracted_at == read_at(4)


def test_a_run_without_any_extract_is_told_what_to_do(store: ReportStore) -> None:
    with pytest.raises(ExtractNotFoundError, match="Materialize the source tables"):
        store.extract_for_run(["mine"])


def test_a_name_that_is_no_run_is_refused(store: ReportStore) -> None:
    with pytest.raises(ValueError, match="folder"), store.new_extract("../run"):
        pass


def test_the_newest_extracts_are_kept(store: ReportStore) -> None:
    for version in range(1, KEPT_WHILE_RECENT + 4):
        stage_extract(store, version)

    assert kept(store) == [f"run-{version}" for version in range(4, KEPT_WHILE_RECENT + 4)]
    assert staged_files(store) == []


def test_an_extract_in_use_is_not_removed(store: ReportStore) -> None:
    stage_extract(store, 1)
    used = store.extract_for_run(["run-1"])
    open_before = descriptors()
    for version in range(2, KEPT_WHILE_RECENT + 4):
        stage_extract(store, version)

    assert "run-1" in kept(store)
    # A daemon stages for months.
    assert descriptors() == open_before
    assert pq.read_table(used.path / "versions.parquet").num_rows == rows_of(1)

    del used
    stage_extract(store, KEPT_WHILE_RECENT + 4)
    assert "run-1" not in kept(store)


def name(hours: float) -> str:
    read = NOON + dt.timedelta(hours=hours)
    return f"{read:%Y%m%dT%H%M%S.%fZ}-run"


def test_what_is_superfluous_depends_on_age_and_number() -> None:
    hourly = [name(-hours) for hours in range(20)]
    daily = [name(-24 * days) for days in range(5)]
    mixed = [name(0), name(-1), name(-23.9), name(-24), name(-25)]

    assert superfluous([]) == []
    assert superfluous(hourly) == hourly[8:]
    assert superfluous(daily) == daily[2:]
    assert superfluous(mixed) == mixed[3:]


def test_what_a_dead_extraction_left_goes_and_what_a_living_one_stages_stays(
    store: ReportStore,
) -> None:
    ready, sender = new_pipe(duplex=False)
    with running(stage_and_wait, store.root, 1, sender):
        ready.recv()
        stage_extract(store, 2)
        assert [path.name for path in staged_files(store)].count("versions.parquet") == 1

    assert len(staged_files(store)) > 0
    stage_extract(store, 3)
    assert staged_files(store) == []
    assert kept(store) == ["run-2", "run-3"]


def test_an_extraction_may_die_at_any_step(tmp_path: Path) -> None:
    found = []
    for step in count():
        store = ReportStore(tmp_path / f"{step}")
        stage_extract(store, 1)

        [code] = exit_codes(stage_and_die, (store.root, 2, step))

        extract = store.extract_for_run(["run-2"])
        table = pq.read_table(extract.path / "versions.parquet")
        assert table.num_rows == rows_of(1 if extract.run_id == "run-1" else 2)
        found.append(extract.run_id)
        stage_extract(store, 3)
        assert staged_files(store) == []
        assert store.extract_for_run(["run-3"]).run_id == "run-3"
        if code == 0:
            break
        assert code == KILLED
    assert found == sorted(found)
    assert set(found) == {"run-1", "run-2"}
