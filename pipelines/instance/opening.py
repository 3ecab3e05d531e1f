"""Opening Dagster's instance for a command, and being the only command that has it.

Belongs here: saying plainly, to whoever typed the command, why the instance can't be had. Does not
belong here: what is done with it.
"""

import errno
import logging
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import dagster as dg
import psycopg2
import psycopg2.extensions
import sqlalchemy
from dagster_postgres import PostgresRunStorage
from dagster_postgres.utils import DagsterPostgresException
from filelock import FileLock, Timeout
from pydantic import SecretStr
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from assets.publishing.display import display_sentence
from pipelines.files import PRIVATE_FILE, advice, explanation
from pipelines.instance import HOME_SETTING, InstanceUnusableError, prepare_instance
from pipelines.postgres.address import (
    CONNECTION_DEFAULTS,
    HOW_TO_WRITE_ONE,
    Address,
    MalformedAddress,
    startup_options,
)
from pipelines.postgres.refusal import Refusal
from pipelines.postgres.session import PINNED, connect
from pipelines.settings import Settings

STORAGE_FAILURES = (SQLAlchemyError, DagsterPostgresException)
"""What Dagster raises when its own storage fails it."""

_SETTING = "DAGSTER_POSTGRES_URL"
_DRIVERS = ("postgresql", "postgresql+psycopg2")
# Of our own choosing: the command that has the instance holds this advisory lock.
_ADVISORY_LOCK = 7_305_810

# What SQLite says for errors of the operating system.
_SQLITE_SAYS = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}

_logger = logging.getLogger(__name__)


@contextmanager
def opened_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of the settings, which is also that of the processes started meanwhile.

    Raises:
        InstanceUnusableError: its folder, its `dagster.yaml` or its storage can't be used.
    """
    folder = prepare_instance(settings)
    os.environ.update(environment_of(folder))
    if settings.dagster_postgres_url is not None:
        patience = timedelta(seconds=settings.database_stall_seconds)
        require_reachable(settings.dagster_postgres_url, patience)
        os.environ[_SETTING] = storage_url(settings.dagster_postgres_url)
        _let_no_wait_be_endless(patience)
    with _opened(folder) as instance:
        yield instance


def environment_of(folder: Path) -> dict[str, str]:
    """What Dagster's processes need in their environment to use the instance in a folder."""
    return {
        "DAGSTER_HOME": str(folder),
        # Nothing is sent, not even where a `dagster.yaml` that is not ours lets it.
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        # Dagster starts its processes with `python -m`, which would import what lies in the folder
        # that a command was started in rather than what is installed.
        "PYTHONSAFEPATH": "1",
    }


def _opened(folder: Path) -> dg.DagsterInstance:
    try:
        # Two that make a storage at once would each find the other's tables in the way.
        with _alone(folder / "flakelag-opening.lock"):
            return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        problem = str(error).strip()
    except STORAGE_FAILURES as error:
        problem = f"its storage fails ({describe_storage_failure(error)})"
    except OSError as error:
        path = folder / os.fsdecode(error.filename or "")
        raise InstanceUnusableError(explanation(error, path, "write", HOME_SETTING)) from None
    raise InstanceUnusableError(f"Can't use {folder / 'dagster.yaml'}: {problem}")


def require_reachable(url: SecretStr, patience: timedelta = timedelta(seconds=60)) -> None:
    """Connects to Dagster's PostgreSQL once, as Dagster will.

    Dagster itself would try for ten seconds, log each attempt and end in a long traceback.

    Args:
        url: of the storage.
        patience: how long to wait for it.

    Raises:
        InstanceUnusableError: the URL is malformed, or no connection comes about.
    """
    address = storage_address(url)
    connection = connect(address, patience)
    if isinstance(connection, Refusal):
        raise InstanceUnusableError(
            f"Dagster's storage ({address.setting}) can't be reached: "
            f"{connection.in_words(address)}"
        )
    connection.close()


def storage_address(url: SecretStr) -> Address:
    """Where Dagster's PostgreSQL is.

    Raises:
        InstanceUnusableError: the URL is malformed.
    """
    try:
        driver = sqlalchemy.make_url(url.get_secret_value()).drivername
        address = Address.of(_without_driver(url), _SETTING)
    except (ArgumentError, ValueError, MalformedAddress):
        pass
    else:
        if driver in _DRIVERS:
            return address
    raise InstanceUnusableError(f"{_SETTING} is malformed. {HOW_TO_WRITE_ONE}")


def _without_driver(url: SecretStr) -> SecretStr:
    """The URL as libpq takes it: SQLAlchemy's may name the driver too."""
    return SecretStr(url.get_secret_value().replace("postgresql+psycopg2://", "postgresql://", 1))


def storage_url(url: SecretStr) -> str:
    """The URL of Dagster's PostgreSQL as Dagster is to have it: with our defaults and settings.

    Dagster stores local wall time, so that the zone of its sessions must be that of everybody who
    asks. The search path is left alone, because it says where Dagster's tables are.
    """
    plain, _, query = url.get_secret_value().partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    pinned = startup_options({k: v for k, v in PINNED.items() if k != "search_path"})
    options = given.get("options", os.environ.get("PGOPTIONS", ""))
    if pinned not in options:
        options = f"{options} {pinned}".strip()
    parameters = {**CONNECTION_DEFAULTS, **given, "options": options}
    return f"{plain}?{urlencode(parameters, quote_via=quote)}"


def _let_no_wait_be_endless(patience: timedelta) -> None:
    """Lets psycopg2, through which Dagster reaches its PostgreSQL, wait in Python.

    There a signal is heard, and a server that falls silent is given up on; in libpq neither is so.
    """

    def wait(connection: Any) -> None:
        while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
            reading = [connection] if state == psycopg2.extensions.POLL_READ else []
            writing = [connection] if state == psycopg2.extensions.POLL_WRITE else []
            if not any(select.select(reading, writing, [], patience.total_seconds())):
                # psycopg2 then closes the connection.
                raise psycopg2.OperationalError(
                    f"Dagster's storage sent nothing for {patience.total_seconds():g} s"
                )

    psycopg2.extensions.set_wait_callback(wait)


def describe_storage_failure(error: Exception) -> str:
    """What the storage said, in one line, without the statement that it was asked to run."""
    cause = error.__cause__ if isinstance(error, DagsterPostgresException) else error
    said = cause.orig if isinstance(cause, DBAPIError) else cause
    told = display_sentence(str(said or error))
    return f"{told}. {advice(_SQLITE_SAYS[told], HOME_SETTING)}" if told in _SQLITE_SAYS else told


@contextmanager
def sole_command(instance: dg.DagsterInstance) -> Iterator[None]:
    """Waits until no other command has the instance, and has it until the end of the block."""
    with command_lock(instance) as try_to_lock:
        _wait_until(try_to_lock)
        yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the same file."""
    lock = FileLock(path, mode=PRIVATE_FILE)
    try:
        while not _try(lock):
            time.sleep(0.1)
        yield
    finally:
        lock.release()


@contextmanager
def command_lock(instance: dg.DagsterInstance) -> Iterator[Callable[[], bool]]:
    """The lock of the sole command: what it gives tries to take it, and says whether it did.

    The lock is kept where the runs are, and ends with its holder: in PostgreSQL if that is the
    storage, which several machines may share, else in a file beside the SQLite files.
    """
    storage = instance.run_storage
    if isinstance(storage, PostgresRunStorage):
        with storage.connect() as connection:
            locking = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(_ADVISORY_LOCK))
            yield lambda: bool(connection.scalar(locking))
    else:
        lock = FileLock(Path(instance.root_directory) / "flakelag-command.lock", mode=PRIVATE_FILE)
        try:
            yield lambda: _try(lock)
        finally:
            lock.release()


def _try(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _wait_until(succeeds: Callable[[], bool]) -> None:
    if succeeds():
        return
    _logger.info("Waiting for another flakelag command to end.")
    while not succeeds():
        # Not a blocking wait of the driver's, which would not hear Ctrl-C.
        time.sleep(0.2)
