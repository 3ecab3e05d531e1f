"""What pandas, pyarrow, polars and DuckDB read of a published dataset, and while it is written."""

import datetime as dt
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets.publishing.replacement import Outcome
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from assets.schemas.dictionary import BOOLEAN, DATE, INSTANT, INTEGER, NUMBER, TEXT
from pipelines.store.report_store import ReportStore
from tests.integration.processes import running
from tests.integration.store_writer import (
    DAY,
    VERSIONS,
    publish_version,
    publish_without_end,
    whole_version,
)

KILLS = 200 if os.environ.get("FLAKELAG_TEST_SCALE") == "full" else 12

DAYS = [dt.date(2026, 10, 31), dt.date(2026, 11, 1), dt.date(2026, 11, 2)]


def status_rows(date: dt.date, *, hosts: int, with_values: bool) -> list[dict[str, Any]]:
    """Rows with every nullable column null, or with every column filled."""
    at = dt.datetime.combine(date, dt.time(8, 15, 0, 123456), dt.UTC)
    values = {TEXT: "tëxt", INTEGER: 2**53 + 1, NUMBER: 0.1, BOOLEAN: True, INSTANT: at, DATE: date}
    return [
        {
            column.name: (
                None
                if column.nullable and not with_values
                else column.allowed[0]
                if column.allowed
                else f"host-{number}"
                if column.name == "hostname"
                else values[column.type]
            )
            for column in SYSTEM_DEPLOYMENT_STATUS.columns
        }
        for number in range(hosts)
    ]


class Published(NamedTuple):
    """The folder of a dataset, and its rows with their day, by day and hostname."""

    folder: Path
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Three days, the first with nothing but null where null may be."""
    store = ReportStore(tmp_path_factory.mktemp("readers"))
    folder = store.root / SYSTEM_DEPLOYMENT_STATUS.name
    rows = []
    for date, hosts in zip(DAYS, (2, 3, 4), strict=True):
        of_day = status_rows(date, hosts=hosts, with_values=date != DAYS[0])
        table = pa.Table.from_pylist(of_day, SYSTEM_DEPLOYMENT_STATUS.arrow_schema)
        at = of_day[0]["snapshot_at"]
        store.publish(
            SYSTEM_DEPLOYMENT_STATUS, date, table, snapshot_at=at, extracted_at=at, run_id="run"
        )
        rows += [row | {"date": date} for row in of_day]
    # A folder without a file, as it is for a moment before a day is first published.
    (folder / "date=2026-11-03").mkdir()
    return Published(folder, rows)


def from_duckdb(source: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found: pa.Table = connection.sql(f"FROM {source}").to_arrow_table()
        return found


def from_pandas(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def pandas_of(files: Any) -> pa.Table:
    """Its annotations don't know that it takes a list of files."""
    return from_pandas(pd.read_parquet(files, dtype_backend="pyarrow"))


OF_FOLDER: dict[str, Callable[[str], pa.Table]] = {
    "pandas": pandas_of,
    "pyarrow.parquet": pq.read_table,
    "pyarrow.dataset": lambda folder: ds.dataset(folder, partitioning="hive").to_table(),
    "polars": lambda folder: pl.read_parquet(folder).to_arrow(),
    "polars, lazily": lambda folder: pl.scan_parquet(folder).collect().to_arrow(),
    "duckdb": lambda folder: from_duckdb(f"read_parquet('{folder}')"),
}
OF_PATTERN: dict[str, Callable[[Path, str], pa.Table]] = {
    "pandas": lambda folder, pattern: pandas_of(sorted(folder.glob(pattern))),
    "pyarrow.parquet": lambda folder, pattern: pq.read_table(sorted(folder.glob(pattern))),
    "polars": lambda folder, pattern: pl.read_parquet(
        folder / pattern, hive_partitioning=True
    ).to_arrow(),
    "duckdb": lambda folder, pattern: from_duckdb(f"'{folder}/{pattern}'"),
}


def require_all(table: pa.Table, rows: list[dict[str, Any]]) -> None:
    """Holds what a reader gave to the rows that were published, values and types."""
    found = table.to_pylist()
    if isinstance(found[0]["date"], str):
        found = [row | {"date": dt.date.fromisoformat(row["date"])} for row in found]
    assert sorted(found, key=lambda row: (row["date"], row["hostname"])) == rows
    for column in SYSTEM_DEPLOYMENT_STATUS.columns:
        kind = table.schema.field(column.name).type
        if column.type == TEXT:
            assert pa.types.is_string(kind) or pa.types.is_large_string(kind), column.name
        elif column.type == INSTANT:
            assert (kind.unit, kind.tz) in {("us", "UTC"), ("us", "Etc/UTC")}, column.name
        else:
            assert kind == column.type, column.name


@pytest.mark.parametrize("reader", OF_FOLDER)
def test_the_folder_is_one_table(published: Published, reader: str) -> None:
    require_all(OF_FOLDER[reader](str(published.folder)), published.rows)


@pytest.mark.parametrize("pattern", ["**/*.parquet", "date=*/data.parquet"])
@pytest.mark.parametrize("reader", OF_PATTERN)
def test_a_pattern_is_one_table(published: Published, reader: str, pattern: str) -> None:
    require_all(OF_PATTERN[reader](published.folder, pattern), published.rows)


def test_the_day_is_a_column_to_choose_by(published: Published) -> None:
    folder = str(published.folder)
    from_november = [row for row in published.rows if row["date"] >= dt.date(2026, 11, 1)]

    later = [
        from_pandas(pd.read_parquet(folder, filters=[("date", ">=", "2026-11-01")])),
        pq.read_table(folder, filters=[("date", ">=", "2026-11-01")]),
        pl.scan_parquet(folder).filter(pl.col("date") >= dt.date(2026, 11, 1)).collect().to_arrow(),
        from_duckdb(f"'{folder}/**/*.parquet' WHERE date >= '2026-11-01'"),
    ]

    assert [table.num_rows for table in later] == [len(from_november)] * 4


def test_the_day_is_a_date_for_polars_and_duckdb_and_text_for_arrow(published: Published) -> None:
    folder = str(published.folder)

    assert pl.scan_parquet(folder).collect_schema()["date"] == pl.Date
    assert from_duckdb(f"'{folder}/**/*.parquet'").schema.field("date").type == DATE
    assert ds.dataset(folder, partitioning="hive").schema.field("date").type == TEXT


def test_columns_of_few_values_are_stored_as_dictionaries(published: Published) -> None:
    metadata = pq.ParquetFile(published.folder / "date=2026-11-02" / "data.parquet").metadata
    group = metadata.row_group(0)

    with_dictionary = {
        group.column(i).path_in_schema
        for i in range(group.num_columns)
        if group.column(i).has_dictionary_page
    }

    assert with_dictionary == set(SYSTEM_DEPLOYMENT_STATUS.repeated_columns)


def read_whole(read: Callable[[str], pa.Table], folder: str) -> int:
    """The version that a reader which opens a file once finds: always all of one."""
    return whole_version(read(folder))


def read_whole_or_again(read: Callable[[str], pa.Table], folder: str) -> int:
    """The same for one that opens it twice: it may report that the file is not what it was."""
    for _ in range(100):
        try:
            table = read(folder)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, duckdb.Error):
            continue
        return whole_version(table)
    pytest.fail("It never found a whole version.")


@pytest.mark.slow
def test_readers_find_whole_versions_while_writers_are_killed(tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    publish_version(store, 0)
    folder = str(tmp_path / VERSIONS.name)
    opening_once = [OF_FOLDER["pandas"], OF_FOLDER["pyarrow.parquet"]]
    opening_twice = [OF_FOLDER["polars"], OF_FOLDER["duckdb"]]
    chance = random.Random(20261123)
    seen = {0}

    for _ in range(KILLS):
        first = max(seen) + 1
        with running(publish_without_end, tmp_path, first) as writer:
            while max(seen) < first:
                assert writer.is_alive()
                seen.add(whole_version(store.read(VERSIONS, DAY)))
            for _ in range(chance.randrange(5)):
                seen |= {read_whole(read, folder) for read in opening_once}
                seen |= {read_whole_or_again(read, folder) for read in opening_twice}
                files = [path.name for path in Path(folder).rglob("*") if path.is_file()]
                assert files == ["data.parquet"]
        left = whole_version(store.read(VERSIONS, DAY))
        assert {whole_version(read(folder)) for read in opening_once + opening_twice} == {left}
        assert left >= max(seen)
        seen.add(left)

    assert publish_version(store, max(seen) + 1).outcome is Outcome.PUBLISHED
    assert whole_version(store.read(VERSIONS, DAY)) == max(seen) + 1
    assert len(seen) > KILLS
