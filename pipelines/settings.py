"""Where things are and what is allowed: everything that the environment or a `.env` can set.

Read when it is needed, never at import. What is set and can't be used is an error: a default takes
the place of what is not set only, because it may be another database altogether. Addresses of
databases and of the webhook carry passwords, so they are `SecretStr`: no log, event or traceback
shows them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from assets.compute.forges import Forge, OwnForges
from assets.compute.vocabulary import STALE_HOURS
from assets.publishing.layout import DAGSTER_FOLDER, POSTGRES_FOLDER
from pipelines.env_file import EnvFileError, read_env_file
from pipelines.misspelt import meant_by
from pipelines.webserver.names import read_names

_FOR_DEVELOPERS = ("FLAKELAG_PICTURE", "FLAKELAG_TEST_SCALE")
"""What the tests and the Makefile read."""

LONGEST_HOURS = 1_000_000
"""More than a century: what is larger was not meant, and infinity can't be counted with."""

MOST_COMMITS = 1_000_000_000

LONGEST_PAUSE_SECONDS = 86_400

LONGEST_TIMEOUT_SECONDS = 2_147_483
"""PostgreSQL counts its time-outs in milliseconds, in 32 bits."""

LONGEST_LINK = 1_000

LONGEST_KEPT_DAYS = 36_500
"""A century, which Python's dates can be counted back by."""


class SettingsError(Exception):
    """Something that is set can't be used; the message says what and where, never its value."""


class Settings(BaseModel):
    """The settings, each under its own name in capitals in the environment or in `.env`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
        le=LONGEST_TIMEOUT_SECONDS // 5,
        description="How long a database may send nothing before the connection is closed and the "
        "work tried again.",
    )
    extract_retry_seconds: PositiveFloat = Field(
        default=15,
        le=LONGEST_PAUSE_SECONDS,
        description="Pause before the first retry of a failed extraction; it doubles each time.",
    )
    feed_stale_hours: PositiveFloat = Field(
        default=STALE_HOURS,
        le=LONGEST_HOURS,
        description="From how many hours after the server last tried to read a flake's repository "
        "its feed is `stale`.",
    )
    forge_hosts: str | None = Field(
        default=None,
        description="What runs on hosts of your own that flakes come from, for links to commits: "
        f"`git.example.org=gitea`, with commas between; one of {', '.join(Forge)} (`gitea` for "
        "Forgejo too). Unset: only public forges are known, and hosts called after their forge.",
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
    failed_runs_kept_days: PositiveInt = Field(
        default=90,
        le=LONGEST_KEPT_DAYS,
        description="How long Dagster's records of runs that failed or were canceled are kept.",
    )

    flakelag_ui_hosts: str | None = Field(
        default=None,
        description="Names by which browsers reach the UI, such as that of a proxy in front, with "
        "commas between: `fleet.example.org`. Unset: only the address that it listens on.",
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

    @field_validator("forge_hosts")
    @classmethod
    def _check_forges(cls, hosts: str | None) -> str | None:
        OwnForges.read(hosts or "")
        return hosts

    @field_validator("flakelag_ui_hosts")
    @classmethod
    def _check_names(cls, names: str | None) -> str | None:
        read_names(names or "")
        return names

    @field_validator("reports_dir", "flakelag_var_dir", "dagster_home")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        # A `.env` is read by no shell, nor is a unit of systemd.
        if path is not None and "$" in str(path):
            raise ValueError("A $ stands for nothing here; a .env may have ${NAME}")
        try:
            return None if path is None else path.expanduser()
        except RuntimeError:
            raise ValueError("There is no home folder for its ~") from None

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

    What only `.env` sets is in the environment afterwards, for Dagster and for libpq.

    Raises:
        SettingsError: naming each variable that can't be used, or the line of `.env`.
    """
    try:
        in_file = read_env_file(Path.cwd() / ".env", os.environ)
    except EnvFileError as error:
        raise SettingsError(str(error)) from None
    places = {name: f".env, line {entry.line}" for name, entry in in_file.items()}
    places |= dict.fromkeys(os.environ, "the environment")
    values = {name: entry.value for name, entry in in_file.items()} | os.environ
    problems = _problems_of_names(values, places)
    ours = {name: values[name.upper()] for name in Settings.model_fields if name.upper() in values}
    try:
        settings = None if problems else Settings.model_validate(ours)
    except ValidationError as error:
        problems = [
            f"{name} ({places[name]}): {problem['msg']}."
            for problem in error.errors()
            for name in (str(problem["loc"][0]).upper(),)
        ]
        settings = None
    if settings is None:
        raise SettingsError("\n".join([*problems, "docs/operations.md lists every variable."]))
    os.environ.update(values)
    return settings


def _problems_of_names(values: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    """What is wrong whatever it is set to: names that only look like ours, and empty values."""
    ours = [name.upper() for name in Settings.model_fields]
    problems = []
    for name, value in sorted(values.items()):
        if name in ours and not value.strip():
            problems.append(
                f"{name} ({places[name]}) is empty. Give it a value, or take it away to have its "
                "default."
            )
        meant = None if name in _FOR_DEVELOPERS else meant_by(name, ours)
        if meant is not None:
            problems.append(
                f"{name} ({places[name]}) is no setting of flakelag. Is {meant} meant? If it "
                "belongs to another program, take it out of the environment of this one."
            )
    return problems
