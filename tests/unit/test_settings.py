"""The settings: what is set counts or is an error; only what is not set has a default."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.misspelt import meant_by
from pipelines.settings import Settings, SettingsError, read_settings

OURS = [name.upper() for name in Settings.model_fields]
SECRET = "canary-7d11"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        for name in OURS:
            patched.delenv(name, raising=False)
        patched.chdir(tmp_path)
        before = dict(os.environ)
        yield
        os.environ.clear()
        os.environ.update(before)


def complaint() -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings()
    said = str(raised.value)
    assert SECRET not in said
    return said


def test_nothing_set_is_the_demo_fleet() -> None:
    assert read_settings() == Settings()
    assert Settings().fleet_database_url is None


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("REPORTS_DIR=file\nFLAKELAG_VAR_DIR=file\nOTHER=1\n")
    monkeypatch.setenv("REPORTS_DIR", "environment")
    settings = read_settings()

    assert (settings.reports_dir, settings.flakelag_var_dir) == (Path("environment"), Path("file"))
    # For Dagster, which fills `dagster.yaml` from it, and for libpq.
    assert (os.environ["FLAKELAG_VAR_DIR"], os.environ["OTHER"]) == ("file", "1")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_no_default(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert complaint().startswith(f"{name} (the environment) is empty")

    monkeypatch.delenv(name)
    Path(".env").write_text(f"# ours\n{name}={value}\n")
    assert complaint().startswith(f"{name} (.env, line 2) is empty")


def test_a_file_that_can_not_be_read_changes_nothing() -> None:
    Path(".env").write_text(f'A_FIRST=1\nFLEET_DATABASE_URL="postgresql://{SECRET}\n')

    assert ".env, line 2" in complaint()
    assert "A_FIRST" not in os.environ


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLEET_DATABSE_URL", "FLEET_DATABASE_URL"),
        ("FLEET_DATABASE_ULR", "FLEET_DATABASE_URL"),
        ("FLEETDATABASE_URL", "FLEET_DATABASE_URL"),
        ("FLET_DATABASE_URL", "FLEET_DATABASE_URL"),
        ("fleet_database_url", "FLEET_DATABASE_URL"),
        ("Fleet_Database_Url", "FLEET_DATABASE_URL"),
        ("FLEET_DATABASE", "FLEET_DATABASE_URL"),
        ("FLEET_DB_URL", "FLEET_DATABASE_URL"),
        ("HISTORY_DATABASE_URLS", "HISTORY_DATABASE_URL"),
        ("HISTORY_DB_URL", "HISTORY_DATABASE_URL"),
        ("REPORT_DIR", "REPORTS_DIR"),
        ("DAGSTER_POSTGRES_URI", "DAGSTER_POSTGRES_URL"),
        ("DAGSTER_HOM", "DAGSTER_HOME"),
        ("ALERT_WEBHOOK", "ALERT_WEBHOOK_URL"),
        ("FLAKELAG_VAR", "FLAKELAG_VAR_DIR"),
    ],
)
def test_a_misspelt_name_is_an_error_that_says_which_is_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    expected = f"is no setting of flakelag. Is {meant} meant?"
    monkeypatch.setenv(name, SECRET)
    assert f"{name} (the environment) {expected}" in complaint()

    monkeypatch.delenv(name)
    Path(".env").write_text(f"export {name}={SECRET}\n")
    assert f"{name} (.env, line 1) {expected}" in complaint()


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "TEST_DATABASE_URL",
        "POSTGRES_URL",
        "SLACK_WEBHOOK_URL",
        "DAGSTER_POSTGRES_USER",
        "DAGSTER_POSTGRES_PASSWORD",
        "DAGSTER_POSTGRES_DB",
        "DAGSTER_POSTGRES_HOST",
        "DAGSTER_PG_HOST",
        "DAGSTER_DISABLE_TELEMETRY",
        "DAGSTER_WEBSERVER_PORT",
        "DAGSTER_CLOUD_DEPLOYMENT_NAME",
        "DAGSTER_RUN_ID",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSSLROOTCERT",
        "EXPORTS_DIR",
        "HISTFILE",
        "HISTORY_IGNORE",
        "HOME",
        "FLAKELAG_PICTURE",
        "FLAKELAG_TEST_SCALE",
    ],
)
def test_variables_of_others_are_none_of_ours(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "anything")

    assert read_settings() == Settings()


def test_none_of_ours_is_taken_for_another() -> None:
    assert {name: meant_by(name, OURS) for name in OURS} == dict.fromkeys(OURS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLEET_STATEMENT_TIMEOUT_SECONDS", f"5 {SECRET}"),
        ("FLEET_STATEMENT_TIMEOUT_SECONDS", "0"),
        ("EXTRACT_RETRY_SECONDS", "inf"),
        ("EXTRACT_RETRY_SECONDS", "nan"),
        ("ALERT_HOURS_BEHIND", "-1"),
        ("REPORTS_DIR", f"$HOME/{SECRET}"),
        ("FLAKELAG_VAR_DIR", f"~{SECRET}/var"),
        ("FLAKELAG_UI_HOSTS", f"https://{SECRET}@fleet.example.org/"),
    ],
)
def test_a_value_that_can_not_be_used_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert complaint().startswith(f"{name} (the environment): ")


def test_all_that_is_wrong_with_names_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_DATABSE_URL", SECRET)
    monkeypatch.setenv("HISTORY_DATABASE_URL", "")

    said = complaint()
    assert "FLEET_DATABSE_URL" in said
    assert "HISTORY_DATABASE_URL" in said
