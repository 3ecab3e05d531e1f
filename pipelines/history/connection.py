"""Connecting to the history database, and what can go wrong with it in words a person can act on.

Belongs here: the exceptions, the one place that opens a connection, and the translation of
PostgreSQL's errors. Does not belong here: any table or row of ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from pydantic import SecretStr

from assets.publishing.display import display_sentence
from assets.publishing.interfaces import OutsideFailure
from pipelines.postgres.address import Address, MalformedAddress
from pipelines.postgres.faults import Cause, cause_of
from pipelines.postgres.refusal import Refusal
from pipelines.postgres.session import PINNED, Stalled, connect, milliseconds, set_local

_SETTING = "HISTORY_DATABASE_URL"
# A writer that waits longer than this waits for somebody who hangs, not for somebody who works.
_LOCK_TIMEOUT = timedelta(seconds=60)
_NO_SUCH_DATABASE = "3D000"


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
def transaction(url: SecretStr, doing: str, patience: timedelta) -> Iterator[psycopg.Connection]:
    """Opens a connection of its own for one READ COMMITTED transaction, committed at the end.

    Everything is SET LOCAL and nothing is prepared, so that it also works through a pooler in
    transaction mode.

    Args:
        url: of the history database.
        doing: what the transaction does, for messages ("replacing days of deployment_history").
        patience: the longest wait for any one answer.

    Raises:
        HistoryDatabaseError: one of its kinds, in place of every error of psycopg.
    """
    address = history_address(url)
    connection = connect(address, patience)
    if isinstance(connection, Refusal):
        raise _refused(connection, address)
    # Whatever the database's default is: the guards read what others have just committed.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        with connection:
            for statement in set_local(_settings(patience)):
                connection.execute(statement.encode())
            yield connection
    except Stalled as error:
        problem = (
            f"{_target(address)} fell silent while {doing}: {error}. DATABASE_STALL_SECONDS says "
            "how long to wait. Nothing is known to be committed."
        )
    except psycopg.Error as error:
        raise _explained(error, doing, _target(address)) from None
    else:
        return
    raise HistoryUnavailableError(problem)


def _settings(patience: timedelta) -> dict[str, str]:
    # The server ends what we no longer wait for, so that it never blocks the next run; somewhat
    # earlier than we, so that it can say why.
    sooner = 0.8 * patience
    return {
        **PINNED,
        "lock_timeout": milliseconds(min(_LOCK_TIMEOUT, sooner)),
        "statement_timeout": milliseconds(sooner),
        "idle_in_transaction_session_timeout": milliseconds(5 * patience),
        "tcp_user_timeout": milliseconds(patience),
    }


def history_address(url: SecretStr) -> Address:
    """Where the history database is.

    Raises:
        HistoryAccessError: the URL is malformed.
    """
    try:
        return Address.of(url, _SETTING)
    except MalformedAddress as error:
        problem = str(error)
    raise HistoryAccessError(problem)


def _target(address: Address) -> str:
    return f"The history database ({address.name or address.setting})"


def _refused(refusal: Refusal, address: Address) -> HistoryDatabaseError:
    said = refusal.in_words(address)
    if refusal.passes:
        return HistoryUnavailableError(f"{_target(address)} can't be reached: {said}")
    if refusal.state == _NO_SUCH_DATABASE:
        said += " Make the database with createdb --encoding=UTF8 --template=template0."
    return HistoryAccessError(f"{_target(address)} can't be connected to: {said}")


def _explained(error: psycopg.Error, doing: str, target: str) -> HistoryDatabaseError:
    """Translates an error of an open connection; the server's words hold none of our secrets."""
    said = error.diag.message_primary
    said = None if said is None else display_sentence(said)
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
