"""The SQL that reads the fleet database: one transaction, one statement a table.

Belongs here: statements, made from the dictionary of columns and from what the preflight found.
Does not belong here: running them. Every name in a statement is a constant of the dictionary or of
the preflight; nothing comes from the database or from a user.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import sql

from assets.compute.quarantine import (
    BYTES_OF_A_CHARACTER,
    DUPLICATE_FLAG,
    LONGEST_HOSTNAME,
    LONGEST_PATH,
    RAW_SUFFIX,
    SHARED_ID_FLAG,
)
from assets.schemas.dictionary import INSTANT, TEXT, Column, Dataset
from assets.schemas.source import (
    AGENT_HEARTBEATS,
    CACHE_PUSH_JOBS,
    DERIVATIONS,
    FLAKES,
    SYSTEMS,
)
from pipelines.fleet.preflight import SCHEMA, FleetShape
from pipelines.fleet.rules import CHOSEN_BY, EXCERPTS, PATH_COLUMNS, is_dispensable
from pipelines.postgres.session import PINNED, milliseconds, set_local

# Instants out of this range are no facts about a fleet, but clocks never set and slips of the pen.
_FIRST_USABLE, _FIRST_TOO_LATE = "1970-01-01 00:00:00+00", "2100-01-01 00:00:00+00"
_HAS_TRANSACTION_TIMEOUT = 170000
# No longer text than this leaves the server, because a host can report megabytes. What is cut is
# still too long to be used: in a SQL_ASCII database a character of UTF-8 counts as up to four.
_LONGEST_NAME_READ = BYTES_OF_A_CHARACTER * (LONGEST_HOSTNAME + 1)
_LONGEST_PATH_READ = LONGEST_PATH + 1

# While the server waits for a reader to take rows, no time-out of statements or transactions
# reaches it, and the owner's ALTER TABLE waits with it: 76 s and more, measured. With this one it
# waited 10 to 11 s, on PostgreSQL 16 and 18. A Unix socket has none: there the reader itself gives
# up when nobody takes its rows.
_RELEASE = {"tcp_user_timeout": "10s"}

_IS_PACKAGE = "(derivation_type::text IS NOT DISTINCT FROM 'package')"

_COMPLETED = "completed"

# However the planner's statistics stand: it would scan a table that it believes to be small, and
# sort all heartbeats of a state that it believes to have few.
LOOKING_UP = set_local(
    {
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_indexscan": "on",
        "enable_indexonlyscan": "on",
        # To compile a statement would take longer than to run it.
        "jit": "off",
    }
)

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
    if dataset == CACHE_PUSH_JOBS:
        return _select_completed_pushes(shape)
    names = shape.source_columns[dataset.name]
    columns = [(column, names[column.name]) for column in dataset.columns]
    selected = [item for column, name in columns for item in _projection(dataset, column, name)]
    selected.append(f"{_duplicate(dataset, shape)} AS {_quoted(DUPLICATE_FLAG)}")
    if dataset == SYSTEMS and {"id"} not in shape.unique_keys[dataset.name]:
        selected.append(f'count(*) OVER (PARTITION BY "id") > 1 AS {_quoted(SHARED_ID_FLAG)}')
    statement = f"SELECT {', '.join(selected)} FROM {SCHEMA}.{dataset.name} AS source"  # noqa: S608 -- names are constants
    if where is None and dataset == DERIVATIONS:
        # By far the most rows, and few of them matter: see `select_packages`.
        where = f"NOT {_IS_PACKAGE}"
    if where is not None:
        statement += f" WHERE {where}"
    return f"{statement} ORDER BY {_in_order_of_key(dataset, shape)}"


def _select_completed_pushes(shape: FleetShape) -> str:
    """The derivations with a completed push, and when the first was; one can have many."""
    name = shape.source_columns[CACHE_PUSH_JOBS.name]["completed_at"]
    completed_at = "NULL::timestamptz" if name is None else _quoted(name)
    usable, raw = _is_usable(completed_at), _quoted(f"completed_at{RAW_SUFFIX}")
    status = _quoted(CHOSEN_BY[CACHE_PUSH_JOBS.name].name)
    return (
        "SELECT derivation_id::bigint AS derivation_id, "  # noqa: S608 -- names are constants
        f"min({completed_at}) FILTER (WHERE {usable}) AS completed_at, "
        f"min({completed_at}::text) FILTER (WHERE NOT {usable}) AS {raw} "
        f"FROM {SCHEMA}.{CACHE_PUSH_JOBS.name} AS source "
        f"WHERE {status}::text = '{_COMPLETED}' "
        "GROUP BY source.derivation_id ORDER BY source.derivation_id"
    )


def select_heartbeats(looked_up: Sequence[tuple[int, datetime]], shape: FleetShape) -> str:
    """The statement that reads the newest heartbeat of some states, each as of an instant.

    Each takes one look-up in the index that the preflight has seen. Heartbeats at or after the
    instant, those of clocks that run fast among them, are left out, and so are those out of range.

    Args:
        looked_up: ids of states, and the instants.
        shape: the fleet's.
    """
    names = shape.source_columns[AGENT_HEARTBEATS.name]
    state, timestamp = (
        f"heartbeat.{_quoted(names[c.name] or c.name)}" for c in AGENT_HEARTBEATS.columns
    )
    ids = ",".join(str(state_id) for state_id, _ in looked_up)
    instants = ",".join(f'"{instant.isoformat()}"' for _, instant in looked_up)
    return (
        "SELECT DISTINCT newest.system_state_id, newest.timestamp "  # noqa: S608 -- numbers and instants
        f"FROM unnest('{{{ids}}}'::bigint[], '{{{instants}}}'::timestamptz[]) "
        "AS wanted (id, instant) "
        f"CROSS JOIN LATERAL (SELECT {state}::bigint AS system_state_id, {timestamp} AS timestamp "
        f"FROM {SCHEMA}.{AGENT_HEARTBEATS.name} AS heartbeat "
        f"WHERE {state} = wanted.id AND {timestamp} < wanted.instant "
        f"AND {timestamp} >= '{_FIRST_USABLE}' AND {timestamp} < '{_FIRST_TOO_LATE}' "
        f"ORDER BY {timestamp} DESC LIMIT 1) AS newest "
        "ORDER BY newest.system_state_id, newest.timestamp"
    )


def select_packages(paths: Sequence[str], shape: FleetShape) -> str:
    """The statement that reads the package derivations that have one of these paths.

    Each path is looked up by an index of the column; without any, the table is read once more for
    each statement. A predicted output is one only where nothing is built.
    """
    names = shape.source_columns[DERIVATIONS.name]
    listed = ", ".join(sql.Literal(path).as_string() for path in paths)
    found = {
        column: f"{_quoted(name)} = ANY (ARRAY[{listed}]::text[])"
        for column in PATH_COLUMNS[DERIVATIONS.name]
        if (name := names[column]) is not None
    }
    built, predicted = names["store_path"], "expected_store_path"
    if built is not None and predicted in found:
        is_built = f"coalesce({_is_not_blank(_quoted(built))}, false)"
        found[predicted] = f"({found[predicted]} AND NOT {is_built})"
    matches = " OR ".join(found.values())
    return select_table(DERIVATIONS, shape, where=f"{_IS_PACKAGE} AND ({matches})")


def _projection(dataset: Dataset, column: Column, name: str | None) -> list[str]:
    alias = _quoted(column.name)
    if name is None:
        return [f"NULL::{column.sql_type} AS {alias}"]
    value = f"{_quoted(name)}::{column.sql_type}"
    if column.type == INSTANT:
        usable = _is_usable(_quoted(name))
        if (dataset, column.name) == (FLAKES, "deleted_at"):
            # Long ago, whenever it was; read as null, the flake would seem to be there still.
            value = f"greatest({value}, '{_FIRST_USABLE}')"
            usable = f"({_quoted(name)} < '{_FIRST_TOO_LATE}')"
        return [
            f"CASE WHEN {usable} THEN {value} END AS {alias}",
            f"CASE WHEN NOT {usable} THEN {value}::text END AS {_quoted(column.name + RAW_SUFFIX)}",
        ]
    if column.name == "hostname":
        value = _cut(value, _LONGEST_NAME_READ)
    elif column.name in (excerpts := EXCERPTS.get(dataset.name, {})):
        value = _cut(value, BYTES_OF_A_CHARACTER * (excerpts[column.name] + 1))
    elif _is_path(dataset, column) or (
        column.type == TEXT and is_dispensable(dataset.name, column.name)
    ):
        value = _cut(value, _LONGEST_PATH_READ)
    if (dataset, column.name) == (SYSTEMS, "system_configuration_name"):
        value = f"CASE WHEN {_is_not_blank(value)} THEN {value} END"
    if (dataset, column.name) == (SYSTEMS, "deployment_policy"):
        value = f"coalesce({value}, 'manual')"
    if (dataset.name, column.name) == ("derivation_statuses", "is_success"):
        value = f"coalesce({value}, false)"
    return [f"{value} AS {alias}"]


def _cut(value: str, length: int) -> str:
    return (
        f"CASE WHEN octet_length({value}) > {length} THEN left({value}, {length}) ELSE {value} END"
    )


def _is_path(dataset: Dataset, column: Column) -> bool:
    return column.name in PATH_COLUMNS.get(dataset.name, ())


def _is_not_blank(value: str) -> str:
    return f"(btrim({value}, E' \\t\\n\\r\\f\\x0b') <> '')"


def _is_usable(column: str) -> str:
    return f"({column} >= '{_FIRST_USABLE}' AND {column} < '{_FIRST_TOO_LATE}')"


def _duplicate(dataset: Dataset, shape: FleetShape) -> str:
    names = shape.source_columns[dataset.name]
    key = [names[column] or column for column in dataset.key]
    if any(guarded.issubset(key) for guarded in shape.unique_keys[dataset.name]):
        return "false"
    unusable = [
        f"NOT {_is_usable(_quoted(name))}"
        for column in dataset.columns
        if column.type == INSTANT and (name := names[column.name]) is not None
    ]
    others = [
        _in_order(dataset, shape, column.name)
        for column in dataset.columns
        if column.name not in dataset.key and names[column.name] is not None
    ]
    order = ", ".join([*unusable, *others])
    repeated = ", ".join(map(_quoted, key))
    return f"row_number() OVER (PARTITION BY {repeated} ORDER BY {order}) > 1"


def _in_order_of_key(dataset: Dataset, shape: FleetShape) -> str:
    return ", ".join(_in_order(dataset, shape, column) for column in dataset.key)


def _in_order(dataset: Dataset, shape: FleetShape, column_name: str) -> str:
    """An expression to order by that does not depend on the database's collation."""
    # Qualified, because a bare name would mean our cast of the column, which no index orders.
    name = f"source.{_quoted(shape.source_columns[dataset.name][column_name] or column_name)}"
    if dataset[column_name].type == TEXT:
        return f'{name}::text COLLATE "C"'
    return name


def _quoted(name: str) -> str:
    return f'"{name}"'
