"""Databases between the generations: whichever of the new columns and tables are there."""

import os
import random
from collections.abc import Callable

import psycopg
import pyarrow as pa
import pytest

from assets.compute.fleet import FleetTables
from assets.schemas import OPTIONAL_TABLES, REQUIRED_TABLES, SOURCE_TABLES
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import load_fleet
from pipelines.fleet.rules import OPTIONAL_COLUMNS
from tests.integration.fleet_support import MemorySink, extract
from tests.integration.test_demo_fleet import UNTIL

NewDatabase = Callable[..., str]

IS_FULL_SCALE = os.environ.get("FLAKELAG_TEST_SCALE") == "full"
SUBSETS = 200 if IS_FULL_SCALE else 25

COLUMNS = [
    (table.name, column)
    for table in REQUIRED_TABLES
    for column in OPTIONAL_COLUMNS.get(table.name, ())
]
TABLES = [table.name for table in OPTIONAL_TABLES]


@pytest.fixture
def whole(new_database: NewDatabase) -> tuple[str, MemorySink]:
    """A small fleet of the third generation, and what is read of it."""
    url = new_database()
    spec = DemoFleet(
        until=UNTIL,
        systems=40,
        flakes=4,
        commits=60,
        days=20,
        package_derivations=50,
        reports_per_host=5,
    )
    load_fleet(url, generate_fleet(spec), spec.generation)
    return url, extract(url)[1]


def drop(connection: psycopg.Connection, chosen: random.Random) -> tuple[set[str], set[str]]:
    """Drops a part of what not every database has; the names of the columns and tables."""
    share = chosen.random()
    columns = {f"{table}.{column}" for table, column in COLUMNS if chosen.random() < share}
    tables = {table for table in TABLES if chosen.random() < share}
    for name in sorted(columns):
        table, column = name.split(".")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column} CASCADE".encode())
    for name in sorted(tables):
        connection.execute(f"DROP TABLE {name} CASCADE".encode())
    return columns, tables


def expected(table: pa.Table, name: str, dropped: set[str]) -> pa.Table:
    for column in table.column_names:
        if f"{name}.{column}" in dropped:
            nulls = pa.nulls(len(table), table.schema.field(column).type)
            table = table.set_column(
                table.column_names.index(column), table.schema.field(column), nulls
            )
    return table


@pytest.mark.slow
def test_whichever_are_missing_the_others_are_read(
    whole: tuple[str, MemorySink], new_database: NewDatabase
) -> None:
    url, complete = whole
    for seed in range(SUBSETS):
        copy = new_database()
        name = psycopg.conninfo.conninfo_to_dict(copy)["dbname"]
        original = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(url.replace(f"/{original}", "/postgres"), autocommit=True) as server:
            server.execute(f"DROP DATABASE {name}".encode())
            server.execute(f"CREATE DATABASE {name} TEMPLATE {original}".encode())
        with psycopg.connect(copy, autocommit=True) as connection:
            columns, tables = drop(connection, random.Random(seed))

        summary, sink = extract(copy)

        what = f"seed {seed} without {sorted(columns)} and {sorted(tables)}"
        assert summary.notes == (), what
        assert set(summary.optional_tables) == set(TABLES) - tables, what
        read = [table for table in SOURCE_TABLES if table.name not in tables]
        assert sink.tables.keys() == {"quarantine", *(table.name for table in read)}, what
        for table in read:
            count = summary.rows_read[table.name]
            assert count == sink.tables[table.name].num_rows, what
            wanted = expected(complete.tables[table.name], table.name, columns)
            if table.name == "derivations":
                # Which packages explain a path depends on where it is looked for.
                is_nixos = pa.compute.field("derivation_type") == "nixos"
                wanted = wanted.filter(is_nixos)
                sink.tables[table.name] = sink.tables[table.name].filter(is_nixos)
            assert sink.tables[table.name].equals(wanted), (what, table.name)
        FleetTables.from_arrow({table.name: sink.tables[table.name] for table in read})
