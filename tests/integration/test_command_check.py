"""`flakelag check`: what it finds right and wrong, and that it changes nothing."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from pipelines.postgres.address import Address, warnings_for
from tests.integration.command_process import flakelag
from tests.integration.fleet_support import create_fleet, run_sql

NewDatabase = Callable[..., str]


def test_a_fresh_clone_is_fine_and_stays_as_it_is(tmp_path: Path) -> None:
    result = flakelag(tmp_path, "check")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "fault" not in result.stdout
    assert "the demo fleet is read" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_databases_that_can_be_used_are_found_so_and_not_changed(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    fleet, history, storage = create_fleet(new_database()), new_database(), new_database()
    given = {
        "FLEET_DATABASE_URL": fleet,
        "HISTORY_DATABASE_URL": history,
        "DAGSTER_POSTGRES_URL": storage,
    }

    result = flakelag(tmp_path, "check", **given)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "ok       fleet database: can be read: flakes, commits" in result.stdout
    assert "ok       history database: can be written to; a run will make" in result.stdout
    assert "ok       Dagster's storage: can be reached." in result.stdout
    with psycopg.connect(history) as connection:
        schema = connection.execute("SELECT to_regnamespace('flakelag')").fetchone()
    assert schema == (None,)


def test_all_that_is_wrong_is_named_at_once_without_a_secret(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    url = create_fleet(new_database())
    run_sql(url, "DROP TABLE flakes CASCADE")
    (tmp_path / "file").touch()
    given = {
        "FLEET_DATABASE_URL": url,
        "HISTORY_DATABASE_URL": "postgresql://u:canary@127.0.0.1:1/x",
        "DAGSTER_POSTGRES_URL": "postgresql://u:canary@ho@st/x",
        "REPORTS_DIR": str(tmp_path / "file" / "reports"),
    }

    result = flakelag(tmp_path, "check", **given)

    assert result.returncode == 1
    faults = [line for line in result.stdout.splitlines() if line.startswith("fault")]
    subjects = ["fleet database", "history database", "Dagster's storage", "REPORTS_DIR"]
    assert [line.split(": ")[0].removeprefix("fault").strip() for line in faults] == subjects
    assert "public.flakes is missing" in faults[0]
    assert "canary" not in result.stdout + result.stderr


def test_an_optional_table_that_is_not_read_is_a_warning(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    url = create_fleet(new_database())
    run_sql(url, "ALTER TABLE environments DROP COLUMN name")
    name = conninfo_to_dict(url)["dbname"]

    result = flakelag(tmp_path, "check", FLEET_DATABASE_URL=url)

    assert result.returncode == 0, name
    assert "warning  fleet database: The optional table public.environments" in result.stdout


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgresql://u:p@db.example/x", True),
        ("postgresql://u:p@192.0.2.1/x?sslmode=require", True),
        ("postgresql://u:p@db.example/x?sslmode=verify-ca", True),
        ("postgresql://u@db.example/x", True),
        ("postgresql://u:p@127.0.0.1,db.example/x", True),
        ("postgresql://u:p@db.example/x?sslmode=verify-full", False),
        ("postgresql://u:p@db.example/x?sslrootcert=system", False),
        ("postgresql://u:p@localhost/x", False),
        ("postgresql://u:p@127.0.0.1/x", False),
        ("postgresql://u:p@[::1]/x", False),
        ("postgresql://u:p@/x?host=/run/postgresql", False),
        ("postgresql:///x", False),
    ],
)
def test_a_password_that_travels_unprotected_is_warned_of(
    url: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PGHOST", "PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(variable, raising=False)

    warnings = warnings_for(Address.of(SecretStr(url), "FLEET_DATABASE_URL"))

    assert bool(warnings) == warned
    for warning in warnings:
        assert "FLEET_DATABASE_URL" in warning
        assert "sslmode=verify-full" in warning
