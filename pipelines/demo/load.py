"""Loading a generated fleet into PostgreSQL.

Belongs here: the bulk load of tables that `pipelines.demo.fleet` made. Does not belong here: making
them, or deciding where they go.
"""

import io
from collections.abc import Mapping

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql

from pipelines.demo.source_schema import (
    Generation,
    create_source_constraints,
    create_source_tables,
)

_ROWS_A_MESSAGE = 20_000
_INSERTED_BY_THE_SCHEMA = "derivation_statuses"
# Their ids continue after the loaded ones, for whoever inserts later.
_SERIAL_TABLES = (
    "flakes",
    "commits",
    "derivations",
    "system_states",
    "agent_heartbeats",
    "cache_push_jobs",
)


def load_fleet(url: str, tables: Mapping[str, pa.Table], generation: Generation) -> None:
    """Creates the source schema in an empty database and fills it, in one transaction.

    Args:
        url: of a database in which we may create tables in `public`.
        tables: as from `generate_fleet`, of the same generation.
        generation: of the schema.

    Raises:
        psycopg.errors.DuplicateTable: the database already has such tables; they stay untouched.
    """
    with psycopg.connect(url) as connection:
        fill_database(connection, tables, generation)


def fill_database(
    connection: psycopg.Connection, tables: Mapping[str, pa.Table], generation: Generation
) -> None:
    """Does what `load_fleet` does within the caller's transaction."""
    create_source_tables(connection, generation)
    for name, table in tables.items():
        if name != _INSERTED_BY_THE_SCHEMA:
            _copy(connection, name, table)
    # Keys and indexes over all rows at once take a third of the time that they take row by row.
    create_source_constraints(connection, generation)
    for name in _SERIAL_TABLES:
        if name not in tables:
            continue
        connection.execute(
            sql.SQL(
                "SELECT setval(pg_get_serial_sequence({name}, 'id'), max(id)) FROM {table} "
                "HAVING max(id) IS NOT NULL"
            ).format(name=sql.Literal(f"public.{name}"), table=sql.Identifier("public", name))
        )


def _copy(connection: psycopg.Connection, name: str, table: pa.Table) -> None:
    # CSV rather than binary, because the server then makes uuid and jsonb of our text.
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier("public", name),
        sql.SQL(", ").join(map(sql.Identifier, table.column_names)),
    )
    options = pacsv.WriteOptions(include_header=False)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in table.to_batches(max_chunksize=_ROWS_A_MESSAGE):
            message = io.BytesIO()
            pacsv.write_csv(batch, message, write_options=options)
            copy.write(message.getvalue())
