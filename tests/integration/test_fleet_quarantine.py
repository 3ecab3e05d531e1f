"""That rows which can't be used are taken out, counted and shown, and never just vanish."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from assets.schemas import QUARANTINE
from pipelines.fleet.errors import TooManyUnusableRows
from tests.integration.fleet_support import (
    REQUIRED,
    MemorySink,
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


def test_rows_in_are_rows_out_and_quarantined(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=MANY)
    run_sql(
        url,
        STATE + "(10001, 'web', 'startup', 'infinity', '/p'),"
        "(10002, 'web', 'startup', '-infinity', '/p'),"
        "(10003, 'web', 'startup', '294276-12-31 23:59:59+00', '/p'),"
        "(10004, 'web', 'startup', '0044-03-15 00:00:00+00 BC', '/p'),"
        "(10005, 'web', 'startup', '1969-12-31 23:59:59.999999+00', '/p'),"
        "(10006, 'web', 'startup', '2100-01-01 00:00:00+00', '/p'),"
        "(10007, '', 'startup', now(), '/p'),"
        "(10008, E' \\t', 'startup', now(), '/p'),"
        "(10009, repeat('x', 254), 'startup', now(), '/p'),"
        # These are just within.
        "(10010, 'web', 'startup', '1970-01-01 00:00:00+00', '/p'),"
        "(10011, 'web', 'startup', '2099-12-31 23:59:59.999999+00', '/p'),"
        "(10012, repeat('x', 253), 'startup', now(), '/p')",
    )

    summary, sink = extract(url)

    count = value(url, "SELECT count(*) FROM system_states")
    assert summary.rows_read["system_states"] == count
    assert summary.rows_staged["system_states"] == count - 9
    assert summary.rows_quarantined["system_states"] == 9
    for name in REQUIRED:
        assert summary.rows_staged[name] == sink.tables[name].num_rows
    assert set(range(10010, 10013)) < set(sink.column("system_states", "id"))
    assert not set(range(10001, 10010)) & set(sink.column("system_states", "id"))
    table = "public.system_states"
    assert sink.quarantined == [
        (table, "10001", "timestamp", "infinite_timestamp", "infinity"),
        (table, "10002", "timestamp", "infinite_timestamp", "-infinity"),
        (table, "10003", "timestamp", "absurd_timestamp", "294276-12-31 23:59:59+00"),
        (table, "10004", "timestamp", "absurd_timestamp", "0044-03-15 00:00:00+00 BC"),
        (table, "10005", "timestamp", "absurd_timestamp", "1969-12-31 23:59:59.999999+00"),
        (table, "10006", "timestamp", "absurd_timestamp", "2100-01-01 00:00:00+00"),
        (table, "10007", "hostname", "empty_hostname", ""),
        (table, "10008", "hostname", "empty_hostname", " \t"),
        (table, "10009", "hostname", "hostname_too_long", "x" * 254),
    ]
    assert sink.column("quarantine", "row_number") == list(range(1, 10))
    assert set(sink.column("quarantine", "extracted_at")) == {summary.extracted_at}


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


def test_repeated_keys_where_the_constraint_is_gone(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=500)
    run_sql(
        url,
        "ALTER TABLE agent_heartbeats DROP CONSTRAINT agent_heartbeats_system_state_id_fkey",
        "ALTER TABLE system_states DROP CONSTRAINT system_states_pkey",
        # A partial index guards nothing, and neither does one on more columns.
        "CREATE UNIQUE INDEX ON system_states (id) WHERE id < 5",
        "CREATE UNIQUE INDEX ON system_states (id, timestamp, hostname)",
        "ALTER TABLE systems DROP CONSTRAINT systems_hostname_key",
        "INSERT INTO systems (id, hostname, created_at)"
        " SELECT gen_random_uuid(), 'host-' || i, NULL FROM generate_series(1, 200) AS i",
        "INSERT INTO systems (id, hostname, created_at)"
        " VALUES ('ffffffff-0000-0000-0000-000000000000', 'web', NULL)",
        STATE + "(7, 'db', 'startup', '2026-05-01 00:00:00+00', '/q'),"
        # The first of the states with this key can't be used, so the second is not its duplicate.
        "(9999, 'db', 'startup', '-infinity', '/q'),"
        "(9999, 'db', 'startup', '2026-05-02 00:00:00+00', '/q')",
    )

    summary, sink = extract(url)

    assert sink.quarantined == [
        ("public.system_states", "7", "id", "duplicate_key", "7"),
        ("public.system_states", "9999", "timestamp", "infinite_timestamp", "-infinity"),
        (
            "public.systems",
            "ffffffff-0000-0000-0000-000000000000",
            "hostname",
            "duplicate_key",
            "web",
        ),
    ]
    assert len(set(sink.column("system_states", "id"))) == summary.rows_staged["system_states"]
    assert sink.column("system_states", "id")[-1] == 9999
    # Which of them is kept does not depend on where they lie.
    run_sql(url, "UPDATE system_states SET kernel = 'k' WHERE hostname = 'web'", "VACUUM FULL")
    _, again = extract(url)
    assert again.tables["system_states"].equals(sink.tables["system_states"])


def test_nulls_where_the_constraint_is_gone(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=500)
    run_sql(
        url,
        "ALTER TABLE system_states ALTER store_path DROP NOT NULL, ALTER timestamp DROP NOT NULL",
        "ALTER TABLE derivations ALTER derivation_type DROP NOT NULL",
        STATE + "(10001, 'web', 'startup', now(), NULL), (10002, 'web', 'startup', NULL, '/p')",
        "INSERT INTO derivations (id, derivation_type, derivation_name, status_id)"
        " SELECT i, CASE WHEN i > 2 THEN 'nixos' END, 'd', 1 FROM generate_series(2, 300) AS i",
    )

    summary, sink = extract(url)

    assert sink.quarantined == [
        ("public.derivations", "2", "derivation_type", "missing_value", "NULL"),
        ("public.system_states", "10001", "store_path", "missing_value", "NULL"),
        ("public.system_states", "10002", "timestamp", "missing_value", "NULL"),
    ]
    assert summary.rows_read["derivations"] == 300


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


def test_an_impossible_build_time_does_not_cost_the_derivation(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, "UPDATE derivations SET completed_at = 'infinity'")

    summary, sink = extract(url)

    assert sink.column("derivations", "id") == [1]
    assert sink.column("derivations", "completed_at") == [None]
    assert summary.values_cleared == {"derivations.completed_at": 1}
    assert sink.quarantined == []


def test_one_in_a_hundred_is_the_most_that_may_be_unusable(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=197)
    bad = STATE + "({0}, 'web', 'startup', 'infinity', '/p')"
    run_sql(url, bad.format(10001), bad.format(10002))

    assert extract(url)[0].rows_quarantined["system_states"] == 2

    hostname = "\\x1b[31m" * 60
    run_sql(
        url,
        f"INSERT INTO system_states (id, hostname, change_reason, store_path)"
        f" VALUES (10003, E'{hostname}', 'startup', '/p')",
    )
    sink = MemorySink()
    with pytest.raises(TooManyUnusableRows) as caught:
        extract(url, sink)

    text = str(caught.value)
    assert not caught.value.retryable
    assert "public.system_states: 3 of 201 rows (1.5%)" in text
    assert "public.system_states.timestamp: 2 infinite_timestamp" in text
    assert "10001: 'infinity'; 10002: 'infinity'" in text
    assert "public.system_states.hostname: 1 hostname_too_long" in text
    assert "Correct or delete" in text
    # Nothing that a host chose can drive the reader's terminal.
    assert text.replace("\n", "").isprintable()
    assert QUARANTINE.name not in sink.tables


def test_every_row_unusable_is_still_counted(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=30_000)
    run_sql(url, "UPDATE system_states SET timestamp = 'infinity'")

    with pytest.raises(TooManyUnusableRows, match="30,001 of 30,001 rows"):
        extract(url, batch_bytes=100_000)
