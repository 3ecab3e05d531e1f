"""What is kept in schema `flakelag` of the history database.

Belongs here: which datasets are kept and how, which views there are, and their words in SQL. The
tables are derived from the datasets of `assets.schemas`; the views stand in
`pipelines/sql/history_<view>.sql`. Does not belong here: connections, the migration, rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files

from psycopg import sql

from assets.schemas import DEPLOYMENT_HISTORY, DEPLOYMENT_VELOCITY, SYSTEM_DEPLOYMENT_STATUS
from assets.schemas.dictionary import Column, Dataset, count, instant, text

SCHEMA = "flakelag"


@dataclass(frozen=True)
class HistoryTable:
    """A dataset that is kept in the history database.

    Attributes:
        dataset: gives name, columns, comments and key.
        time_column: an instant or date of the dataset: each day (UTC) of it is replaced by itself.
            None: the table holds the current rows only and is replaced as a whole.
        indexes: further indexes, each by its columns.
    """

    dataset: Dataset
    time_column: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns that identify a row over all days."""
        key = self.dataset.key
        if self.time_column is None or self.time_column in key:
            return key
        return (self.time_column, *key)


@dataclass(frozen=True)
class HistoryView:
    """A view; its file describes it in the first comment and then selects.

    Attributes:
        name: of the view, and in `pipelines/sql/history_<name>.sql`.
        dataset: whose comments the columns of the same names carry.
    """

    name: str
    dataset: Dataset

    @property
    def description(self) -> str:
        """What the view is for: the comment at the top of its file."""
        return " ".join(line.removeprefix("--").strip() for line in self._lines()[0])

    @property
    def select(self) -> sql.SQL:
        """The SELECT that defines it."""
        return sql.SQL("\n".join(self._lines()[1]).rstrip().removesuffix(";"))

    def _lines(self) -> tuple[list[str], list[str]]:
        file = files("pipelines").joinpath("sql", f"history_{self.name}.sql")
        lines = file.read_text("utf-8").splitlines()
        body = next(at for at, line in enumerate(lines) if not line.startswith("--"))
        return lines[:body], lines[body:]


# Written in the same transaction as the rows that it speaks of.
LOADS = Dataset(
    name="loads",
    grain="one row a day of a table, or one a table that holds current rows only",
    description="What was last loaded into each table; decides which extract may replace it.",
    key=("dataset", "partition_key"),
    order_by="dataset, partition_key",
    columns=(
        text("dataset", "The table."),
        text("partition_key", "The day (UTC) as YYYY-MM-DD, or `current`."),
        instant("snapshot_at", "The instant that the rows describe."),
        instant("extracted_at", "When the source tables were read."),
        count("row_count", "rows", "How many rows the day, or the table, has."),
        instant("loaded_at", "When the rows were last replaced or found to be the same."),
    ),
)


@dataclass(frozen=True)
class HistorySchema:
    """All that is kept.

    Attributes:
        tables: in any order.
        views: each after the views that it reads.
    """

    tables: tuple[HistoryTable, ...]
    views: tuple[HistoryView, ...] = ()

    def table(self, dataset: Dataset) -> HistoryTable:
        """The table that keeps a dataset.

        Raises:
            KeyError: the dataset is not kept in the history database.
        """
        for table in self.tables:
            if table.dataset.name == dataset.name:
                return table
        raise KeyError(f"{dataset.name} is not kept in the history database")


_TIME = instant("time", "The beginning of the day (UTC).")


def _charted(column: Column) -> Column:
    """A column of deployment_velocity as the views for charts name it and measure it."""
    if column.name == "flake_name":
        return replace(column, description="Label of the flake: its newest name, made unique.")
    for unit, charted in (("seconds", "hours"), ("share", "percent")):
        if column.unit == unit:
            return replace(column, name=column.name.replace(unit, charted), unit=charted)
    return column


CHARTED = replace(
    DEPLOYMENT_VELOCITY,
    columns=(_TIME, *(_charted(column) for column in DEPLOYMENT_VELOCITY.columns)),
)

ROLLED_UP = replace(
    DEPLOYMENT_VELOCITY,
    columns=(
        _TIME,
        *(
            replace(column, description=f"Over all flakes: {column.description}")
            for column in DEPLOYMENT_VELOCITY.columns
        ),
    ),
)

# A further dataset is one line here; a further view is one line, and its file.
HISTORY = HistorySchema(
    tables=(
        HistoryTable(
            DEPLOYMENT_HISTORY,
            time_column="deployed_at",
            # Finds a host's next deployment.
            indexes=(("hostname", "deployed_at", "system_state_id"),),
        ),
        HistoryTable(SYSTEM_DEPLOYMENT_STATUS),
        HistoryTable(DEPLOYMENT_VELOCITY, time_column="snapshot_date"),
    ),
    views=(
        HistoryView("deployment_history_with_end", DEPLOYMENT_HISTORY),
        HistoryView("view_system_deployment_status", SYSTEM_DEPLOYMENT_STATUS),
        HistoryView("deployment_velocity_rollup", ROLLED_UP),
        HistoryView("grafana_flakes", CHARTED),
        HistoryView("grafana_status", CHARTED),
        HistoryView("grafana_lead_time", CHARTED),
        HistoryView("grafana_currency", CHARTED),
    ),
)


def qualified(name: str) -> sql.Identifier:
    """A table or view of ours, as SQL names it."""
    return sql.Identifier(SCHEMA, name)


def column_list(names: Iterable[str], of: str | None = None) -> sql.Composed:
    """Columns separated by commas, each qualified by the alias `of` if given."""
    qualifier = () if of is None else (of,)
    return sql.SQL(", ").join(sql.Identifier(*qualifier, name) for name in names)


def column_definition(column: Column, *, nullable: bool) -> sql.Composed:
    """A column as CREATE TABLE and ADD COLUMN take it."""
    return sql.SQL("{} {}{}").format(
        sql.Identifier(column.name),
        sql.SQL(column.sql_type),
        sql.SQL("" if nullable else " NOT NULL"),
    )


def table_comment(dataset: Dataset) -> str:
    """What psql and database browsers show of a table."""
    return f"{dataset.description} Grain: {dataset.grain}."


def column_comment(column: Column) -> str:
    """What psql and database browsers show of a column."""
    return column.description if column.unit is None else f"{column.description} ({column.unit})"
