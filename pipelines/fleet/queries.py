"""The SQL that reads the fleet database: one transaction, one statement a table.

Belongs here: statements, made from the dictionary of columns and from what the preflight found.
Does not belong here: running them. Every name in a statement is a constant of the dictionary or of
the preflight; nothing comes from the database or from a user.
"""

from collections.abc import Sequence
from datetime import timedelta

from psycopg import sql

from assets.compute.quarantine import (
    DUPLICATE_FLAG,
    LONGEST_HOSTNAME,
    LONGEST_PATH,
    RAW_SUFFIX,
    SHARED_ID_FLAG,
)
from assets.schemas.dictionary import INSTANT, TEXT, Column, Dataset
from assets.schemas.source import DERIVATIONS, SYSTEM_STATES, SYSTEMS
from pipelines.fleet.preflight import SCHEMA, FleetShape
from pipelines.postgres.session import PINNED, milliseconds, set_local

# Instants out of this range are no facts about a fleet, but clocks never set and slips of the pen.
_FIRST_USABLE, _FIRST_TOO_LATE = "1970-01-01 00:00:00+00", "2100-01-01 00:00:00+00"
_HAS_TRANSACTION_TIMEOUT = 170000
# No longer text than this leaves the server, because a host can report megabytes. What is cut is
# still too long to be used: in a SQL_ASCII database a character of UTF-8 counts as up to four.
_LONGEST_READ = {"hostname": 4 * (LONGEST_HOSTNAME + 1), "path": LONGEST_PATH + 1}

# While the server waits for a reader to take rows, no time-out of statements or transactions
# reaches it, and the owner's ALTER TABLE waits with it: 76 s and more, measured. With this one it
# waited 10 to 11 s, on PostgreSQL 16 and 18. A Unix socket has none: there the reader itself gives
# up when nobody takes its rows.
_RELEASE = {"tcp_user_timeout": "10s"}

# Nullable instants without which a row can be used safely. Out of range, they become null and their
# row stays: without the derivation, every system that runs it would be unknown because of a mere
# build time; and a system without `created_at` counts as registered since ever.
DISPENSABLE_COLUMNS = {DERIVATIONS.name: ("completed_at",), SYSTEMS.name: ("created_at",)}

PATH_COLUMNS = {
    DERIVATIONS.name: ("derivation_path", "store_path"),
    SYSTEM_STATES.name: ("deployed_path",),
}

_IS_PACKAGE = "(derivation_type::text IS NOT DISTINCT FROM 'package')"

END = "COMMIT"
# Inside the snapshot; the transaction's start, so that no row committed before it is missing.
EXTRACTED_AT = "SELECT transaction_timestamp() AS extracted_at"


def begin_look_around(statement_timeout: timedelta) -> tuple[str, ...]:
    """The statements that open a short transaction for the catalogue, before the shape is known."""
    settings = {**PINNED, **_RELEASE, "statement_timeout": milliseconds(statement_timeout)}
    return ("BEGIN TRANSACTION READ ONLY", *set_local(settings))


def begin_extract(
    shape: FleetShape,
    *,
    lock_timeout: timedelta,
    statement_timeout: timedelta,
    transaction_timeout: timedelta,
) -> tuple[str, ...]:
    """The statements that open the one transaction in which everything is read.

    None of them takes a snapshot, so the first query after them sees the tables as they were when
    all locks were held: no table can be truncated or rewritten between the snapshot and its read,
    which would make it look empty. All settings are local to the transaction, and so work, and
    leave nothing behind, in a session that pgbouncer shares.
    """
    settings = {
        **PINNED,
        **_RELEASE,
        "lock_timeout": milliseconds(lock_timeout),
        "statement_timeout": milliseconds(statement_timeout),
        "idle_in_transaction_session_timeout": milliseconds(statement_timeout),
        # PostgreSQL checks every text that goes to a client of another encoding, and one bad byte
        # would end the read. Where the database itself checks nothing, we do.
        "client_encoding": "SQL_ASCII" if shape.encoding == "SQL_ASCII" else "UTF8",
    }
    if shape.server_version >= _HAS_TRANSACTION_TIMEOUT:
        settings["transaction_timeout"] = milliseconds(transaction_timeout)
    tables = ", ".join(f"{SCHEMA}.{table.name}" for table in shape.tables)
    return (
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        *set_local(settings),
        f"LOCK TABLE {tables} IN ACCESS SHARE MODE",
    )


def select_table(dataset: Dataset, shape: FleetShape, where: str | None = None) -> str:
    """The statement that reads one source table in the columns and types of its dataset.

    Beside each instant stands its text (`RAW_SUFFIX`) where it is out of range, in which case the
    instant is null. Where no unique index guards the key, rows that repeat it are flagged
    (`DUPLICATE_FLAG`): all but the first by their other columns, usable instants first. Systems are
    known by their hostname; those that share an `id` are flagged too (`SHARED_ID_FLAG`), all.
    """
    names = shape.source_columns[dataset.name]
    columns = [(column, names[column.name]) for column in dataset.columns]
    selected = [item for column, name in columns for item in _projection(dataset, column, name)]
    selected.append(f"{_duplicate(dataset, shape)} AS {_quoted(DUPLICATE_FLAG)}")
    if dataset == SYSTEMS and "id" not in shape.unique_columns[dataset.name]:
        selected.append(f'count(*) OVER (PARTITION BY "id") > 1 AS {_quoted(SHARED_ID_FLAG)}')
    statement = f"SELECT {', '.join(selected)} FROM {SCHEMA}.{dataset.name} AS source"  # noqa: S608 -- names are constants
    if where is None and dataset == DERIVATIONS:
        # By far the most rows, and few of them matter: see `select_packages`.
        where = f"NOT {_IS_PACKAGE}"
    if where is not None:
        statement += f" WHERE {where}"
    return f"{statement} ORDER BY {_in_order(dataset, shape, dataset.key[0])}"


def select_packages(paths: Sequence[str], shape: FleetShape) -> str:
    """The statement that reads the package derivations that have one of these paths.

    Each path is looked up by an index of the column; without any, the table is read once more for
    each statement.
    """
    names = shape.source_columns[DERIVATIONS.name]
    listed = ", ".join(sql.Literal(path).as_string() for path in paths)
    matches = " OR ".join(
        f"{_quoted(name)} = ANY (ARRAY[{listed}]::text[])"
        for column in PATH_COLUMNS[DERIVATIONS.name]
        if (name := names[column]) is not None
    )
    return select_table(DERIVATIONS, shape, where=f"{_IS_PACKAGE} AND ({matches})")


def _projection(dataset: Dataset, column: Column, name: str | None) -> list[str]:
    alias = _quoted(column.name)
    if name is None:
        return [f"NULL::{column.sql_type} AS {alias}"]
    value = f"{_quoted(name)}::{column.sql_type}"
    if column.type == INSTANT:
        usable = _is_usable(name)
        return [
            f"CASE WHEN {usable} THEN {value} END AS {alias}",
            f"CASE WHEN NOT {usable} THEN {value}::text END AS {_quoted(column.name + RAW_SUFFIX)}",
        ]
    if column.name == "hostname":
        value = _cut(value, _LONGEST_READ["hostname"])
    elif column.name in PATH_COLUMNS.get(dataset.name, ()):
        value = _cut(value, _LONGEST_READ["path"])
    if (dataset, column.name) == (SYSTEMS, "system_configuration_name"):
        value = f"CASE WHEN btrim({value}, E' \\t\\n\\r\\f\\x0b') <> '' THEN {value} END"
    if (dataset.name, column.name) == ("derivation_statuses", "is_success"):
        value = f"coalesce({value}, false)"
    return [f"{value} AS {alias}"]


def _cut(value: str, length: int) -> str:
    return (
        f"CASE WHEN octet_length({value}) > {length} THEN left({value}, {length}) ELSE {value} END"
    )


def _is_usable(name: str) -> str:
    column = _quoted(name)
    return f"({column} >= '{_FIRST_USABLE}' AND {column} < '{_FIRST_TOO_LATE}')"


def _duplicate(dataset: Dataset, shape: FleetShape) -> str:
    [key] = dataset.key
    names = shape.source_columns[dataset.name]
    if names[key] in shape.unique_columns[dataset.name]:
        return "false"
    unusable = [
        f"NOT {_is_usable(name)}"
        for column in dataset.columns
        if column.type == INSTANT and (name := names[column.name]) is not None
    ]
    others = [
        _in_order(dataset, shape, column.name)
        for column in dataset.columns
        if column.name != key and names[column.name] is not None
    ]
    order = ", ".join([*unusable, *others])
    return f"row_number() OVER (PARTITION BY {_quoted(key)} ORDER BY {order}) > 1"


def _in_order(dataset: Dataset, shape: FleetShape, column_name: str) -> str:
    """An expression to order by that does not depend on the database's collation."""
    # Qualified, because a bare name would mean our cast of the column, which no index orders.
    name = f"source.{_quoted(shape.source_columns[dataset.name][column_name] or column_name)}"
    if dataset[column_name].type == TEXT:
        return f'{name}::text COLLATE "C"'
    return name


def _quoted(name: str) -> str:
    return f'"{name}"'
