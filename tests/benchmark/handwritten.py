"""The same rows by the SQL that a database administrator would write by hand."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from assets.schemas import DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS
from tests.benchmark.measure import Stopwatch
from tests.benchmark.rows import write_rows

STATEMENTS = {SYSTEM_DEPLOYMENT_STATUS.name: "status.sql", DEPLOYMENTS.name: "deployments.sql"}
INDEXES = "building the two indexes"

# What an administrator would set for one large report: no sort goes to disk.
_SETTINGS = ("SET work_mem = '1GB'", "SET jit = off", "SET timezone = 'UTC'")


def run(
    url: str, snapshot_at: datetime, rows: Path, repetitions: int, *, more_indexes: bool = False
) -> Mapping[str, float]:
    """Runs the statements and brings their rows into this process.

    Args:
        url: of the fleet database.
        snapshot_at: T.
        rows: where to leave the rows of the last repetition, to be compared.
        repetitions: how often.
        more_indexes: first build two indexes that the fleet database does not have.

    Returns:
        By dataset, and for building the indexes, the least time of all repetitions in seconds.
    """
    stopwatch = Stopwatch()
    if more_indexes:
        with psycopg.connect(url, autocommit=True) as owner:
            stopwatch.time(INDEXES, owner.execute, _read("more_indexes.sql"))
            owner.execute("VACUUM ANALYZE")
    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(setting)
        for name, file in STATEMENTS.items():
            statement = statement_at(file, snapshot_at)
            for _ in range(repetitions):
                table = stopwatch.time(name, _fetch, cursor, statement)
            write_rows(rows, name, table)
    return stopwatch.seconds


def statement_at(file: str, snapshot_at: datetime) -> str:
    """The statement of a file, with psql's variable `snapshot_at` filled in."""
    literal = f"timestamptz '{snapshot_at.isoformat()}'"
    return _read(file).decode().replace(":'snapshot_at'", literal).rstrip().removesuffix(";")


def _read(file: str) -> bytes:
    return Path(__file__).with_name(file).read_bytes()


def _fetch(cursor: dbapi.Cursor, statement: str) -> pa.Table:
    cursor.execute(statement)
    return cursor.fetch_arrow_table()
