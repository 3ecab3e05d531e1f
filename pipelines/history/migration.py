"""Brings schema `flakelag` of the history database up to date.

Belongs here: comparing what the catalog says with what `history_schema` says, and running the
difference. Does not belong here: what the tables are, and their rows.

The migration is declarative, so it needs no record of versions and makes again what somebody
dropped. It only ever adds: no column and no row is lost to it. Alembic was considered: its numbered
scripts would state every column a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from assets.publishing.display import display_sentence
from assets.schemas.dictionary import Column, Dataset
from pipelines.history.connection import HistoryAccessError, HistorySchemaError
from pipelines.history.schema import (
    LOADS,
    SCHEMA,
    HistorySchema,
    HistoryTable,
    HistoryView,
    column_comment,
    column_definition,
    column_list,
    qualified,
    table_comment,
)

# Any number does: two migrations of one database must only agree on it.
_ADVISORY_LOCK = 0x666C616B65
_SEARCH_PATH = f"{SCHEMA}, public"


def migrate(
    connection: psycopg.Connection, schema: HistorySchema, *, set_database_search_path: bool
) -> list[str]:
    """Migrates within the connection's transaction, after any other migration has ended.

    Args:
        connection: in a transaction that the caller commits.
        schema: what is to be there.
        set_database_search_path: also lets later sessions of this database name our tables without
            the schema. For a database that is ours alone; only its owner may.

    Returns:
        The statements that it ran; none when there was nothing to do.

    Raises:
        HistoryAccessError: the role lacks a privilege; names the GRANT.
        HistorySchemaError: a table is not what this version can write to; names the column.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
    migration = _Migration(connection)
    migration.ensure_schema()
    for table in (HistoryTable(LOADS), *schema.tables):
        migration.ensure_table(table)
    migration.ensure_views(schema.views)
    if set_database_search_path:
        migration.ensure_search_path()
    return migration.executed


@dataclass(frozen=True)
class _Facts:
    database: str
    role: str
    encoding: str
    may_create: bool
    may_stage: bool
    has_schema: bool
    may_use_schema: bool | None


@dataclass(frozen=True)
class _Relation:
    oid: int
    kind: str
    comment: str | None


@dataclass(frozen=True)
class _StoredColumn:
    name: str
    type: str
    required: bool
    has_default: bool
    comment: str | None


class _Migration:
    """One run: looks, runs what differs, and keeps what it ran."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.executed: list[str] = []

    def ensure_schema(self) -> None:
        """Names every missing privilege at once, where PostgreSQL names the first and no remedy."""
        with self.connection.cursor(row_factory=class_row(_Facts)) as cursor:
            (facts,) = cursor.execute(_PREFLIGHT, [SCHEMA])
        role = sql.Identifier(facts.role).as_string(self.connection)
        database = sql.Identifier(facts.database).as_string(self.connection)
        if facts.encoding != "UTF8":
            raise HistorySchemaError(
                f"The history database {database} is encoded in {facts.encoding}, which can't hold "
                "every hostname and flake name. Make one with "
                "createdb --encoding=UTF8 --template=template0."
            )
        grants = []
        if not facts.may_stage:
            grants.append(f"GRANT TEMPORARY ON DATABASE {database} TO {role};")
        if not facts.has_schema and not facts.may_create:
            grants.append(f"GRANT CREATE ON DATABASE {database} TO {role};")
        if facts.has_schema and not facts.may_use_schema:
            grants.append(f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};")
        if grants:
            raise HistoryAccessError(
                f"Role {role} can't set up schema {SCHEMA} in database {database}. As the owner of "
                f"the database, run: {' '.join(grants)}"
            )
        if not facts.has_schema:
            self._run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))

    def ensure_table(self, table: HistoryTable) -> None:
        """Creates the table, or adds what it lacks."""
        name = table.dataset.name
        relation = self._relation(name)
        if relation is None:
            definitions = [
                column_definition(column, nullable=column.nullable)
                for column in table.dataset.columns
            ]
            self._run(
                sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
                    qualified(name),
                    sql.SQL(", ").join(definitions),
                    column_list(table.primary_key),
                )
            )
        elif relation.kind not in {"r", "p"}:
            raise HistorySchemaError(
                f"{SCHEMA}.{name} is there but is no table. Rename it; flakelag then makes its own."
            )
        else:
            self._ensure_columns(table, relation)
            self._ensure_primary_key(table, relation)
        for columns in table.indexes:
            index = f"{name}_by_{columns[0]}"
            if self._relation(index) is None:
                self._run(
                    sql.SQL("CREATE INDEX {} ON {} ({})").format(
                        sql.Identifier(index), qualified(name), column_list(columns)
                    )
                )
        self._ensure_comments(sql.SQL("TABLE"), name, table_comment(table.dataset), table.dataset)

    def ensure_views(self, views: Sequence[HistoryView]) -> None:
        """Defines the views that are missing or differ; leaves the others to their readers."""
        for view in views:
            if self._is_current(view):
                continue
            try:
                with self.connection.transaction():
                    self._run(_view_definition(view, replace=True))
            except psycopg.errors.InvalidTableDefinition:
                # A view is replaced in place only where its columns stay and new ones follow.
                self._define_anew(views)
                break
        for view in views:
            self._ensure_comments(sql.SQL("VIEW"), view.name, view.description, view.dataset)

    def ensure_search_path(self) -> None:
        """Sets the database's own search path, unless it is set."""
        settings = self.connection.execute(
            "SELECT setconfig FROM pg_catalog.pg_db_role_setting JOIN pg_catalog.pg_database "
            "ON pg_database.oid = setdatabase WHERE setrole = 0 AND datname = current_database()"
        ).fetchone()
        if settings is None or f"search_path={_SEARCH_PATH}" not in settings[0]:
            self._run(
                sql.SQL("ALTER DATABASE {} SET search_path = {}").format(
                    sql.Identifier(self.connection.info.dbname), sql.SQL(_SEARCH_PATH)
                )
            )

    def _ensure_columns(self, table: HistoryTable, relation: _Relation) -> None:
        name = table.dataset.name
        found = self._columns(relation)
        for column in table.dataset.columns:
            stored = found.pop(column.name, None)
            if stored is None:
                self._add_column(name, column)
            elif stored.type != column.sql_type:
                raise HistorySchemaError(
                    f"{SCHEMA}.{name}.{column.name} is of type {stored.type}, flakelag needs "
                    f"{column.sql_type}. Drop the views over it (flakelag makes its own again) and "
                    f"run ALTER TABLE {SCHEMA}.{name} ALTER COLUMN {column.name} TYPE "
                    f"{column.sql_type}; or rename the table and fill a new one with a backfill."
                )
            elif stored.required and column.nullable:
                self._run(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                        qualified(name), sql.Identifier(column.name)
                    )
                )
        for stored in found.values():
            if stored.required and not stored.has_default:
                raise HistorySchemaError(
                    f"{SCHEMA}.{name}.{stored.name} is NOT NULL but unknown to this version of "
                    "flakelag, so that no row can be added. Run the version that added it, or run "
                    f"ALTER TABLE {SCHEMA}.{name} ALTER COLUMN {stored.name} DROP NOT NULL;"
                )

    def _add_column(self, name: str, column: Column) -> None:
        # Rows that are there have no value for it, and the past can't always be computed again: so
        # a table with rows admits null in the new column, whatever the dataset says.
        self.connection.execute(
            sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(qualified(name))
        )
        has_rows = self._found(sql.SQL("SELECT FROM {} LIMIT 1").format(qualified(name)))
        self._run(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
                qualified(name), column_definition(column, nullable=column.nullable or has_rows)
            )
        )

    def _ensure_primary_key(self, table: HistoryTable, relation: _Relation) -> None:
        name = table.dataset.name
        wanted = table.primary_key
        stored = tuple(row[0] for row in self.connection.execute(_PRIMARY_KEY, [relation.oid]))
        if not stored:
            self._run(
                sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(
                    qualified(name), column_list(wanted)
                )
            )
        elif stored != wanted:
            raise HistorySchemaError(
                f"{SCHEMA}.{name} has the primary key ({', '.join(stored)}), flakelag needs "
                f"({', '.join(wanted)}). Rename the table and fill a new one with a backfill."
            )

    def _is_current(self, view: HistoryView) -> bool:
        """Compares as PostgreSQL prints them; replacing in any case would wait for every reader."""
        relation = self._relation(view.name)
        if relation is None:
            return False
        if relation.kind != "v":
            raise HistorySchemaError(
                f"{SCHEMA}.{view.name} is there but is no view. Rename it; flakelag then makes its "
                "own."
            )
        self.connection.execute(sql.SQL("CREATE TEMP VIEW wanted_view AS ") + view.select)
        same = self._found(
            "SELECT WHERE pg_get_viewdef('pg_temp.wanted_view'::regclass) = pg_get_viewdef(%s)",
            relation.oid,
        )
        self.connection.execute("DROP VIEW pg_temp.wanted_view")
        return same

    def _define_anew(self, views: Sequence[HistoryView]) -> None:
        present = [qualified(view.name) for view in views if self._relation(view.name)]
        try:
            self._run(sql.SQL("DROP VIEW {}").format(sql.SQL(", ").join(present)))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise HistorySchemaError(
                f"The views of schema {SCHEMA} must be made anew, but something is built on them: "
                f"{display_sentence(error.diag.message_detail or '')}. Drop that, run again, then "
                "make it again."
            ) from None
        for view in views:
            self._run(_view_definition(view, replace=False))

    def _ensure_comments(self, kind: sql.SQL, name: str, comment: str, dataset: Dataset) -> None:
        relation = self._relation(name)
        if relation is None:
            return
        if relation.comment != comment:
            self._run(
                sql.SQL("COMMENT ON {} {} IS {}").format(
                    kind, qualified(name), sql.Literal(comment)
                )
            )
        found = self._columns(relation)
        for column in dataset.columns:
            wanted = column_comment(column)
            if column.name in found and found[column.name].comment != wanted:
                self._run(
                    sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                        sql.Identifier(SCHEMA, name, column.name), sql.Literal(wanted)
                    )
                )

    def _relation(self, name: str) -> _Relation | None:
        with self.connection.cursor(row_factory=class_row(_Relation)) as cursor:
            return cursor.execute(_RELATION, [SCHEMA, name]).fetchone()

    def _columns(self, relation: _Relation) -> dict[str, _StoredColumn]:
        with self.connection.cursor(row_factory=class_row(_StoredColumn)) as cursor:
            return {column.name: column for column in cursor.execute(_COLUMNS, [relation.oid])}

    def _found(self, query: sql.Composed | str, *parameters: object) -> bool:
        return self.connection.execute(query, parameters).fetchone() is not None

    def _run(self, statement: sql.Composed) -> None:
        self.connection.execute(statement)
        self.executed.append(statement.as_string(self.connection))


def _view_definition(view: HistoryView, *, replace: bool) -> sql.Composed:
    return (
        sql.SQL("CREATE OR REPLACE VIEW {} AS " if replace else "CREATE VIEW {} AS ").format(
            qualified(view.name)
        )
        + view.select
    )


_PREFLIGHT = """
    SELECT current_database() AS database, current_user AS role,
           current_setting('server_encoding') AS encoding,
           has_database_privilege(current_database(), 'CREATE') AS may_create,
           has_database_privilege(current_database(), 'TEMPORARY') AS may_stage,
           namespace.oid IS NOT NULL AS has_schema,
           has_schema_privilege(namespace.oid, 'USAGE')
               AND has_schema_privilege(namespace.oid, 'CREATE') AS may_use_schema
    FROM (SELECT) AS always
    LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = %s
"""

_RELATION = """
    SELECT pg_class.oid, relkind::text AS kind, obj_description(pg_class.oid, 'pg_class') AS comment
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %s AND relname = %s
"""

_COLUMNS = """
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
           atthasdef OR attidentity <> '' OR attgenerated <> '' AS has_default,
           col_description(attrelid, attnum) AS comment
    FROM pg_catalog.pg_attribute
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""

_PRIMARY_KEY = """
    SELECT attname
    FROM pg_catalog.pg_constraint
    CROSS JOIN unnest(conkey) WITH ORDINALITY AS part (attnum, position)
    JOIN pg_catalog.pg_attribute ON attrelid = conrelid AND pg_attribute.attnum = part.attnum
    WHERE conrelid = %s AND contype = 'p'
    ORDER BY position
"""
