"""The fleet that is measured: made up, loaded into a server, extracted from it."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.interfaces import ExtractSummary
from assets.schemas import SOURCE_TABLES
from pipelines.demo.fleet import DemoFleet, generate_fleet, staged_tables
from pipelines.demo.load import load_fleet
from pipelines.fleet.extraction import FleetDatabase
from pipelines.store.report_store import ReportStore
from tests.benchmark.measure import Stopwatch, peak_memory


@dataclass(frozen=True)
class Reading:
    """What reading the fleet database took.

    Attributes:
        seconds: the least of all repetitions.
        peak_memory: of the process, in bytes.
    """

    seconds: float
    peak_memory: int


def load(url: str, spec: DemoFleet) -> dict[str, int]:
    """Fills an empty database with the fleet, and gives the planner its statistics.

    Returns:
        The number of rows of each table.
    """
    tables = generate_fleet(spec)
    load_fleet(url, tables, spec.generation)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return _row_counts(tables)


def stage(spec: DemoFleet, folder: Path) -> dict[str, int]:
    """Stages the fleet as an extraction would, without a database.

    Returns:
        The number of rows of each table.
    """
    tables = generate_fleet(spec)
    staged = staged_tables(tables, spec.generation)
    counts = _row_counts(staged)
    summary = ExtractSummary(
        extracted_at=spec.until,
        generation=spec.generation,
        server_version=0,
        rows_read=counts,
        rows_staged=counts,
        rows_quarantined={},
        values_cleared={},
        optional_tables=(),
        notes=(),
    )
    with ReportStore(folder).new_extract("benchmark") as writer:
        for dataset in (table for table in SOURCE_TABLES if table.name in staged):
            writer.write(dataset, iter(staged[dataset.name].to_batches()))
        writer.complete(summary)
    return _row_counts(tables)


def extract(url: str, folder: Path, repetitions: int) -> Reading:
    """Extracts the fleet as the job does: read, sorted out, written to Parquet, durable."""
    stopwatch = Stopwatch()
    for number in range(repetitions):
        with ReportStore(folder).new_extract(f"benchmark-{number}") as writer:
            summary = stopwatch.time("extract", FleetDatabase(SecretStr(url)).extract, writer)
            writer.complete(summary)
    return Reading(stopwatch.seconds["extract"], peak_memory())


def _row_counts(tables: dict[str, pa.Table]) -> dict[str, int]:
    return {name: table.num_rows for name, table in tables.items()}
