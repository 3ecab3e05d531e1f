"""Where things are and what is allowed: everything that the environment or a `.env` can set.

Read when it is needed, never at import. Addresses of databases and of the webhook carry passwords,
so they are `SecretStr`: no log, event or traceback shows them.
"""

from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from dotenv import load_dotenv
from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from assets.publishing.layout import DAGSTER_FOLDER, POSTGRES_FOLDER

LONGEST_HOURS = 1_000_000
"""More than a century: what is larger was not meant, and infinity can't be counted with."""

MOST_COMMITS = 1_000_000_000

LONGEST_PAUSE_SECONDS = 86_400

LONGEST_TIMEOUT_SECONDS = 2_147_483
"""PostgreSQL counts its time-outs in milliseconds, in 32 bits."""

LONGEST_LINK = 1_000


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
    published_files_mode: Literal["0644", "0640", "0600"] = Field(
        default="0644",
        description="Who may read the published files, whatever the umask: everybody (`0644`), "
        "the group (`0640`) or their owner alone (`0600`). Their folders go with them.",
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
        default=300,
        le=LONGEST_TIMEOUT_SECONDS,
        description="How long one read of the fleet database may take.",
    )
    fleet_lock_timeout_seconds: PositiveInt = Field(
        default=10,
        le=LONGEST_TIMEOUT_SECONDS,
        description="How long to wait for a table that its owner is altering.",
    )
    database_stall_seconds: PositiveInt = Field(
        default=60,
        description="How long a database may send nothing before the connection is closed and the "
        "work tried again.",
    )
    extract_retry_seconds: PositiveFloat = Field(
        default=15,
        le=LONGEST_PAUSE_SECONDS,
        description="Pause before the first retry of a failed extraction; it doubles each time.",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None,
        description="Where alerts are posted as JSON. Unset: nowhere.",
    )
    flakelag_ui_url: str | None = Field(
        default=None,
        description="Where Dagster's UI is for those who get alerts, such as "
        "`https://dagster.example.org`. Unset: alerts of runs have no link.",
    )
    flakelag_report_url: str | None = Field(
        default=None,
        description="Where the report page is for those who get alerts. Unset: alerts have no "
        "link to it.",
    )
    alert_commits_behind: PositiveInt = Field(
        default=20,
        le=MOST_COMMITS,
        description="Alert when a system is newly behind by more commits than this.",
    )
    alert_hours_behind: PositiveFloat = Field(
        default=168,
        le=LONGEST_HOURS,
        description="Alert when a system is newly behind by more hours than this.",
    )

    @field_validator("flakelag_ui_url", "flakelag_report_url")
    @classmethod
    def _check_link(cls, url: str | None, field: ValidationInfo) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = SplitResult("", "", "", "", "")
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
            raise ValueError("not an address that begins with http:// or https://")
        if "@" in parts.netloc:
            # It goes to whoever gets an alert.
            raise ValueError("an address that is sent around must hold no password")
        if field.field_name == "flakelag_ui_url" and (parts.query or parts.fragment):
            raise ValueError("the address of pages below it can't hold ? or #")
        if " " in url or len(url) > LONGEST_LINK:
            raise ValueError(f"an address has no blank and at most {LONGEST_LINK} characters")
        return url.rstrip("/")

    @field_validator("reports_dir", "flakelag_var_dir", "dagster_home")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        # A `.env` is read by no shell.
        return None if path is None else path.expanduser()

    @property
    def instance_dir(self) -> Path:
        """The folder of the Dagster instance, absolute."""
        return (self.dagster_home or self.flakelag_var_dir / DAGSTER_FOLDER).absolute()

    @property
    def embedded_postgres_dir(self) -> Path:
        """The data folder of the embedded server, absolute."""
        return (self.flakelag_var_dir / POSTGRES_FOLDER).absolute()


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
