"""Looking for a canary, a word that stands for a secret, in whatever data may be kept in.

Belongs here: reading files and databases whole. Does not belong here: where to look.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
from psycopg import sql

CANARY = "c4n4ry"


def tells(data: bytes) -> bool:
    """Whether a canary shows, also in what zlib has packed."""
    if CANARY.encode() in data:
        return True
    with suppress(zlib.error):
        return CANARY.encode() in zlib.decompress(data)
    return False


def cells_of_sqlite(file: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(file)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from (v if isinstance(v, bytes) else str(v).encode() for v in row)


def cells_of_postgres(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for table in tables:
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table)))
            for row in rows:
                for value in row:
                    yield table[1], value if isinstance(value, bytes) else str(value).encode()
