"""Rows for the history database and what the tests read back of them."""

import datetime as dt
from collections.abc import Iterable, Mapping

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from assets.publishing.interfaces import LoadOutcome
from assets.schemas import DEPLOYMENT_HISTORY, SYSTEM_DEPLOYMENT_STATUS, Dataset
from assets.schemas.dictionary import BOOLEAN, DATE, INSTANT, INTEGER, NUMBER, TEXT
from pipelines.history.database import HistoryDatabase

DAY = dt.date(2026, 11, 20)
# The next morning: the day is over.
MORNING_AFTER = dt.datetime(2026, 11, 21, 6, tzinfo=dt.UTC)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)

_SOME_VALUE = {
    TEXT: "text",
    INTEGER: 1,
    NUMBER: 0.5,
    BOOLEAN: True,
    DATE: DAY,
    INSTANT: NOON,
}

Row = Mapping[str, object]


def rows_of(dataset: Dataset, rows: Iterable[Row]) -> pa.Table:
    """A table with the dataset's schema: what a row leaves out is null, or some value."""
    some = {
        column.name: None if column.nullable else _SOME_VALUE[column.type]
        for column in dataset.columns
    }
    return pa.Table.from_pylist([{**some, **row} for row in rows], schema=dataset.arrow_schema)


def events(*rows: Row) -> pa.Table:
    return rows_of(DEPLOYMENT_HISTORY, rows)


def event(
    hostname: str, hour: float, state_id: int, date: dt.date = DAY, **values: object
) -> dict[str, object]:
    """A deployment at an hour of a day."""
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    return {
        "deployed_at": midnight + hour * HOUR,
        "hostname": hostname,
        "system_state_id": state_id,
        **values,
    }


def statuses(*rows: Row) -> pa.Table:
    return rows_of(SYSTEM_DEPLOYMENT_STATUS, rows)


def replace_day(
    history: HistoryDatabase,
    dataset: Dataset,
    date: dt.date,
    rows: pa.Table,
    *,
    extracted_at: dt.datetime,
) -> LoadOutcome:
    """Replaces one day alone."""
    return history.replace_days(dataset, [date], rows, extracted_at=extracted_at)[date]


def stored(url: str, dataset: Dataset) -> pa.Table:
    """All rows of a table of the history database, ordered by its columns from the first on."""
    names = [sql.Identifier(name) for name in dataset.column_names]
    by_code_point = [
        sql.SQL('{} COLLATE "C"').format(name) if column.type == TEXT else name
        for name, column in zip(names, dataset.columns, strict=True)
    ]
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(names),
        sql.Identifier("flakelag", dataset.name),
        sql.SQL(", ").join(by_code_point),
    )
    with psycopg.connect(url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        rows = connection.execute(query).fetchall()
    return pa.Table.from_pylist(
        [dict(zip(dataset.column_names, row, strict=True)) for row in rows],
        schema=dataset.arrow_schema,
    )


def stored_keys(url: str) -> list[tuple[str, int]]:
    """Host and state of every stored deployment, in the order of the table's key."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT hostname, system_state_id FROM flakelag.deployment_history"
            " ORDER BY deployed_at, hostname, system_state_id"
        ).fetchall()


def database_name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def values(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()
