"""The history database: every deployment since we look, and the current status of every system.

Belongs here: what the assets call, and the check of the rows that they hand over. Does not belong
here: what the rows say, which tables there are (`history_schema`) and how rows are replaced
(`history_replacement`).
"""

import datetime as dt
from collections.abc import Collection

import psycopg
import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.display import display_sentence
from assets.publishing.interfaces import LoadOutcome
from assets.schemas.dictionary import Dataset
from pipelines.history import migration
from pipelines.history.connection import HistoryDataError, transaction
from pipelines.history.replacement import (
    CURRENT,
    Load,
    Replacement,
    end_of_day,
)
from pipelines.history.schema import HISTORY, SCHEMA, HistorySchema, HistoryTable


class HistoryDatabase:
    """Schema `flakelag` of one PostgreSQL database; each call is one transaction of its own.

    Every call may raise a kind of `HistoryDatabaseError`; no exception shows the URL's password.
    """

    def __init__(
        self,
        url: SecretStr,
        schema: HistorySchema = HISTORY,
        *,
        patience: dt.timedelta = dt.timedelta(seconds=60),
    ) -> None:
        """Connects to nothing yet.

        Args:
            url: libpq URI of a database that the role owns or has CREATE on.
            schema: what is kept there.
            patience: how long any one statement may take.
        """
        self._url = url
        self._schema = schema
        self._patience = patience

    def migrate(self, *, set_database_search_path: bool = False) -> list[str]:
        """Creates the schema, tables and views, or adds what they lack; quick if that is nothing.

        Args:
            set_database_search_path: also lets later sessions of this database name our tables
                without the schema. For a database that is ours alone; only its owner may.

        Returns:
            The statements that it ran, none when there was nothing to do.

        Raises:
            HistoryAccessError: the role lacks a privilege; names the GRANT.
            HistorySchemaError: a table is not what this version can write to; names the column.
        """
        doing = f"setting up schema {SCHEMA}"
        with transaction(self._url, doing, self._patience) as connection:
            return migration.migrate(
                connection, self._schema, set_database_search_path=set_database_search_path
            )

    def rehearse(self) -> list[str]:
        """Migrates and takes it back: what it raises and returns is what `migrate` would."""
        doing = f"trying to set up schema {SCHEMA}"
        with transaction(self._url, doing, self._patience) as connection:
            statements = migration.migrate(connection, self._schema, set_database_search_path=False)
            connection.rollback()
        return statements

    def replace_days(
        self,
        dataset: Dataset,
        dates: Collection[dt.date],
        rows: pa.Table,
        *,
        extracted_at: dt.datetime,
    ) -> dict[dt.date, LoadOutcome]:
        """Makes the rows of whole days (UTC) those handed over, all days in one transaction.

        A day is left as it is where it was loaded from a newer extract, or where it was closed
        with more than the rows handed over have, as `find_loss` defines it: the source may
        forget, the history does not. To let a day be replaced whatever the new rows
        are, delete its row from `flakelag.loads` first.

        Args:
            dataset: one that is kept by days.
            dates: the days; one without rows becomes empty.
            rows: of these days only, with the dataset's schema.
            extracted_at: when the source tables were read, with its time zone.

        Raises:
            HistoryDataError: the rows don't fit the dataset or the days, or two share a key.
        """
        table = self._schema.table(dataset)
        if table.time_column is None:
            raise ValueError(f"{dataset.name} holds current rows; use replace_current")
        _require_fit(dataset, rows)
        counts = _rows_by_day(table, table.time_column, rows, dates)
        loads = [
            Load(date.isoformat(), min(end_of_day(date), extracted_at), extracted_at, count)
            for date, count in counts.items()
        ]
        outcomes = self._replace(table, rows, loads)
        return {dt.date.fromisoformat(key): outcome for key, outcome in outcomes.items()}

    def replace_current(
        self,
        dataset: Dataset,
        rows: pa.Table,
        *,
        snapshot_at: dt.datetime,
        extracted_at: dt.datetime,
    ) -> LoadOutcome:
        """Makes the table's rows those handed over, unless it holds those of a later instant.

        Args:
            dataset: one of which the current rows are kept.
            rows: all of them, with the dataset's schema.
            snapshot_at: the instant that they describe. Of two extracts for the same instant, the
                later one counts.
            extracted_at: when the source tables were read.

        Raises:
            HistoryDataError: the rows don't fit the dataset, or two share a key.
        """
        table = self._schema.table(dataset)
        if table.time_column is not None:
            raise ValueError(f"{dataset.name} is divided into days; use replace_days")
        _require_fit(dataset, rows)
        load = Load(CURRENT, snapshot_at, extracted_at, rows.num_rows)
        return self._replace(table, rows, [load])[CURRENT]

    def _replace(
        self, table: HistoryTable, rows: pa.Table, loads: list[Load]
    ) -> dict[str, LoadOutcome]:
        doing = f"replacing rows of {table.dataset.name}"
        with transaction(self._url, doing, self._patience) as connection:
            try:
                return Replacement(connection, table, loads).run(rows)
            except psycopg.errors.UniqueViolation as error:
                raise HistoryDataError(
                    f"Two rows for {SCHEMA}.{table.dataset.name} have the same key: "
                    f"{display_sentence(error.diag.message_detail or '')} Nothing was written."
                ) from None


def _require_fit(dataset: Dataset, rows: pa.Table) -> None:
    if not rows.schema.equals(dataset.arrow_schema):
        raise HistoryDataError(
            f"The rows for {SCHEMA}.{dataset.name} do not have its columns and types. "
            f"Expected:\n{dataset.arrow_schema.remove_metadata()}\nGot:\n"
            f"{rows.schema.remove_metadata()}"
        )
    for column in dataset.columns:
        if not column.nullable and rows[column.name].null_count:
            raise HistoryDataError(
                f"{SCHEMA}.{dataset.name}.{column.name} must not be null, but is in "
                f"{rows[column.name].null_count} rows. Nothing was written."
            )


def _rows_by_day(
    table: HistoryTable, time_column: str, rows: pa.Table, dates: Collection[dt.date]
) -> dict[dt.date, int]:
    """How many rows each day has.

    Raises:
        HistoryDataError: a row is of none of the days.
    """
    found = rows[time_column].cast(pa.date32()).value_counts().to_pylist()
    counts = dict.fromkeys(sorted(dates), 0) | {day["values"]: day["counts"] for day in found}
    stray = counts.keys() - set(dates)
    if stray:
        raise HistoryDataError(
            f"{SCHEMA}.{table.dataset.name}.{time_column} has rows of {min(stray)}, which "
            "is none of the days to replace. Nothing was written."
        )
    return counts
