"""That rows which can't be used are taken out, counted and shown, and never just vanish."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import psycopg
import pytest
from pydantic import SecretStr

from assets.schemas import QUARANTINE
from pipelines.fleet import queries
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.errors import TooManyUnusableRows
from pipelines.fleet.preflight import inspect_fleet
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


@pytest.mark.parametrize(
    ("table", "copy", "kept", "about"),
    [
        ("flakes", "id, name || 'x', repo_url || 'x'", 1, [(None, 1)]),
        ("commits", "id, flake_id, git_commit_hash || 'x', commit_timestamp", 1, [(None, 1)]),
        (
            "derivations",
            "id, commit_id, derivation_type, derivation_name, derivation_path || 'x', status_id",
            1,
            [(None, None)],
        ),
        ("system_states", "id, 'other', change_reason, timestamp, store_path", 1, [("web", None)]),
        # Which of the two is meant is not known, whatever their order.
        ("systems", "id, 'other', flake_id, created_at", 0, [("other", 1), ("web", 1)]),
    ],
)
def test_a_repeated_primary_key_of_any_table(
    new_database: NewDatabase,
    table: str,
    copy: str,
    kept: int,
    about: list[tuple[str | None, int | None]],
) -> None:
    url = create_fleet(new_database())
    columns = {
        "flakes": "id, name, repo_url",
        "commits": "id, flake_id, git_commit_hash, commit_timestamp",
        "derivations": (
            "id, commit_id, derivation_type, derivation_name, derivation_path, status_id"
        ),
        "system_states": "id, hostname, change_reason, timestamp, store_path",
        "systems": "id, hostname, flake_id, created_at",
    }
    run_sql(
        url,
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE",
        f"INSERT INTO {table} ({columns[table]}) SELECT {copy} FROM {table}",
    )

    summary, sink = extract(url)

    assert summary.rows_read[table] == 2
    assert sink.tables[table].num_rows == kept
    rows = sink.tables[QUARANTINE.name].to_pylist()
    assert {row["reason"] for row in rows} == {"duplicate_key"}
    assert {row["source_column"] for row in rows} == {"id"}
    assert [(row["hostname"], row["flake_id"]) for row in rows] == about


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


def insert_commits(url: str, good: int, bad: int) -> None:
    run_sql(
        url,
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " SELECT 10000 + i, 1, md5(i::text), timestamptz '2026-01-01 11:00:00+00'"
        f" FROM generate_series(1, {good}) AS i",
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        f" SELECT 20000 + i, 1, md5('bad' || i), 'infinity' FROM generate_series(1, {bad}) AS i",
    )


@pytest.mark.parametrize(
    ("good", "bad", "is_refused"),
    [
        # One flake, one bad commit of two; up to ten are never too many.
        (0, 1, False),
        (0, 10, False),
        (0, 11, True),
        # One commit is there already: 1 % of 1,200 is 12.
        (1_187, 12, False),
        (1_186, 13, True),
    ],
)
def test_more_than_one_in_a_hundred_and_more_than_ten_are_too_many(
    new_database: NewDatabase, good: int, bad: int, *, is_refused: bool
) -> None:
    url = create_fleet(new_database())
    insert_commits(url, good, bad)
    sink = MemorySink()

    if not is_refused:
        assert extract(url, sink)[0].rows_quarantined["commits"] == bad
        return
    with pytest.raises(TooManyUnusableRows) as caught:
        extract(url, sink)

    text = str(caught.value)
    assert not caught.value.retryable
    assert f"public.commits: {bad} of {good + bad + 1:,} rows" in text
    assert f"public.commits.commit_timestamp: {bad} infinite_timestamp" in text
    assert "'infinity'; " in text
    assert "Correct or delete" in text
    # Nothing that somebody chose can drive the reader's terminal.
    assert text.replace("\n", "").isprintable()
    assert QUARANTINE.name not in sink.tables


@pytest.mark.parametrize(
    "hostname",
    ["repeat('x', 1000000)", "i || repeat('x', 254)", "'web'", "E' \t'"],
    ids=["one too long", "many too long", "usable", "blank"],
)
def test_one_host_stops_nobody_however_much_it_reports(
    new_database: NewDatabase, hostname: str
) -> None:
    url = create_fleet(new_database(), states=20)
    run_sql(
        url,
        "INSERT INTO system_states (hostname, change_reason, timestamp, store_path)"
        f" SELECT {hostname}, 'startup', 'infinity', '/p' FROM generate_series(1, 100) AS i",
    )

    summary, sink = extract(url)

    assert summary.rows_staged["system_states"] == 21
    assert summary.rows_quarantined["system_states"] == 100
    assert sink.tables[QUARANTINE.name].num_rows == 100


def test_states_of_too_many_hosts_stop_the_report(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=10_000)
    run_sql(
        url,
        "INSERT INTO system_states (hostname, change_reason, timestamp, store_path)"
        " SELECT 'host-' || i, 'startup', 'infinity', '/p' FROM generate_series(1, 11) AS i",
    )

    with pytest.raises(TooManyUnusableRows, match=r"11 of 12 hosts \(91\.7%\)"):
        extract(url, batch_bytes=100_000)


def test_no_text_is_read_that_is_too_long_to_be_used(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        STATE + "(10001, repeat('ü', 1000000), 'startup', now(), '/p'),"
        "(10002, 'web', 'startup', now(), repeat('/ü', 1000000)),"
        "(10003, 'web', 'startup', now(), repeat('p', 4097)),"
        "(10004, 'web', 'startup', now(), repeat('p', 4096)),"
        "(10005, repeat(chr(128512), 253), 'startup', now(), '/p')",
        "INSERT INTO derivations (id, commit_id, derivation_type, derivation_name,"
        " derivation_path, status_id)"
        " VALUES (2, 1, 'nixos', 'web', repeat('d', 100000), 10)",
    )

    _, sink = extract(url)

    states, derivations = "public.system_states", "public.derivations"
    assert [row[:-1] for row in sink.quarantined] == [
        (derivations, "2", "derivation_path", "path_too_long"),
        (states, "10001", "hostname", "hostname_too_long"),
        (states, "10002", "store_path", "path_too_long"),
        (states, "10003", "store_path", "path_too_long"),
    ]
    assert {len(row[-1]) for row in sink.quarantined} == {1000}
    assert sink.column("system_states", "id")[-2:] == [10004, 10005]
    assert sink.column("quarantine", "hostname") == [None, None, "web", "web"]
    assert sum(batch.nbytes for batches in sink.batches.values() for batch in batches) < 100_000


def test_a_system_without_a_usable_created_at_is_one_since_ever(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, "UPDATE systems SET created_at = 'infinity', is_active = false")

    summary, sink = extract(url)

    [system] = sink.tables["systems"].to_pylist()
    assert (system["hostname"], system["created_at"]) == ("web", None)
    assert system["is_active"] is False
    assert summary.values_cleared == {"systems.created_at": 1}
    assert sink.quarantined == []


def test_a_row_of_a_system_that_cant_be_used_names_its_host(new_database: NewDatabase) -> None:
    url = create_fleet(new_database("SQL_ASCII"))
    run_sql(url, r"UPDATE systems SET system_configuration_name = E'caf\xe9'")

    _, sink = extract(url)

    assert sink.tables["systems"].num_rows == 0
    assert sink.column("quarantine", "hostname") == ["web"]


def test_an_optional_table_that_cant_be_read_counts_as_absent(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE environments RENAME TO environment_rows",
        "CREATE VIEW environments AS SELECT id, (1 / (length(name) - length(name)))::text AS name"
        " FROM environment_rows UNION ALL SELECT gen_random_uuid(), (1 / 0)::text",
    )

    summary, sink = extract(url)

    assert "environments" not in sink.tables
    assert "environments" not in summary.rows_read
    assert summary.optional_tables == ("derivation_statuses",)
    [note] = summary.notes
    assert "public.environments counts as absent" in note
    assert "division by zero" in note


@pytest.mark.parametrize(
    ("table", "bad_row", "reason"),
    [
        (
            "environments",
            "INSERT INTO environments (id, name)"
            " VALUES ('00000000-0000-0000-0000-000000000009', E'caf\\xe9')",
            "undecodable_text (by key, 00000000-0000-0000-0000-000000000009: 'caf",
        ),
        # A failed build and one that is missing would look alike.
        (
            "derivation_statuses",
            "UPDATE derivation_statuses SET name = E'caf\\xe9' WHERE id = 10",
            "undecodable_text (by key, 10: 'caf",
        ),
    ],
)
def test_a_table_of_names_of_which_a_row_cant_be_used_counts_as_absent(
    new_database: NewDatabase, table: str, bad_row: str, reason: str
) -> None:
    url = create_fleet(new_database("SQL_ASCII"))
    summary, sink = extract(url)
    assert table in sink.tables
    assert summary.notes == ()

    run_sql(url, bad_row)

    summary, sink = extract(url)
    assert table not in sink.tables
    assert table not in summary.optional_tables
    assert sink.tables[QUARANTINE.name].num_rows == 0
    [note] = summary.notes
    assert f"public.{table} counts as absent" in note
    assert reason in note


PACKAGE = (
    "INSERT INTO derivations (id, commit_id, derivation_type, derivation_name, derivation_path,"
    " store_path, status_id) VALUES "
)


def test_package_derivations_are_read_where_a_host_runs_one(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        PACKAGE + "(101, 1, 'package', 'hello', '/d/hello.drv', '/p/hello', 10),"
        "(102, NULL, 'package', 'it''s', E'/d/\\ it''s.drv', NULL, 10),"
        "(103, 1, 'package', 'unused', '/d/unused.drv', '/p/unused', 10),"
        # Its path is explained by a configuration.
        "(104, 1, 'package', 'web', '/d/web', '/nix/store/d-web.drv', 10)",
        STATE + "(10001, 'a', 'startup', now(), '/p/hello'),"
        "(10002, 'b', 'startup', now(), E'/d/\\ it''s.drv'),"
        "(10003, 'c', 'startup', now(), '/nix/store/d-web.drv'),"
        "(10004, 'd', 'startup', now(), ' '),"
        "(10005, 'e', 'startup', now(), '/nowhere')",
    )

    summary, sink = extract(url)

    assert sink.column("derivations", "id") == [1, 101, 102]
    assert summary.rows_read["derivations"] == 3


def test_package_derivations_are_looked_up_by_index(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "INSERT INTO derivations (id, commit_id, derivation_type, derivation_name,"
        " derivation_path, store_path, status_id)"
        " SELECT 100 + i, NULL, 'package', 'p', '/d/' || i, '/p/' || i, 10"
        " FROM generate_series(1, 20000) AS i",
        "ANALYZE",
    )
    with FleetConnection(SecretStr(url), timedelta(minutes=1)) as connection:
        shape = inspect_fleet(connection)
    statement = queries.select_packages(["/p/7", "/d/8", "/q"], shape)

    with psycopg.connect(url) as session:
        found = session.execute(statement.encode()).fetchall()
        plan = "\n".join(row[0] for row in session.execute(f"EXPLAIN {statement}".encode()))

    assert [row[0] for row in found] == [107, 108]
    assert "Seq Scan" not in plan
    assert plan.count("Index Scan") == 2
