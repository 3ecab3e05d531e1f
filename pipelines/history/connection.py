"""Connecting to the history database, and what can go wrong with it in words a person can act on.

Belongs here: the exceptions, the one place that opens a connection, and the translation of
PostgreSQL's errors. Does not belong here: any table or row of ours.

The database's URL may hold a password, and libpq quotes parts of a malformed URL in its messages.
So what libpq says about connecting is never passed on, only what this module concludes from it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from pydantic import SecretStr

from assets.publishing.interfaces import OutsideFailure
from pipelines.postgres.address import Address, MalformedAddress
from pipelines.postgres.faults import Cause, cause_of

# A writer that waits longer than this waits for somebody who hangs, not for somebody who works. The
# server ends a transaction of ours that hangs, so that a stopped process never blocks the next run.
_SESSION_SETTINGS = """
    SET LOCAL TIME ZONE 'UTC';
    SET LOCAL lock_timeout = '60s';
    SET LOCAL idle_in_transaction_session_timeout = '5min';
"""


class HistoryDatabaseError(OutsideFailure):
    """Something is wrong with the history database; the message says what to do about it."""


class HistoryUnavailableError(HistoryDatabaseError):
    """The server can't be reached, went away, is busy or full: trying again may help."""

    retryable = True


class HistoryAccessError(HistoryDatabaseError):
    """The role can't log in or lacks a privilege; the message names the GRANT."""


class HistoryReadOnlyError(HistoryDatabaseError):
    """The server accepts no writes: a standby, or a database set to read-only."""


class HistorySchemaError(HistoryDatabaseError):
    """What stands in schema `flakelag` is not what this version of flakelag can write to."""


class HistoryDataError(HistoryDatabaseError):
    """The rows handed over don't fit their dataset; nothing was written."""


@contextmanager
def transaction(url: SecretStr, doing: str) -> Iterator[psycopg.Connection]:
    """Opens a connection of its own for one READ COMMITTED transaction, committed at the end.

    Everything is SET LOCAL and nothing is prepared, so that it also works through a pooler in
    transaction mode.

    Args:
        url: of the history database.
        doing: what the transaction does, for messages ("replacing days of deployment_history").

    Raises:
        HistoryDatabaseError: one of its kinds, in place of every error of psycopg.
    """
    address = _address(url)
    connection = _connect(address)
    if isinstance(connection, HistoryDatabaseError):
        raise connection
    try:
        with connection:
            connection.execute(_SESSION_SETTINGS)
            yield connection
    except psycopg.Error as error:
        raise _explained(error, doing, _target(address)) from None


def _address(url: SecretStr) -> Address:
    try:
        return Address.of(url, "HISTORY_DATABASE_URL")
    except MalformedAddress as error:
        problem = str(error)
    raise HistoryAccessError(problem)


def _target(address: Address) -> str:
    return f"The history database ({address.name or address.setting})"


def _connect(address: Address) -> psycopg.Connection | HistoryDatabaseError:
    """Returns a failure, for a frame to raise that does not have the password in its variables."""
    try:
        # Whatever the locale of the server or of this machine says, we send and read UTF-8.
        connection = psycopg.connect(
            address.conninfo.get_secret_value(), client_encoding="UTF8", prepare_threshold=None
        )
    except (psycopg.Error, UnicodeError) as error:
        return _refusal(str(error), _target(address))
    # Whatever the database's default is: the guards read what others have just committed.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


def _refusal(said: str, target: str) -> HistoryDatabaseError:
    """Concludes from libpq's words why no connection came about; libpq gives no error code."""
    if "password authentication failed" in said or "no password supplied" in said:
        return HistoryAccessError(
            f"{target} refuses the user or password. Check HISTORY_DATABASE_URL, or the file that "
            "PGPASSFILE names."
        )
    if "pg_hba.conf" in said:
        return HistoryAccessError(
            f"{target} does not let this user in from this machine: the server's pg_hba.conf has "
            "no entry for it (or asks for SSL: add sslmode=require to HISTORY_DATABASE_URL)."
        )
    if "FATAL" in said and "does not exist" in said:
        return HistoryAccessError(
            f"{target} does not exist, or its role does not. Create it with "
            "createdb --encoding=UTF8 --template=template0, or check HISTORY_DATABASE_URL."
        )
    if "FATAL" in said:
        return HistoryUnavailableError(
            f"{target} takes no connection now; the server's log says why. It may be starting up "
            "or have too many connections."
        )
    return HistoryUnavailableError(
        f"{target} can't be reached. Check that the server runs and accepts connections from here, "
        "and the host and port in HISTORY_DATABASE_URL."
    )


def _explained(error: psycopg.Error, doing: str, target: str) -> HistoryDatabaseError:
    """Translates an error of an open connection; the server's words hold none of our secrets."""
    said = error.diag.message_primary
    state = error.sqlstate or ""
    cause = cause_of(state)
    if cause is Cause.LOST:
        return HistoryUnavailableError(f"{target} went away while {doing}. Nothing was committed.")
    if cause is Cause.BUSY:
        return HistoryUnavailableError(
            f"{target} was busy while {doing} ({said}). Nothing was committed; try again, and look "
            "for a session that holds a lock in pg_stat_activity."
        )
    if cause is Cause.FULL:
        return HistoryUnavailableError(
            f"{target} lacks resources while {doing}: {said}. Nothing was committed."
        )
    if cause is Cause.READ_ONLY:
        return HistoryReadOnlyError(
            f"{target} accepts no writes ({said}): it is a standby, or "
            "default_transaction_read_only is on. Point HISTORY_DATABASE_URL at the primary."
        )
    if cause is Cause.FORBIDDEN:
        return HistoryAccessError(
            f"{target} refused while {doing}: {said}. The role of HISTORY_DATABASE_URL must own "
            "schema flakelag and what is in it: ALTER SCHEMA flakelag OWNER TO <role>; and "
            "ALTER TABLE flakelag.<table> OWNER TO <role>; for each."
        )
    return HistoryDatabaseError(f"{target} refused while {doing}: {said} (SQLSTATE {state}).")
