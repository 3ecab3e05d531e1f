"""What the fleet database looks like and whether we may read it, before anything is read.

Belongs here: looking into the catalogue, and saying what is missing in words that an operator can
act on. Does not belong here: reading any table. The catalogue answers a role that may read nothing,
so a missing privilege is told apart from a missing table, which PostgreSQL's own message confuses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from assets.schemas import OPTIONAL_TABLES, REQUIRED_TABLES, SOURCE_TABLES
from assets.schemas.dictionary import BOOLEAN, INSTANT, INTEGER, TEXT, Column, Dataset
from assets.schemas.source import AGENT_HEARTBEATS, SYSTEM_STATES
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.errors import FleetDatabaseMisconfigured
from pipelines.fleet.rules import CHOSEN_BY, is_dispensable, is_optional

SCHEMA = "public"
Generation = Literal["newer", "older"]

_DEPLOYED_PATH = (SYSTEM_STATES.name, "deployed_path")
# What the fleet's generations call it; the newer name first, in case a migration kept both.
_DEPLOYED_PATH_NAMES: dict[str, Generation] = {"store_path": "newer", "derivation_path": "older"}
# Ordinary table, partitioned table, view: what LOCK TABLE takes.
_LOCKABLE_KINDS = {"r", "p", "v"}

# Types of the source that our types hold by a cast that no value can make fail.
_BASE_TYPES = {INTEGER: {"int2", "int4", "int8"}, BOOLEAN: {"bool"}, INSTANT: {"timestamptz"}}
_STRINGS_AND_ENUMS = {"S", "E"}
_TYPES_IN_WORDS = {
    TEXT: "text or uuid",
    INTEGER: "an integer",
    BOOLEAN: "boolean",
    INSTANT: "timestamp with time zone",
}


@dataclass(frozen=True)
class FleetShape:
    """What there is to read, and how.

    Attributes:
        generation: "newer" where states report a `store_path`, "older" where a `derivation_path`.
        server_version: as PostgreSQL counts, 180004 for 18.4.
        encoding: of the database, as PostgreSQL names it.
        tables: the tables to read: the required ones, and the optional ones that can be read.
        source_columns: by table, what the source calls each of our columns; None where it has none.
        unique_keys: by table, the sets of the source's columns that a unique index guards.
        notes: why an optional table or column that exists is not read.
    """

    generation: Generation
    server_version: int
    encoding: str
    tables: tuple[Dataset, ...]
    source_columns: Mapping[str, Mapping[str, str | None]]
    unique_keys: Mapping[str, frozenset[frozenset[str]]]
    notes: tuple[str, ...]

    @property
    def optional_tables(self) -> tuple[str, ...]:
        """Names of the optional tables among those to read."""
        return tuple(table.name for table in self.tables if table in OPTIONAL_TABLES)


@dataclass(frozen=True)
class _SourceColumn:
    type_name: str
    base_type: str
    category: str

    def holds(self, column: Column) -> bool:
        if column.type == TEXT:
            return self.category in _STRINGS_AND_ENUMS or self.base_type == "uuid"
        return self.base_type in _BASE_TYPES[column.type]


@dataclass(frozen=True)
class _SourceTable:
    kind: str
    is_readable: bool
    is_partly_readable: bool
    is_filtered: bool
    columns: dict[str, _SourceColumn] = field(default_factory=dict)
    unique_keys: set[frozenset[str]] = field(default_factory=set)

    def name_of(self, dataset: Dataset, column: Column) -> str | None:
        """What this table calls a column of ours; None if it has none."""
        is_deployed_path = (dataset.name, column.name) == _DEPLOYED_PATH
        names = tuple(_DEPLOYED_PATH_NAMES) if is_deployed_path else (column.name,)
        return next((name for name in names if name in self.columns), None)

    def readable_name_of(self, dataset: Dataset, column: Column) -> str | None:
        """The same, but None too for what counts as missing, being of a type that is no use."""
        name = self.name_of(dataset, column)
        if name is None or self.columns[name].holds(column):
            return name
        return None if _may_count_as_missing(dataset, column) else name


@dataclass(frozen=True)
class _Fault:
    what: str
    remedy: str | None = None


def inspect_fleet(connection: FleetConnection) -> FleetShape:
    """Looks at the tables, their columns and our privileges, within the caller's transaction.

    An optional table that lacks a column or a privilege is noted and not read, and so is an
    optional column of an unusable type: a migration that adds such a thing must not stop the
    reports of those who have done without it.

    Raises:
        FleetDatabaseMisconfigured: something required is missing, of a wrong type or not readable;
            the message lists everything at once, with the GRANTs to run.
        FleetDatabaseUnavailable: the connection failed.
    """
    [session] = connection.query(_SESSION)
    role = str(session["role"])
    found = _source_tables(connection)
    _note_unique_keys(connection, found)
    faults = list(_schema_faults(session["may_use_schema"], role))
    notes: list[str] = []
    tables: list[Dataset] = []
    for dataset in SOURCE_TABLES:
        table_faults = list(_table_faults(dataset, found.get(dataset.name), role))
        if dataset == AGENT_HEARTBEATS and dataset.name in found:
            table_faults += _look_up_faults(connection)
        if not table_faults:
            tables.append(dataset)
            notes += _notes_on_columns(dataset, found[dataset.name])
        elif dataset in REQUIRED_TABLES:
            faults += table_faults
        elif dataset.name in found:
            reasons = "; ".join(fault.what for fault in table_faults)
            remedies = [fault.remedy for fault in table_faults if fault.remedy]
            note = f"The optional table {SCHEMA}.{dataset.name} is not read: {reasons}."
            notes.append(" ".join([note, *(["To read it:", *remedies] if remedies else [])]))
    if faults:
        raise FleetDatabaseMisconfigured(_report(faults, connection.address.name))
    return FleetShape(
        generation=_generation(found[SYSTEM_STATES.name]),
        server_version=int(str(session["server_version"])),
        encoding=str(session["encoding"]),
        tables=tuple(tables),
        source_columns={
            dataset.name: {
                column.name: found[dataset.name].readable_name_of(dataset, column)
                for column in dataset.columns
            }
            for dataset in tables
        },
        unique_keys={name: frozenset(table.unique_keys) for name, table in found.items()},
        notes=tuple(notes),
    )


def _schema_faults(may_use_schema: object, role: str) -> Iterator[_Fault]:
    if may_use_schema is None:
        yield _Fault(f"there is no schema {SCHEMA}")
    elif not may_use_schema:
        yield _Fault(
            f"role {role} lacks USAGE on schema {SCHEMA}",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role};",
        )


def _table_faults(dataset: Dataset, table: _SourceTable | None, role: str) -> Iterator[_Fault]:
    name = f"{SCHEMA}.{dataset.name}"
    if table is None:
        yield _Fault(f"{name} is missing")
        return
    if table.kind not in _LOCKABLE_KINDS:
        yield _Fault(f"{name} is neither a table nor a view")
    chosen_by = [CHOSEN_BY[dataset.name]] if dataset.name in CHOSEN_BY else []
    for column in (*dataset.columns, *chosen_by):
        source_name = table.name_of(dataset, column)
        if source_name is None:
            if (dataset.name, column.name) == _DEPLOYED_PATH:
                yield _Fault(f"{name}.store_path (derivation_path in older versions) is missing")
            elif not is_optional(dataset.name, column.name):
                yield _Fault(f"{name}.{column.name} is missing")
        elif not _may_count_as_missing(dataset, column):
            for problem in _type_problems(dataset, table, column):
                yield _Fault(problem)
    if not table.is_readable:
        # LOCK TABLE, which keeps the tables from changing shape under us, asks for no less.
        why = " (SELECT on single columns does not allow LOCK TABLE)"
        yield _Fault(
            f"role {role} lacks SELECT on {name}{why if table.is_partly_readable else ''}",
            f"GRANT SELECT ON {name} TO {role};",
        )
    elif table.is_filtered:
        yield _Fault(
            f"row-level security hides rows of {name} from role {role}",
            f"ALTER ROLE {role} BYPASSRLS;",
        )


def _may_count_as_missing(dataset: Dataset, column: Column) -> bool:
    names = dataset.name, column.name
    return is_optional(*names) and is_dispensable(*names)


def _type_problems(dataset: Dataset, table: _SourceTable, column: Column) -> Iterator[str]:
    name = table.name_of(dataset, column)
    if name is not None and not (source := table.columns[name]).holds(column):
        yield (
            f"{SCHEMA}.{dataset.name}.{name} is {source.type_name}, "
            f"but must be {_TYPES_IN_WORDS[column.type]}"
        )


def _notes_on_columns(dataset: Dataset, table: _SourceTable) -> Iterator[str]:
    for column in dataset.columns:
        for problem in _type_problems(dataset, table, column):
            name = f"{SCHEMA}.{dataset.name}.{column.name}"
            yield f"The optional column {name} is not read: {problem}."


def _look_up_faults(connection: FleetConnection) -> Iterator[_Fault]:
    """Says which index is missing; without it each look-up would read the whole table."""
    [answer] = connection.query(_HAS_LOOK_UP_INDEX)
    if not answer["is_there"]:
        name = f"{SCHEMA}.{AGENT_HEARTBEATS.name}"
        yield _Fault(
            f"it is large, and has no index on {name} (system_state_id, timestamp) to look "
            "heartbeats up by",
            f'CREATE INDEX CONCURRENTLY ON {name} (system_state_id, "timestamp" DESC);',
        )


def _report(faults: list[_Fault], server: str) -> str:
    remedies = dict.fromkeys(fault.remedy for fault in faults if fault.remedy)
    lines = [f"The fleet database can't be read as it is ({server}):"]
    lines += [f"  - {fault.what}" for fault in faults]
    if remedies:
        lines += ["To be run by the owner of the tables:", *(f"  {remedy}" for remedy in remedies)]
    if any(not fault.remedy for fault in faults):
        lines.append("Is this the right database, of a version of Crystal Forge that we know?")
    return "\n".join(lines)


def _generation(system_states: _SourceTable) -> Generation:
    return next(
        generation
        for name, generation in _DEPLOYED_PATH_NAMES.items()
        if name in system_states.columns
    )


def _source_tables(connection: FleetConnection) -> dict[str, _SourceTable]:
    found: dict[str, _SourceTable] = {}
    for row in connection.query(_COLUMNS):
        table = found.setdefault(
            str(row["table_name"]),
            _SourceTable(
                kind=str(row["kind"]),
                is_readable=bool(row["is_readable"]),
                is_partly_readable=bool(row["is_partly_readable"]),
                is_filtered=bool(row["is_filtered"]),
            ),
        )
        if row["column_name"] is not None:
            name = str(row["column_name"])
            table.columns[name] = _SourceColumn(
                *(str(row[fact]) for fact in ("type_name", "base_type", "category"))
            )
    return found


def _note_unique_keys(connection: FleetConnection, found: Mapping[str, _SourceTable]) -> None:
    columns: dict[tuple[str, str], set[str]] = {}
    for row in connection.query(_UNIQUE_INDEXES):
        index = str(row["table_name"]), str(row["index_oid"])
        columns.setdefault(index, set()).add(str(row["column_name"]))
    for (table, _), names in columns.items():
        found[table].unique_keys.add(frozenset(names))


# Only columns of types that every client understands, hence the casts.
_SESSION = f"""
SELECT quote_ident(current_user) AS role,
       current_setting('server_version_num') AS server_version,
       getdatabaseencoding()::text AS encoding,
       has_schema_privilege(
           (SELECT oid FROM pg_namespace WHERE nspname = '{SCHEMA}'), 'USAGE'
       ) AS may_use_schema
"""  # noqa: S608 -- the schema's name is a constant

_TABLE_NAMES = ", ".join(f"'{table.name}'" for table in SOURCE_TABLES)

_COLUMNS = f"""
SELECT c.relname::text AS table_name,
       c.relkind::text AS kind,
       has_table_privilege(c.oid, 'SELECT') AS is_readable,
       has_any_column_privilege(c.oid, 'SELECT') AS is_partly_readable,
       row_security_active(c.oid) AS is_filtered,
       a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS type_name,
       coalesce(base.typname, t.typname)::text AS base_type,
       t.typcategory::text AS category
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = '{SCHEMA}'
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type base ON base.oid = nullif(t.typbasetype, 0)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND c.relname IN ({_TABLE_NAMES})
ORDER BY c.relname, a.attnum
"""  # noqa: S608 -- the names are the dictionary's

# A deferrable unique constraint counts as one: what is committed obeys it. An index of a table with
# children does not: it knows nothing of their rows. Nor does one on an expression.
_UNIQUE_INDEXES = f"""
SELECT c.relname::text AS table_name, i.indexrelid::text AS index_oid,
       a.attname::text AS column_name
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = '{SCHEMA}'
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS key (attnum, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = key.attnum
WHERE c.relname IN ({_TABLE_NAMES})
  AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT (c.relkind = 'r' AND c.relhassubclass)
  AND key.place <= i.indnkeyatts
"""  # noqa: S608 -- the names are the dictionary's

# Of a table and all that it is made of, each part that holds rows needs the index.
_HAS_LOOK_UP_INDEX = f"""
WITH RECURSIVE part AS (
    SELECT c.oid, c.relkind
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = '{SCHEMA}'
    WHERE c.relname = '{AGENT_HEARTBEATS.name}' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION
    SELECT c.oid, c.relkind
    FROM part
    JOIN pg_inherits h ON h.inhparent = part.oid
    JOIN pg_class c ON c.oid = h.inhrelid
)
SELECT coalesce(bool_and(
    relkind = 'p' OR EXISTS (
        SELECT FROM pg_index i
        JOIN pg_class index ON index.oid = i.indexrelid
        JOIN pg_am am ON am.oid = index.relam AND am.amname = 'btree'
        JOIN pg_attribute first ON first.attrelid = part.oid AND first.attnum = i.indkey[0]
        JOIN pg_attribute second ON second.attrelid = part.oid AND second.attnum = i.indkey[1]
        WHERE i.indrelid = part.oid AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts >= 2
          AND first.attname = 'system_state_id' AND second.attname = 'timestamp'
    )
), false) AS is_there
FROM part
"""  # noqa: S608 -- the names are the dictionary's
