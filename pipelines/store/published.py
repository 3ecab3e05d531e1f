"""Reads the published files with pyarrow alone, without Dagster and pandas.

pyarrow itself imports pandas as soon as a Python value becomes an Arrow one (`pa.scalar`,
`pa.array`, `column == "x"`) or an Arrow instant becomes a `datetime`. So instants leave Arrow as
text, and rows are chosen either in Python or by functions that take their pattern as an option.
`pyarrow.compute` is left to who needs it: loading it takes as long as reading a snapshot.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing.layout import dataset_of, date_of, published_files
from assets.schemas import (
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    PUBLISHED_DATASETS,
    SYSTEM_DEPLOYMENT_STATUS,
)

STATUS_DATASET = SYSTEM_DEPLOYMENT_STATUS.name
FLAKE_DATASET = FLAKE_DEPLOYMENT_STATUS.name
DEPLOYMENTS_DATASET = DEPLOYMENTS.name


class UnreadableReportsError(Exception):
    """What is asked for is not published or not readable; the message says what to do."""


def partition_files(reports_dir: Path, dataset: str) -> list[Path]:
    """The files of a dataset, one a UTC day, oldest first.

    Raises:
        UnreadableReportsError: none is published.
    """
    files = published_files(reports_dir, dataset)
    if not files:
        raise UnreadableReportsError(
            f"No {dataset} is published in {reports_dir}. Run `make report`, or name the folder "
            "that holds the reports with --reports-dir or REPORTS_DIR."
        )
    return files


def day_of(file: Path) -> dt.date:
    """The day (UTC) of a published file.

    Raises:
        UnreadableReportsError: its folder is not named for a day.
    """
    try:
        return date_of(file)
    except ValueError:
        raise UnreadableReportsError(f"{file.parent} is not named for a day.") from None


def read_columns(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads columns of one published file, all by default, in the order that is asked for.

    Where a column may be null and the file lacks it, it is null: a version before published it.

    Raises:
        UnreadableReportsError: the file can't be read, or lacks another column.
    """
    dataset = next(each for each in PUBLISHED_DATASETS if each.name == dataset_of(file))
    wanted = dataset.column_names if columns is None else columns
    try:
        # Not read_table: that would add the folder's `date` as a column.
        with pq.ParquetFile(file) as parquet:
            table = parquet.read([name for name in wanted if name in parquet.schema_arrow.names])
        return dataset.with_later_columns(table).select(list(wanted))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UnreadableReportsError(f"{file} can't be read: {error}") from error


def latest_snapshot(reports_dir: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The newest published snapshot of `system_deployment_status`, in triage order.

    Raises:
        UnreadableReportsError: none is published, or it can't be read.
    """
    return read_columns(partition_files(reports_dir, STATUS_DATASET)[-1], columns)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table as JSON objects: instants and dates as ISO 8601 text, in UTC."""
    columns = [_json_values(column) for column in table.columns]
    names = table.column_names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json_values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        # Without a zone: Arrow would look UTC up in a time zone database, which may not be there.
        instants = column.cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
        return [None if at is None else f"{at.replace(' ', 'T')}Z" for at in instants]
    if pa.types.is_date(column.type):
        column = column.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values
