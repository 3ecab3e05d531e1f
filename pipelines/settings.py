"""Where things are and what is allowed: everything that the environment or a `.env` can set.

Read when it is needed, never at import. Addresses of databases and of the webhook carry passwords,
so they are `SecretStr`: no log, event or traceback shows them.
"""

import os
from pathlib import Path

from dotenv import load_dotenv
from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.webserver.names import read_names


class SettingsError(Exception):
    """A variable of the environment has a value that can't be used."""


class Settings(BaseSettings):
    """The settings, each under its own name in capitals in the environment or in `.env`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    fleet_database_url: SecretStr | None = Field(
        default=None,
        description="The fleet database to read, as a libpq URL. "
        "Unset: the embedded server with the demo fleet.",
    )
    history_database_url: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL where history is kept, in schema `flakelag`. "
        "Unset: the embedded server's database `history`.",
    )
    reports_dir: Path = Field(
        default=Path("reports"), description="Where the Parquet files and pages go."
    )
    flakelag_var_dir: Path = Field(
        default=Path("var"),
        description="Where the embedded server and the default `DAGSTER_HOME` live.",
    )
    dagster_home: Path | None = Field(
        default=None,
        description="Dagster's instance folder, made ready if it has no `dagster.yaml`. "
        "Unset: `dagster` in `FLAKELAG_VAR_DIR`.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL for Dagster's own storage; for a Unix socket "
        "`postgresql://user@/database?host=/its/folder`. Unset: SQLite in `DAGSTER_HOME`.",
    )
    fleet_statement_timeout_seconds: PositiveInt = Field(
        default=300, description="How long one read of the fleet database may take."
    )
    fleet_lock_timeout_seconds: PositiveInt = Field(
        default=10, description="How long to wait for a table that its owner is altering."
    )
    extract_retry_seconds: PositiveFloat = Field(
        default=15,
        description="Pause before the first retry of a failed extraction; it doubles each time.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None,
        description="Where alerts are posted as JSON. Unset: nobody is told.",
    )
    alert_commits_behind: PositiveInt = Field(
        default=20, description="Tell when a system is newly behind by more commits than this."
    )
    alert_hours_behind: PositiveFloat = Field(
        default=168, description="Tell when a system is newly behind by more hours than this."
    )

    flakelag_ui_hosts: str | None = Field(
        default=None,
        description="Names by which browsers reach the UI, such as that of a proxy in front, with "
        "commas between: `fleet.example.org`. Unset: only the address that it listens on.",
    )

    @field_validator("flakelag_ui_hosts")
    @classmethod
    def _check_names(cls, names: str | None) -> str | None:
        read_names(names or "")
        return names

    @field_validator("reports_dir", "flakelag_var_dir", "dagster_home")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        # A `.env` is read by no shell.
        return None if path is None else path.expanduser()

    @property
    def instance_dir(self) -> Path:
        """The folder of the Dagster instance, absolute."""
        return (self.dagster_home or self.flakelag_var_dir / "dagster").absolute()

    @property
    def embedded_postgres_dir(self) -> Path:
        """The data folder of the embedded server, absolute."""
        return (self.flakelag_var_dir / "postgres").absolute()


def read_settings() -> Settings:
    """Reads the environment, and `.env` in the working folder for what is not set there.

    Raises:
        SettingsError: naming each variable that can't be used, never its value.
    """
    load_dotenv(Path.cwd() / ".env")
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()
        )
    raise SettingsError(f"Can't use the environment. {problems}. The README lists every variable.")


def export_dagster_home(settings: Settings) -> None:
    """Tells Dagster, in this process and those it starts, where its instance is."""
    os.environ["DAGSTER_HOME"] = str(settings.instance_dir)
