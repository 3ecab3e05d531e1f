"""`flakelag check`: tries what a run needs, changes nothing, and says what to do about the rest.

Belongs here: what is tried, and one line for each. Does not belong here: what a failure means; the
one that failed says so.
"""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from assets.publishing.interfaces import OutsideFailure
from pipelines.commands.environment import settings_for_command
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.connection import fleet_address
from pipelines.fleet.extraction import FleetDatabase
from pipelines.history.connection import history_address
from pipelines.history.database import HistoryDatabase
from pipelines.instance import InstanceUnusableError
from pipelines.postgres.address import Address, warnings_for
from pipelines.settings import Settings

OK, WARNING, FAULT = "ok", "warning", "fault"


@dataclass(frozen=True)
class Finding:
    """What one trial came to: `OK`, `WARNING` or `FAULT`, of what, and in which words."""

    kind: str
    subject: str
    words: str


@click.command()
def check() -> None:
    """Try every connection, privilege, folder and setting, and change nothing.

    Prints a line for each, with what to do. Ends with status 1 if a run would fail.
    """
    settings = settings_for_command()
    kinds = set()
    for finding in findings(settings):
        kinds.add(finding.kind)
        click.echo(f"{finding.kind:<8} {finding.subject}: {' '.join(finding.words.split())}")
    if FAULT in kinds:
        raise click.exceptions.Exit(1)


def findings(settings: Settings) -> Iterator[Finding]:
    """What was found, one trial after the other."""
    yield Finding(OK, "settings", "each can be used.")
    yield from _fleet(settings)
    yield from _history(settings)
    yield from _storage(settings)
    yield from _embedded(settings)
    yield from _folders(settings)
    webhook = "set" if settings.alert_webhook_url is not None else "not set: nobody is told"
    yield Finding(OK, "alerts", f"ALERT_WEBHOOK_URL is {webhook}. Not tried: it would post one.")


def _fleet(settings: Settings) -> Iterator[Finding]:
    subject, url = "fleet database", settings.fleet_database_url
    if url is None:
        yield Finding(OK, subject, "FLEET_DATABASE_URL is not set: the demo fleet is read.")
        return

    def look() -> Iterator[Finding]:
        shape = FleetDatabase(url, patience=_patience(settings)).look()
        tables = ", ".join(table.name for table in shape.tables)
        yield Finding(OK, subject, f"can be read: {tables}.")
        for note in shape.notes:
            yield Finding(WARNING, subject, note)

    yield from _tried(subject, look, lambda: fleet_address(url))


def _history(settings: Settings) -> Iterator[Finding]:
    subject, url = "history database", settings.history_database_url
    if url is None:
        yield Finding(OK, subject, "HISTORY_DATABASE_URL is not set: it is in the embedded server.")
        return

    def rehearse() -> Iterator[Finding]:
        statements = HistoryDatabase(url, patience=_patience(settings)).rehearse()
        missing = f"; a run will make what it lacks ({len(statements)} statements)"
        yield Finding(OK, subject, f"can be written to{missing if statements else ''}.")

    yield from _tried(subject, rehearse, lambda: history_address(url))


def _storage(settings: Settings) -> Iterator[Finding]:
    subject, url = "Dagster's storage", settings.dagster_postgres_url
    if url is None:
        yield Finding(OK, subject, "DAGSTER_POSTGRES_URL is not set: it is in SQLite files.")
        return
    # Dagster takes a second to import.
    from pipelines.instance.opening import require_reachable, storage_address  # noqa: PLC0415

    def reach() -> Iterator[Finding]:
        require_reachable(url, _patience(settings))
        yield Finding(OK, subject, "can be reached.")

    yield from _tried(subject, reach, lambda: storage_address(url))


def _tried(
    subject: str, trial: Callable[[], Iterator[Finding]], address: Callable[[], Address]
) -> Iterator[Finding]:
    try:
        yield from trial()
        for warning in warnings_for(address()):
            yield Finding(WARNING, subject, warning)
    except (OutsideFailure, InstanceUnusableError) as error:
        yield Finding(FAULT, subject, str(error))


def _embedded(settings: Settings) -> Iterator[Finding]:
    if settings.fleet_database_url is not None and settings.history_database_url is not None:
        return
    subject = "embedded server"
    try:
        EmbeddedPostgres(settings.embedded_postgres_dir).bin_path  # noqa: B018 -- raises if absent
    except OutsideFailure as error:
        yield Finding(FAULT, subject, str(error))
    else:
        yield Finding(OK, subject, "is installed; it starts when it is needed.")


def _folders(settings: Settings) -> Iterator[Finding]:
    for setting, folder in (
        ("REPORTS_DIR", settings.reports_dir),
        ("FLAKELAG_VAR_DIR", settings.flakelag_var_dir),
        ("DAGSTER_HOME", settings.instance_dir),
    ):
        problem = _problem_of_writing(folder.absolute())
        if problem is None:
            yield Finding(OK, setting, f"{folder} can be written to.")
        else:
            yield Finding(FAULT, setting, f"{problem} Name another folder, or correct its owner.")


def _problem_of_writing(folder: Path) -> str | None:
    """Why a folder, or the nearest one above it where it is to be made, can't be written to."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        return f"{nearest} is no folder."
    read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
    if read_only or not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} can't be written to."
    return None


def _patience(settings: Settings) -> dt.timedelta:
    return dt.timedelta(seconds=settings.database_stall_seconds)
