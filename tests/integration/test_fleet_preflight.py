"""What the preflight says of a database that can't be read, and the role that can read one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

import pipelines
from assets.schemas import OPTIONAL_TABLES
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.errors import FleetDatabaseMisconfigured
from tests.integration.fleet_support import REQUIRED, create_fleet, extract, run_sql

NewDatabase = Callable[..., str]
READER_ROLE = Path(pipelines.__file__).parent / "sql" / "reader_role.sql"


def complaint(url: str) -> str:
    with pytest.raises(FleetDatabaseMisconfigured) as caught:
        extract(url)
    assert not caught.value.retryable
    return str(caught.value)


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@", 1)


# A name that has to be quoted in SQL, and escaped in a URL.
ROLE, ROLE_IN_URL = '"Odd ""reader"""', "Odd%20%22reader%22"


@pytest.fixture
def role(postgres_server: EmbeddedPostgres, new_database: NewDatabase) -> Iterator[str]:
    """A role that may connect, and nothing else; as it stands in SQL."""
    run_sql(postgres_server.url(), f"CREATE ROLE {ROLE} LOGIN")
    yield ROLE
    with psycopg.connect(postgres_server.url()) as connection:
        databases = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'test%'"
        ).fetchall()
    for (database,) in databases:
        run_sql(postgres_server.url(database), f"DROP OWNED BY {ROLE}")
    run_sql(postgres_server.url(), f"DROP ROLE {ROLE}")


def test_all_that_is_missing_is_named_at_once(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE commits DROP COLUMN commit_timestamp",
        "ALTER TABLE system_states DROP COLUMN store_path",
        "ALTER TABLE systems ALTER created_at TYPE timestamp",
        "ALTER TABLE derivations ALTER completed_at TYPE text",
        "DROP TABLE flakes CASCADE",
    )

    text = complaint(url)

    assert "public.flakes is missing" in text
    assert "public.commits.commit_timestamp is missing" in text
    assert "public.system_states.store_path (derivation_path in older versions) is missing" in text
    assert (
        "public.systems.created_at is timestamp without time zone, "
        "but must be timestamp with time zone" in text
    )
    assert "public.derivations.completed_at is text" in text
    assert "GRANT" not in text


def test_a_database_that_is_no_fleet_is_recognized(new_database: NewDatabase) -> None:
    text = complaint(new_database())

    assert "public.system_states is missing" in text
    assert "Is this the right database" in text


def test_a_database_without_the_schema(new_database: NewDatabase) -> None:
    url = new_database()
    run_sql(url, "DROP SCHEMA public")

    assert "there is no schema public" in complaint(url)


def test_a_materialized_view_is_refused_because_it_cant_be_locked(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE flakes RENAME TO real_flakes",
        "CREATE MATERIALIZED VIEW flakes AS SELECT * FROM real_flakes",
    )

    assert "public.flakes is neither a table nor a view" in complaint(url)


def test_missing_privileges_come_with_the_grants_that_mend_them(
    new_database: NewDatabase, role: str
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT SELECT ON flakes, commits, derivations TO {role}",
        f"GRANT SELECT (id, hostname) ON systems TO {role}",
    )

    text = complaint(as_role(url, ROLE_IN_URL))

    assert f"role {role} lacks USAGE on schema public" in text
    assert "lacks SELECT on public.systems (SELECT on single columns does not allow" in text
    assert "lacks SELECT on public.system_states\n" in text
    assert "public.flakes" not in text
    assert "missing" not in text
    grants = [line.strip() for line in text.splitlines() if line.startswith("  GRANT")]
    assert len(grants) == 3
    run_sql(url, *grants)
    assert extract(as_role(url, ROLE_IN_URL))[0].rows_staged["systems"] == 1


def test_an_optional_table_that_may_not_be_read_is_noted_with_its_grant(
    new_database: NewDatabase, role: str
) -> None:
    url = create_fleet(new_database())
    tables = "flakes, commits, derivations, systems, system_states, environments"
    run_sql(url, f"GRANT SELECT ON {tables} TO {role}")

    summary, _ = extract(as_role(url, ROLE_IN_URL))

    assert summary.optional_tables == ("environments",)
    others = [t.name for t in OPTIONAL_TABLES if t.name != "environments"]
    for table, note in zip(others, summary.notes, strict=True):
        assert f"public.{table} is not read" in note
        assert f"GRANT SELECT ON public.{table} TO {role};" in note


def test_rows_that_a_policy_hides_are_not_taken_for_rows_that_are_gone(
    new_database: NewDatabase, role: str
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER TABLE systems ENABLE ROW LEVEL SECURITY",
    )

    text = complaint(as_role(url, ROLE_IN_URL))

    assert "row-level security hides rows of public.systems" in text
    assert f"ALTER ROLE {role} BYPASSRLS;" in text


@pytest.fixture
def least_privilege(new_database: NewDatabase) -> Iterator[str]:
    """The URL of a fleet for the role of reader_role.sql."""
    url = create_fleet(new_database())
    run_sql(url, READER_ROLE.read_text())
    yield as_role(url, "flakelag_reader")
    # The role itself stays: other tests read the demo fleet of the same server with it.
    run_sql(url, "DROP OWNED BY flakelag_reader")


def test_the_least_privileged_role_reads_everything_that_is_read(least_privilege: str) -> None:
    summary, sink = extract(least_privilege)

    assert summary.notes == ()
    assert set(summary.optional_tables) == {table.name for table in OPTIONAL_TABLES}
    assert sink.column("system_states", "deployed_path") == ["/nix/store/d-web"]


FORBIDDEN = [
    "INSERT INTO flakes (name, repo_url) VALUES ('a', 'b')",
    "UPDATE systems SET is_active = false",
    "DELETE FROM system_states",
    "TRUNCATE environments",
    "CREATE TABLE public.mine (id int)",
    "LOCK TABLE systems IN SHARE MODE",
    "DELETE FROM agent_heartbeats",
    "SELECT nextval('commits_id_seq')",
]


def test_the_least_privileged_role_can_do_nothing_else(least_privilege: str) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(errors.InsufficientPrivilege):
            run_sql(least_privilege, "SET default_transaction_read_only = off", "BEGIN", statement)


def test_the_role_is_read_only_of_itself_and_its_file_can_be_run_again(
    new_database: NewDatabase, least_privilege: str
) -> None:
    older = create_fleet(new_database(), "older")
    run_sql(older, "DROP TABLE derivation_statuses, environments CASCADE")
    run_sql(older, READER_ROLE.read_text(), READER_ROLE.read_text())

    assert extract(as_role(older, "flakelag_reader"))[0].generation == "older"
    with pytest.raises(errors.ReadOnlySqlTransaction):
        run_sql(least_privilege, "CREATE TEMPORARY TABLE mine (id int); DELETE FROM mine")
    run_sql(older, "DROP OWNED BY flakelag_reader")


def test_an_owner_who_may_not_make_roles_can_run_the_file_once_the_role_is_there(
    postgres_server: EmbeddedPostgres, new_database: NewDatabase, role: str
) -> None:
    url = create_fleet(new_database())
    tables = [*REQUIRED, *(table.name for table in OPTIONAL_TABLES)]
    run_sql(
        url,
        "DROP OWNED BY flakelag_reader",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        *(f"ALTER TABLE {table} OWNER TO {role}" for table in tables),
    )

    run_sql(as_role(url, ROLE_IN_URL), READER_ROLE.read_text())

    assert extract(as_role(url, "flakelag_reader"))[0].rows_staged["systems"] == 1
    run_sql(url, f"REASSIGN OWNED BY {role} TO postgres", "DROP OWNED BY flakelag_reader")


def test_an_owner_who_may_not_make_roles_is_told_whom_to_ask() -> None:
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    try:
        server.start()
        url = create_fleet(server.ensure_database("fleet"))
        run_sql(url, "CREATE ROLE owner LOGIN")
        with pytest.raises(errors.RaiseException, match="Ask somebody who may"):
            run_sql(as_role(url, "owner"), READER_ROLE.read_text())
    finally:
        server.stop()
        shutil.rmtree(folder)
