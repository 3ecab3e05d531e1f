"""What an extract contains: columns, types, both generations, optional tables."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

import psycopg
import pytest

from assets.compute.fleet import FleetTables
from assets.schemas import OPTIONAL_TABLES, QUARANTINE, SOURCE_TABLES
from pipelines.demo.source_schema import Generation, create_source_schema
from tests.integration.fleet_support import REQUIRED, create_fleet, extract, run_sql, value

NewDatabase = Callable[..., str]


NOT_IN_EVERY_GENERATION = {
    "newest": [],
    "newer": ["flake_branch_commit_snapshot", "cache_push_jobs", "agent_heartbeats"],
    "older": ["flake_branch_commit_snapshot", "cache_push_jobs", "agent_heartbeats"],
}


@pytest.mark.parametrize("generation", get_args(Generation))
def test_all_generations_come_out_alike(new_database: NewDatabase, generation: Generation) -> None:
    url = create_fleet(new_database(), generation)

    summary, sink = extract(url)

    assert summary.generation == ("older" if generation == "older" else "newer")
    absent = NOT_IN_EVERY_GENERATION[generation]
    # Without an index on them, heartbeats are not read.
    assert ["agent_heartbeats" in note for note in summary.notes] == [True] * bool(absent)
    assert set(summary.optional_tables) == {t.name for t in OPTIONAL_TABLES} - set(absent)
    assert list(sink.tables)[-1] == QUARANTINE.name
    tables = [dataset for dataset in SOURCE_TABLES if dataset.name not in absent]
    for dataset in (*tables, QUARANTINE):
        schema = sink.tables[dataset.name].schema
        assert schema.equals(dataset.arrow_schema, check_metadata=True)
        sink.tables[dataset.name].validate(full=True)
    assert sink.tables["system_states"].to_pylist() == [
        {
            "id": 1,
            "hostname": "web",
            "deployed_path": "/nix/store/d-web",
            "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
        }
    ]
    assert sink.tables["systems"].to_pylist() == [
        {
            "id": str(UUID(int=1)),
            "hostname": "web",
            "environment_id": None,
            "is_active": True,
            "flake_id": 1,
            "system_configuration_name": None,
            "deployment_policy": None if generation == "older" else "manual",
            "desired_target": None,
            "created_at": datetime(2026, 1, 1, 9, tzinfo=UTC),
        }
    ]
    assert sink.column("derivations", "store_path") == [None]
    FleetTables.from_arrow({d.name: sink.tables[d.name] for d in tables})


def test_columns_of_the_newer_generation(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    environment = str(UUID(int=7))
    run_sql(
        url,
        "UPDATE derivations SET store_path = '/nix/store/out',"
        " completed_at = '2026-01-01 11:00+00'",
        f"INSERT INTO environments VALUES ('{environment}', 'prod')",
        f"UPDATE systems SET environment_id = '{environment}', is_active = NULL,"
        " system_configuration_name = 'web-v2'",
        "INSERT INTO systems (hostname, system_configuration_name, created_at)"
        " VALUES ('blank', E' \\t', NULL)",
    )

    _, sink = extract(url)

    assert sink.tables["derivations"].to_pylist() == [
        {
            "id": 1,
            "commit_id": 1,
            "derivation_type": "nixos",
            "derivation_name": "web",
            "derivation_path": "/nix/store/d-web.drv",
            "store_path": "/nix/store/out",
            "expected_store_path": None,
            "status_id": 10,
            "completed_at": datetime(2026, 1, 1, 11, tzinfo=UTC),
        }
    ]
    # In the order of hostnames.
    assert sink.column("systems", "hostname") == ["blank", "web"]
    assert sink.column("systems", "system_configuration_name") == [None, "web-v2"]
    assert sink.column("systems", "environment_id") == [None, environment]
    assert sink.column("systems", "is_active") == [True, None]
    assert sink.column("systems", "created_at")[0] is None
    assert sink.column("environments", "name") == ["prod"]
    assert sum(sink.column("derivation_statuses", "is_success")) == 4


def test_package_derivations_stay_in_the_database(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "INSERT INTO derivations (id, derivation_type, derivation_name, status_id)"
        " SELECT i, 'package', 'p' || i, 1 FROM generate_series(2, 50) AS i",
    )

    summary, sink = extract(url)

    assert summary.rows_read["derivations"] == 1
    assert sink.column("derivations", "derivation_type") == ["nixos"]


def test_wider_types_of_later_versions_are_read(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE commits ALTER id TYPE bigint",
        "ALTER TABLE systems ALTER hostname TYPE varchar(300)",
        "CREATE TYPE kind AS ENUM ('nixos', 'package')",
        "ALTER TABLE derivations DROP CONSTRAINT derivations_derivation_type_check,"
        " ALTER derivation_type TYPE kind USING derivation_type::kind",
        "CREATE DOMAIN hash AS text",
        "ALTER TABLE commits ALTER git_commit_hash TYPE hash",
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        f" VALUES ({2**40}, 1, 'later', now())",
    )

    _, sink = extract(url)

    assert sink.column("commits", "id") == [1, 2**40]
    assert sink.column("commits", "git_commit_hash") == ["c0ffee", "later"]
    assert sink.column("derivations", "derivation_type") == ["nixos"]


def test_optional_tables_may_be_missing(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, f"DROP TABLE {', '.join(table.name for table in OPTIONAL_TABLES)} CASCADE")

    summary, sink = extract(url)

    assert summary.optional_tables == ()
    assert summary.notes == ()
    assert set(sink.tables) == {*REQUIRED, QUARANTINE.name}


def test_build_results_without_is_success_count_as_not_recorded(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(url, "ALTER TABLE derivation_statuses DROP COLUMN is_success")

    summary, sink = extract(url)

    assert "derivation_statuses" not in summary.optional_tables
    assert summary.notes == (
        "The optional table public.derivation_statuses is not read: "
        "public.derivation_statuses.is_success is missing.",
    )
    assert "derivation_statuses" not in sink.tables


def test_empty_tables_are_read_as_empty(new_database: NewDatabase) -> None:
    url = new_database()
    with psycopg.connect(url) as connection:
        create_source_schema(connection, "newest")

    summary, sink = extract(url)

    assert [summary.rows_read[table] for table in REQUIRED] == [0] * 5
    assert all(sink.tables[table].num_rows == 0 for table in REQUIRED)


def test_extracted_at_is_the_servers_time_of_the_transaction(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    before = value(url, "SELECT clock_timestamp()")

    summary, _ = extract(url)

    assert summary.extracted_at.tzinfo is not None
    assert summary.extracted_at.utcoffset() == datetime.now(UTC).utcoffset()
    assert before < summary.extracted_at < value(url, "SELECT clock_timestamp()")


def test_views_can_stand_for_the_tables(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "CREATE SCHEMA hidden",
        "ALTER TABLE system_states SET SCHEMA hidden",
        "CREATE VIEW public.system_states AS SELECT * FROM hidden.system_states",
    )

    summary, _ = extract(url)

    assert summary.rows_staged["system_states"] == 1


def test_the_same_tables_give_the_same_rows_in_the_same_order(new_database: NewDatabase) -> None:
    url = create_fleet(new_database(), states=50)
    _, first = extract(url)
    # Moves every row to another place.
    run_sql(url, "UPDATE system_states SET kernel = 'k' WHERE id % 2 = 0", "VACUUM FULL")

    _, second = extract(url)

    assert all(second.tables[table].equals(first.tables[table]) for table in REQUIRED)
