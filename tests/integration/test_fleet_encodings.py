"""That text is read as UTF-8 whatever the fleet database's encoding and settings are."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from tests.integration.fleet_support import (
    ParquetSink,
    create_fleet,
    extract,
    run_sql,
    value,
)

NewDatabase = Callable[..., str]

STATE = "INSERT INTO system_states (id, hostname, change_reason, timestamp, store_path) VALUES "
# Enough usable states that a few others are under 1 %.
MANY = 2_000


def test_the_raw_text_does_not_depend_on_the_databases_settings(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=200)
    name = value(url, "SELECT current_database()")
    run_sql(
        url,
        f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {name} SET datestyle = 'German'",
        STATE + "(10001, 'web', 'startup', '3000-01-01 00:00:00+00', '/p'),"
        "(10002, 'web', 'startup', '2026-06-01 00:00:00+00', '/p')",
    )

    _, sink = extract(url)

    assert [row[-1] for row in sink.quarantined] == ["3000-01-01 00:00:00+00"]
    assert sink.column("system_states", "timestamp")[-1] == datetime(2026, 6, 1, tzinfo=UTC)


def test_text_that_is_not_utf_8(new_database: NewDatabase, tmp_path: Path) -> None:
    url = create_fleet(new_database("SQL_ASCII"), states=MANY)
    run_sql(
        url,
        r"INSERT INTO system_states (id, hostname, change_reason, store_path) SELECT 10001,"
        r" convert_from('\x636166e9', 'SQL_ASCII'), 'startup', '/p'",
        r"INSERT INTO system_states (id, hostname, change_reason, store_path) SELECT 10002, 'web',"
        r" 'startup', convert_from('\x2fff', 'SQL_ASCII')",
        r"INSERT INTO system_states (id, hostname, change_reason, store_path) SELECT 10003,"
        r" convert_from('\x636166c3a9', 'SQL_ASCII'), 'startup', '/p'",
    )

    _, sink = extract(url)

    assert sink.quarantined == [
        ("public.system_states", "10001", "hostname", "undecodable_text", r"caf\xe9"),
        ("public.system_states", "10002", "store_path", "undecodable_text", r"/\xff"),
    ]
    assert sink.column("system_states", "hostname")[-1] == "café"
    # Readers that refuse a file with invalid text accept what we stage.
    extract(url, ParquetSink(tmp_path))
    states = tmp_path / "system_states.parquet"
    assert pl.read_parquet(states).height == MANY + 2
    with duckdb.connect() as connection:
        query = f"SELECT max(hostname) FROM '{states}'"
        assert connection.execute(query).fetchall() == [("web",)]


def test_a_database_in_another_encoding_is_read_as_utf_8(new_database: NewDatabase) -> None:
    url = create_fleet(new_database("LATIN1"))
    run_sql(url, r"UPDATE flakes SET name = U&'Z\00fcrich'")

    _, sink = extract(url)

    assert sink.column("flakes", "name") == ["Zürich"]
