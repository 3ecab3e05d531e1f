"""Both ways, one after the other, each in processes of its own, and whether their rows agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from pipelines.demo.fleet import DemoFleet
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.benchmark import computation, handwritten, source
from tests.benchmark.measure import in_new_process
from tests.benchmark.rows import find_differences

_DATABASE = "fleet_of_the_benchmark"
# Enough memory for the server's caches; nothing that is measured writes to it.
SERVER_SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "fsync": "off",
    "synchronous_commit": "off",
}

_SELECTING = {
    False: "selecting the same rows with SQL",
    True: "selecting them with two more indexes",
}


@dataclass(frozen=True)
class Sql:
    """The hand-written SQL, on a database as it is and on one with two more indexes.

    Attributes:
        seconds: by dataset.
        seconds_with_indexes: by dataset, and for building the indexes.
        differences: where its rows are not ours, in words; empty if they are the same.
    """

    seconds: Mapping[str, float]
    seconds_with_indexes: Mapping[str, float]
    differences: list[str]


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        rows: by source table.
        reading: the extraction; None without a database.
        computation: our way.
        sql: the other way; None without a database.
    """

    rows: Mapping[str, int]
    reading: source.Reading | None
    computation: computation.Computation
    sql: Sql | None


def compare(spec: DemoFleet, repetitions: int, folder: Path, *, with_sql: bool) -> Comparison:
    """Measures one fleet.

    Args:
        spec: the fleet; T is its `until`.
        repetitions: of each measurement.
        folder: for everything that is made.
        with_sql: also load it into a PostgreSQL server, extract it from there, and run the SQL.
    """
    tell("making the fleet")
    if not with_sql:
        counts = in_new_process(source.stage, spec, folder)
        return Comparison(counts, None, _compute(spec, repetitions, folder), None)
    server = EmbeddedPostgres(folder / "postgres", settings=SERVER_SETTINGS)
    server.start()
    try:
        url = server.ensure_database(_DATABASE)
        counts = in_new_process(source.load, url, spec)
        tell("extracting it")
        reading = in_new_process(source.extract, url, folder, repetitions)
        computed = _compute(spec, repetitions, folder)
        sql = _run_sql(url, spec, repetitions, folder)
    finally:
        server.stop()
    return Comparison(counts, reading, computed, sql)


def _compute(spec: DemoFleet, repetitions: int, folder: Path) -> computation.Computation:
    return in_new_process(computation.compute, folder, spec.until, folder / "computed", repetitions)


def _run_sql(url: str, spec: DemoFleet, repetitions: int, folder: Path) -> Sql:
    differences = []

    def seconds(*, more_indexes: bool) -> Mapping[str, float]:
        tell(_SELECTING[more_indexes])
        rows = folder / f"selected-{more_indexes}"
        taken = in_new_process(
            handwritten.run, url, spec.until, rows, repetitions, more_indexes=more_indexes
        )
        for name in handwritten.STATEMENTS:
            differences.extend(find_differences(folder / "computed", rows, name))
        return taken

    return Sql(seconds(more_indexes=False), seconds(more_indexes=True), differences)


def tell(what: str) -> None:
    """Says what is done next."""
    click.echo(f"... {what}", err=True)
