"""The third generation's columns and tables: what is read of them, and what of them is no use."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from assets.schemas import QUARANTINE
from tests.integration.fleet_support import MemorySink, create_fleet, extract, run_sql

NewDatabase = Callable[..., str]

JANUARY = datetime(2026, 1, 5, 12, tzinfo=UTC)


def row(sink: MemorySink, table: str) -> dict[str, Any]:
    [only] = sink.tables[table].to_pylist()
    return dict(only)


def test_what_the_database_says_is_staged(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "UPDATE flakes SET branch = 'main', deleted_at = '2026-01-05 12:00+00',"
        " sync_status = 'error', last_sync_at = '2026-01-05 12:00+00', last_sync_error = 'timeout',"
        " snapshot_ready_at = '2026-01-05 12:00+00'",
        "UPDATE commits SET evaluation_status = 'failed', source_archived = true",
        "UPDATE derivations SET expected_store_path = '/nix/store/x'",
        "UPDATE systems SET deployment_policy = 'pinned', desired_target = '/nix/store/x'",
        "INSERT INTO flake_branch_commit_snapshot VALUES (1, 1, 0, '2026-01-05 12:00+00')",
    )

    summary, sink = extract(url)

    assert row(sink, "flakes") == {
        "id": 1,
        "name": "infra",
        "repo_url": "git+https://git/infra",
        "branch": "main",
        "deleted_at": JANUARY,
        "sync_status": "error",
        "last_sync_at": JANUARY,
        "last_sync_error": "timeout",
        "snapshot_ready_at": JANUARY,
    }
    assert row(sink, "commits")["evaluation_status"] == "failed"
    assert row(sink, "commits")["source_archived"] is True
    assert row(sink, "derivations")["expected_store_path"] == "/nix/store/x"
    assert row(sink, "systems")["deployment_policy"] == "pinned"
    assert row(sink, "systems")["desired_target"] == "/nix/store/x"
    assert row(sink, "flake_branch_commit_snapshot") == {
        "flake_id": 1,
        "commit_id": 1,
        "position": 0,
        "observed_at": JANUARY,
    }
    assert summary.notes == ()
    assert summary.values_cleared == {}


def test_no_policy_is_manual_where_there_could_be_one(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    assert row(extract(url)[1], "systems")["deployment_policy"] == "manual"

    run_sql(url, "ALTER TABLE systems DROP COLUMN deployment_policy")

    assert row(extract(url)[1], "systems")["deployment_policy"] is None


@pytest.mark.parametrize("is_unique", [False, True])
@pytest.mark.parametrize("is_enum", [False, True])
def test_of_pushes_the_first_that_is_completed_counts(
    new_database: NewDatabase, *, is_unique: bool, is_enum: bool
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE cache_push_jobs DROP COLUMN attempts, DROP COLUMN id,"
        " DROP CONSTRAINT cache_push_jobs_derivation_id_fkey",
    )
    if is_enum:
        run_sql(
            url,
            "CREATE TYPE push AS ENUM ('pending', 'in_progress', 'completed', 'failed')",
            "ALTER TABLE cache_push_jobs DROP CONSTRAINT cache_push_jobs_status_check,"
            " ALTER status TYPE push USING status::push",
        )
    run_sql(
        url,
        "INSERT INTO cache_push_jobs (derivation_id, status, completed_at) VALUES"
        " (7, 'completed', '2026-01-05 12:00+00'), (3, 'failed', '2026-01-01 12:00+00'),"
        " (4, 'pending', NULL), (5, 'completed', NULL), (6, 'completed', 'infinity'),"
        " (8, 'in_progress', NULL)",
    )
    if is_unique:
        run_sql(url, "ALTER TABLE cache_push_jobs ADD UNIQUE (derivation_id)")
    else:
        run_sql(
            url,
            "INSERT INTO cache_push_jobs (derivation_id, status, completed_at) VALUES"
            " (7, 'completed', '2026-01-06 12:00+00'), (7, 'completed', '-infinity'),"
            " (7, 'failed', '2026-01-01 12:00+00'), (5, 'completed', NULL)",
        )

    summary, sink = extract(url)

    assert sink.tables["cache_push_jobs"].to_pylist() == [
        {"derivation_id": 5, "completed_at": None},
        {"derivation_id": 6, "completed_at": None},
        {"derivation_id": 7, "completed_at": JANUARY},
    ]
    assert summary.rows_read["cache_push_jobs"] == 3
    assert summary.values_cleared == {"cache_push_jobs.completed_at": 1 if is_unique else 2}
    assert summary.rows_quarantined["cache_push_jobs"] == 0


def test_a_branch_that_has_a_commit_twice_gives_it_once(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE flake_branch_commit_snapshot"
        " DROP CONSTRAINT flake_branch_commit_snapshot_pkey,"
        " DROP CONSTRAINT flake_branch_commit_snapshot_commit_id_fkey,"
        " ALTER commit_id DROP NOT NULL",
        # That a place is taken once says nothing about commits.
        "INSERT INTO flake_branch_commit_snapshot VALUES (1, 7, 2, '2026-01-05 12:00+00'),"
        " (1, 7, 1, '2026-01-05 12:00+00'), (1, 8, 3, '2026-01-05 12:00+00'),"
        " (1, NULL, 4, '2026-01-05 12:00+00'), (1, 9, 5, 'infinity')",
    )

    summary, sink = extract(url)

    places = sink.tables["flake_branch_commit_snapshot"].select(["commit_id", "position"])
    assert places.to_pylist() == [{"commit_id": 7, "position": 1}, {"commit_id": 8, "position": 3}]
    table = "public.flake_branch_commit_snapshot"
    assert sink.quarantined == [
        (table, "1, 7", "flake_id", "duplicate_key", "1, 7"),
        (table, "1, 9", "observed_at", "infinite_timestamp", "infinity"),
        (table, None, "commit_id", "missing_value", "NULL"),
    ]
    assert summary.rows_read["flake_branch_commit_snapshot"] == 5


# Of each new text, where it stands.
TEXTS = [
    ("flakes", "branch"),
    ("flakes", "sync_status"),
    ("commits", "evaluation_status"),
    ("derivations", "expected_store_path"),
    ("systems", "deployment_policy"),
    ("systems", "desired_target"),
]
INSTANTS = [("flakes", "last_sync_at"), ("flakes", "snapshot_ready_at"), ("flakes", "deleted_at")]


def without_checks(url: str) -> None:
    run_sql(
        url,
        "ALTER TABLE flakes DROP CONSTRAINT flakes_sync_status_check",
        "ALTER TABLE commits DROP CONSTRAINT commits_evaluation_status_check",
        "ALTER TABLE systems DROP CONSTRAINT systems_deployment_policy_check",
        # Of a row of an index not much more than a path may be.
        "DROP INDEX idx_derivations_expected_store_path",
    )


def cleared_of(sink: MemorySink, columns: list[tuple[str, str]]) -> dict[str, Any]:
    return {f"{table}.{column}": row(sink, table)[column] for table, column in columns}


def test_new_text_that_is_not_utf_8_costs_its_value_not_its_row(new_database: NewDatabase) -> None:
    url = create_fleet(new_database("SQL_ASCII"))
    without_checks(url)
    columns = [*TEXTS, ("flakes", "last_sync_error")]
    latin = r"convert_from('\x636166e9', 'SQL_ASCII')"
    run_sql(url, *(f"UPDATE {table} SET {column} = {latin}" for table, column in columns))

    summary, sink = extract(url)

    assert set(cleared_of(sink, columns).values()) == {None}
    assert summary.values_cleared == dict.fromkeys(cleared_of(sink, columns), 1)
    assert sink.tables[QUARANTINE.name].num_rows == 0


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_new_text_that_is_too_long_is_neither_read_nor_used(
    new_database: NewDatabase, encoding: str
) -> None:
    url = create_fleet(new_database(encoding))
    without_checks(url)
    long = "repeat('ü', 1000000)"
    run_sql(url, *(f"UPDATE {table} SET {column} = {long}" for table, column in TEXTS))

    summary, sink = extract(url)

    assert set(cleared_of(sink, TEXTS).values()) == {None}
    assert summary.values_cleared == dict.fromkeys(cleared_of(sink, TEXTS), 1)
    assert sink.tables[QUARANTINE.name].num_rows == 0

    longest = "repeat('x', 4096)"
    run_sql(url, *(f"UPDATE {table} SET {column} = {longest}" for table, column in TEXTS))
    summary, sink = extract(url)
    assert set(cleared_of(sink, TEXTS).values()) == {"x" * 4096}
    assert summary.values_cleared == {}


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_of_an_error_the_beginning_is_read_and_no_letter_is_cut(
    new_database: NewDatabase, encoding: str
) -> None:
    url = create_fleet(new_database(encoding))
    cases = [(letter, n) for letter in "xü€😀" for n in (298, 299, 300, 301, 1_000_000)]
    rows = ", ".join(
        f"({number}, 'f', '{number}', 'a' || repeat('{letter}', {n}))"
        for number, (letter, n) in enumerate(cases, 2)
    )
    run_sql(url, f"INSERT INTO flakes (id, name, repo_url, last_sync_error) VALUES {rows}")

    summary, sink = extract(url)

    wanted = [None, *("a" + letter * min(n, 299) for letter, n in cases)]
    assert sink.column("flakes", "last_sync_error") == wanted
    assert summary.values_cleared == {}


@pytest.mark.parametrize("instant", ["infinity", "-infinity", "0044-03-15 BC", "2100-01-01 00:00Z"])
def test_new_instants_that_are_out_of_range_cost_their_value_not_their_row(
    new_database: NewDatabase, instant: str
) -> None:
    url = create_fleet(new_database())
    run_sql(url, *(f"UPDATE {table} SET {column} = '{instant}'" for table, column in INSTANTS))

    summary, sink = extract(url)

    wanted = dict.fromkeys(cleared_of(sink, INSTANTS))
    if instant in ("-infinity", "0044-03-15 BC"):
        # A flake that was deleted long ago must not come back.
        wanted["flakes.deleted_at"] = datetime(1970, 1, 1, tzinfo=UTC)
    assert cleared_of(sink, INSTANTS) == wanted
    unusable = [name for name, value in wanted.items() if value is None]
    assert summary.values_cleared == dict.fromkeys(unusable, 1)
    assert sink.tables[QUARANTINE.name].num_rows == 0


def test_blank_text_is_staged_as_it_is(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, "UPDATE derivations SET expected_store_path = ' '")

    assert row(extract(url)[1], "derivations")["expected_store_path"] == " "


USELESS_TYPES = [
    *((table, column, "boolean", "text or uuid") for table, column in TEXTS),
    ("flakes", "last_sync_error", "jsonb", "text or uuid"),
    *((table, column, "timestamp", "timestamp with time zone") for table, column in INSTANTS),
    ("commits", "source_archived", "text", "boolean"),
    ("cache_push_jobs", "completed_at", "text", "timestamp with time zone"),
]


def test_a_new_column_of_a_type_that_is_no_use_counts_as_absent_with_a_note(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(url, "INSERT INTO cache_push_jobs (derivation_id, status) VALUES (1, 'completed')")
    for table, column, sql_type, _ in USELESS_TYPES:
        run_sql(
            url,
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} ADD COLUMN {column} {sql_type}",
        )

    summary, sink = extract(url)

    notes = {note.split(" is not read: ")[0]: note for note in summary.notes}
    assert len(notes) == len(summary.notes) == len(USELESS_TYPES)
    for table, column, _, wanted in USELESS_TYPES:
        assert f"must be {wanted}." in notes[f"The optional column public.{table}.{column}"]
        assert row(sink, table)[column] is None


@pytest.mark.parametrize("column", ["derivations.store_path", "systems.system_configuration_name"])
def test_a_column_that_matching_rests_on_is_not_given_up_silently(
    new_database: NewDatabase, column: str
) -> None:
    url = create_fleet(new_database())
    table, name = column.split(".")
    run_sql(
        url,
        f"ALTER TABLE {table} DROP COLUMN {name}",
        f"ALTER TABLE {table} ADD COLUMN {name} boolean",
    )

    with pytest.raises(Exception, match=f"public.{column} is boolean, but must be text or uuid"):
        extract(url)


@pytest.mark.parametrize("column", ["status", "derivation_id"])
def test_pushes_without_what_chooses_them_count_as_absent(
    new_database: NewDatabase, column: str
) -> None:
    url = create_fleet(new_database())
    run_sql(url, f"ALTER TABLE cache_push_jobs DROP COLUMN {column}")

    summary, sink = extract(url)

    [note] = summary.notes
    assert "public.cache_push_jobs is not read" in note
    assert f"public.cache_push_jobs.{column} is missing" in note
    assert "cache_push_jobs" not in sink.tables


PACKAGE = (
    "INSERT INTO derivations (id, commit_id, derivation_type, derivation_name, store_path,"
    " expected_store_path, status_id) VALUES "
)
STATE = "INSERT INTO system_states (id, hostname, change_reason, store_path) VALUES "


def test_a_package_is_found_by_its_predicted_output_where_nothing_is_built(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        PACKAGE + "(101, 1, 'package', 'a', NULL, '/p/a', 10),"
        r"(102, 1, 'package', 'b', E' \t', '/p/b', 10),"
        "(103, 1, 'package', 'c', '/p/other', '/p/c', 10),"
        "(104, 1, 'package', 'd', NULL, '/p/d', 10),"
        # A configuration explains /p/d, and so no package is looked up by it; it does not explain
        # /p/e, which is not what was built.
        "(201, 1, 'nixos', 'd', NULL, '/p/d', 10),"
        "(202, 1, 'nixos', 'e', '/p/built', '/p/e', 10),"
        "(105, 1, 'package', 'e', NULL, '/p/e', 10)",
        STATE + "(11, 'a', 'startup', '/p/a'), (12, 'b', 'startup', '/p/b'),"
        "(13, 'c', 'startup', '/p/c'), (14, 'd', 'startup', '/p/d'), (15, 'e', 'startup', '/p/e')",
    )

    summary, sink = extract(url)

    assert sink.column("derivations", "id") == [1, 201, 202, 101, 102, 105]
    assert summary.rows_read["derivations"] == 6
