"""What the tests of reading the fleet database share: small fleets, and sinks that look on."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from assets.publishing.interfaces import ExtractSummary
from assets.schemas.dictionary import Dataset
from pipelines.demo.source_schema import Generation, create_source_schema, deployed_path_column
from pipelines.fleet.extraction import FleetDatabase

REQUIRED = ("flakes", "commits", "derivations", "systems", "system_states")


class MemorySink:
    """Keeps the tables, and lets a test do something just before each of them is read."""

    def __init__(self, before: Callable[[str], None] | None = None) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.batches: dict[str, list[pa.RecordBatch]] = {}
        self._before = before

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        if self._before is not None:
            self._before(dataset.name)
        taken = list(batches)
        assert dataset.name not in self.tables
        self.batches[dataset.name] = taken
        self.tables[dataset.name] = pa.Table.from_batches(taken, dataset.arrow_schema)

    def column(self, table: str, column: str) -> list[Any]:
        values: list[Any] = self.tables[table].column(column).to_pylist()
        return values

    @property
    def quarantined(self) -> list[tuple[str, str | None, str, str, str]]:
        """Of each quarantined row: table, key, column, reason, raw text."""
        names = ("source_table", "row_key", "source_column", "reason", "raw_text")
        return [tuple(row[n] for n in names) for row in self.tables["quarantine"].to_pylist()]


class ParquetSink:
    """Writes each table to a file as its batches come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        path = self.folder / f"{dataset.name}.parquet"
        with pq.ParquetWriter(path, dataset.arrow_schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def fleet(url: str, **options: Any) -> FleetDatabase:
    limits = {"lock_timeout": timedelta(seconds=5), "statement_timeout": timedelta(seconds=60)}
    return FleetDatabase(SecretStr(url), **{**limits, **options})


def extract(url: str, sink: Any = None, **options: Any) -> tuple[ExtractSummary, MemorySink]:
    sink = sink if sink is not None else MemorySink()
    return fleet(url, **options).extract(sink), sink


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def value(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def create_fleet(url: str, generation: Generation = "newest", states: int = 0) -> str:
    """A schema, and one flake, commit, derivation, system and deployed state.

    `states` further states of host `web` are all usable, one a minute.
    """
    path = deployed_path_column(generation)
    with psycopg.connect(url) as connection:
        create_source_schema(connection, generation)
    run_sql(
        url,
        "INSERT INTO flakes (id, name, repo_url) VALUES (1, 'infra', 'git+https://git/infra')",
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " VALUES (1, 1, 'c0ffee', '2026-01-01 10:00:00+00')",
        "INSERT INTO derivations"
        " (id, commit_id, derivation_type, derivation_name, derivation_path, status_id)"
        " VALUES (1, 1, 'nixos', 'web', '/nix/store/d-web.drv', 10)",
        "INSERT INTO systems (id, hostname, flake_id, created_at)"
        " VALUES ('00000000-0000-0000-0000-000000000001', 'web', 1, '2026-01-01 09:00:00+00')",
        f"INSERT INTO system_states (hostname, change_reason, timestamp, {path})"
        " SELECT 'web', 'startup', timestamptz '2026-01-02 00:00:00+00' + i * interval '1 minute',"
        f" '/nix/store/d-web' FROM generate_series(0, {states}) AS i",
    )
    return url
