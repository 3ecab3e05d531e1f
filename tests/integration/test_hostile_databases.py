"""Databases whose owner, or whoever may create in them, has set everything against us."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from assets.schemas import DEPLOYMENT_HISTORY, SYSTEM_DEPLOYMENT_STATUS
from pipelines.demo.ensure import grant_reader_role
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.database import HistoryDatabase
from pipelines.postgres.session import PINNED
from tests.golden import digests_of, read_digests
from tests.integration.fleet_support import create_fleet, extract, run_sql
from tests.integration.history_rows import (
    DAY,
    MORNING_AFTER,
    NOON,
    event,
    events,
    replace_day,
    statuses,
)

NewDatabase = Callable[..., str]

HOSTILE_SETTINGS = {
    "datestyle": "German",
    "timezone": "Asia/Tokyo",
    "intervalstyle": "sql_standard",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1ms",
}

# Of the functions that our SQL calls by a bare name, and others that scripts like to call.
HOSTILE_FUNCTIONS = [
    "format(text, name)",
    "format(text, text)",
    "concat(text, text)",
    "to_regclass(text)",
    "set_config(text, text, boolean)",
    "current_setting(text)",
    "has_database_privilege(text, text)",
    "has_schema_privilege(oid, text)",
    "has_table_privilege(oid, text)",
    "format_type(oid, integer)",
    "obj_description(oid, name)",
    "col_description(oid, integer)",
    "pg_get_viewdef(oid)",
    "pg_advisory_xact_lock(bigint)",
    "unnest(smallint[])",
    "unnest(text[])",
    "array_position(text[], text)",
    "to_char(timestamptz, text)",
    "quote_ident(text)",
    "quote_ident(name)",
    "now()",
    "btrim(text, text)",
]
HOSTILE_OPERATORS = ["= (text, text)", "= (name, name)", "= (name, text)", "<> (text, text)"]


def plant(url: str, schema: str) -> None:
    """Functions and operators that are found before the server's own, and fail when called."""
    fail = "plpgsql AS $$ BEGIN RAISE 'a function of somebody else was called'; END $$"
    with psycopg.connect(url, options="-c search_path=pg_catalog", autocommit=True) as owner:
        owner.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        for function in HOSTILE_FUNCTIONS:
            owner.execute(
                f"CREATE FUNCTION {schema}.{function} RETURNS text LANGUAGE {fail}".encode()
            )
        for number, operator in enumerate(HOSTILE_OPERATORS):
            name, left, right = re.fullmatch(r"(\S+) \((\w+), (\w+)\)", operator).groups()  # type: ignore[union-attr]
            function = f"{schema}.op{number}"
            owner.execute(
                f"CREATE FUNCTION {function}({left}, {right}) RETURNS boolean"
                f" LANGUAGE {fail}".encode()
            )
            owner.execute(
                f"CREATE OPERATOR {schema}.{name}"
                f" (FUNCTION = {function}, LEFTARG = {left}, RIGHTARG = {right})".encode()
            )


def spoil(url: str) -> None:
    for schema in ("public", "postgres"):
        plant(url, schema)
    database = sql.Identifier(conninfo_to_dict(url)["dbname"])  # type: ignore[arg-type]
    with psycopg.connect(url, options="-c search_path=pg_catalog", autocommit=True) as owner:
        for name, value in HOSTILE_SETTINGS.items():
            owner.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    database, sql.Identifier(name), sql.Literal(value)
                )
            )
        owner.execute(
            sql.SQL('ALTER DATABASE {} SET search_path = "$user", public, pg_catalog').format(
                database
            )
        )


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_the_same_is_published_from_hostile_databases(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    assert digests_of("newest", own_server, tmp_path, spoil) == read_digests()["newest"]


def test_what_is_hostile_is_what_is_pinned() -> None:
    left = {"search_path", "row_security", *HOSTILE_SETTINGS}

    assert PINNED.keys() <= left


def test_the_script_of_the_reader_calls_nobody_elses_functions(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    spoil(url)

    run_sql(url, files("pipelines").joinpath("sql", "reader_role.sql").read_text())
    with psycopg.connect(url) as connection:
        grant_reader_role(connection)

    assert extract(url.replace("postgres@", "flakelag_reader@", 1))[0].rows_staged["flakes"] == 1
    run_sql(url, "DROP OWNED BY flakelag_reader")


def test_the_history_calls_nobody_elses_functions(new_database: NewDatabase) -> None:
    url = new_database()
    spoil(url)
    history = HistoryDatabase(SecretStr(url))

    for _ in range(2):
        history.migrate(set_database_search_path=True)
        replace_day(
            history, DEPLOYMENT_HISTORY, DAY, events(event("web", 1, 1)), extracted_at=MORNING_AFTER
        )
        history.replace_current(
            SYSTEM_DEPLOYMENT_STATUS,
            statuses({"hostname": "web"}),
            snapshot_at=NOON,
            extracted_at=NOON,
        )


def test_a_view_of_the_history_calls_the_servers_functions_whoever_reads_it(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    HistoryDatabase(SecretStr(url)).migrate()
    spoil(url)

    views = [path.name for path in files("pipelines").joinpath("sql").iterdir()]
    for name in views:
        if name.startswith("history_") and name != "history_analyst_grants.sql":
            view = name.removeprefix("history_").removesuffix(".sql")
            run_sql(url, f"SELECT * FROM flakelag.{view}")
