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
from assets.schemas.source import (
    COMMITS,
    DERIVATION_STATUSES,
    DERIVATIONS,
    FLAKES,
    SYSTEM_STATES,
    SYSTEMS,
)
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.errors import FleetDatabaseMisconfigured

SCHEMA = "public"
Generation = Literal["newer", "older"]

_DEPLOYED_PATH = (SYSTEM_STATES.name, "deployed_path")
# What the fleet's generations call it; the newer name first, in case a migration kept both.
_DEPLOYED_PATH_NAMES: dict[str, Generation] = {"store_path": "newer", "derivation_path": "older"}
# Columns that some versions of the fleet's schema lack; they are read as null.
_LATER_COLUMNS = {
    *(
        (FLAKES.name, column)
        for column in (
            *("branch", "deleted_at", "sync_status", "last_sync_at", "last_sync_error"),
            "snapshot_ready_at",
        )
    ),
    *((COMMITS.name, column) for column in ("evaluation_status", "source_archived")),
    *((DERIVATIONS.name, column) for column in ("store_path", "expected_store_path")),
    *(
        (SYSTEMS.name, column)
        for column in ("system_configuration_name", "deployment_policy", "desired_target")
    ),
    (DERIVATION_STATUSES.name, "is_terminal"),
}
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
        unique_columns: by table, the source's columns that a unique index guards.
        notes: why an optional table that exists is not read.
    """

    generation: Generation
    server_version: int
    encoding: str
    tables: tuple[Dataset, ...]
    source_columns: Mapping[str, Mapping[str, str | None]]
    unique_columns: Mapping[str, frozenset[str]]
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
    unique_columns: set[str] = field(default_factory=set)

    def name_of(self, dataset: Dataset, column: Column) -> str | None:
        """What this table calls a column of ours; None if it has none."""
        is_deployed_path = (dataset.name, column.name) == _DEPLOYED_PATH
        names = tuple(_DEPLOYED_PATH_NAMES) if is_deployed_path else (column.name,)
        return next((name for name in names if name in self.columns), None)


@dataclass(frozen=True)
class _Fault:
    what: str
    remedy: str | None = None


def inspect_fleet(connection: FleetConnection) -> FleetShape:
    """Looks at the tables, their columns and our privileges, within the caller's transaction.

    An optional table that lacks a column or a privilege is noted and not read: a migration that
    adds such a table must not stop the reports of those who have done without it.

    Raises:
        FleetDatabaseMisconfigured: something required is missing, of a wrong type or not readable;
            the message lists everything at once, with the GRANTs to run.
        FleetDatabaseUnavailable: the connection failed.
    """
    [session] = connection.query(_SESSION)
    role = str(session["role"])
    found = _source_tables(connection)
    faults = list(_schema_faults(session["may_use_schema"], role))
    notes: list[str] = []
    tables: list[Dataset] = []
    for dataset in SOURCE_TABLES:
        table_faults = list(_table_faults(dataset, found.get(dataset.name), role))
        if not table_faults:
            tables.append(dataset)
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
                column.name: found[dataset.name].name_of(dataset, column)
                for column in dataset.columns
            }
            for dataset in tables
        },
        unique_columns={name: frozenset(table.unique_columns) for name, table in found.items()},
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
    for column in dataset.columns:
        source_name = table.name_of(dataset, column)
        if source_name is None:
            if (dataset.name, column.name) == _DEPLOYED_PATH:
                yield _Fault(f"{name}.store_path (derivation_path in older versions) is missing")
            elif (dataset.name, column.name) not in _LATER_COLUMNS:
                yield _Fault(f"{name}.{column.name} is missing")
        elif not (source := table.columns[source_name]).holds(column):
            expected = _TYPES_IN_WORDS[column.type]
            yield _Fault(f"{name}.{source_name} is {source.type_name}, but must be {expected}")
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
            if row["is_unique"]:
                table.unique_columns.add(name)
    return found


# Only columns of types that every client understands, hence the casts.
_SESSION = f"""
SELECT quote_ident(current_user) AS role,
       current_setting('server_version_num') AS server_version,
       getdatabaseencoding()::text AS encoding,
       has_schema_privilege(
           (SELECT oid FROM pg_namespace WHERE nspname = '{SCHEMA}'), 'USAGE'
       ) AS may_use_schema
"""  # noqa: S608 -- the schema's name is a constant

# A deferrable unique constraint counts as one: what is committed obeys it. An index of a table with
# children does not: it knows nothing of their rows.
_COLUMNS = f"""
SELECT c.relname::text AS table_name,
       c.relkind::text AS kind,
       has_table_privilege(c.oid, 'SELECT') AS is_readable,
       has_any_column_privilege(c.oid, 'SELECT') AS is_partly_readable,
       row_security_active(c.oid) AS is_filtered,
       a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS type_name,
       coalesce(base.typname, t.typname)::text AS base_type,
       t.typcategory::text AS category,
       NOT (c.relkind = 'r' AND c.relhassubclass) AND EXISTS (
           SELECT FROM pg_index i
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
             AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
       ) AS is_unique
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = '{SCHEMA}'
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type base ON base.oid = nullif(t.typbasetype, 0)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND c.relname IN ({", ".join(f"'{table.name}'" for table in SOURCE_TABLES)})
ORDER BY c.relname, a.attnum
"""  # noqa: S608 -- the names are the dictionary's
