"""How a table of a dataset is laid out as a Parquet file, and how such a file is read.

Belongs here: encoding, footers. Does not belong here: which file, and whether it may be replaced.
"""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing.conformity import UnpublishableDataError, find_problems
from assets.schemas import Dataset
from pipelines.store.atomic_files import explaining

_SNAPSHOT_AT = b"snapshot_at"
_EXTRACTED_AT = b"extracted_at"

MOST_PADDING = 4096
ROWS_PER_GROUP = 131_072
# Whatever the length of a text: a group of ordinary rows has a tenth of this.
BYTES_PER_GROUP = 64 * 2**20


class UnreadableFileError(Exception):
    """A file is no Parquet file, or none of ours; the message says which and why."""


@dataclass(frozen=True)
class Footer:
    """What a published file says of itself.

    Attributes:
        snapshot_at: the instant T that its rows describe.
        extracted_at: when the source tables were read.
        rows: how many there are.
        bytes: size of the file.
    """

    snapshot_at: dt.datetime
    extracted_at: dt.datetime
    rows: int
    bytes: int


def stamp(
    dataset: Dataset, table: pa.Table, snapshot_at: dt.datetime, extracted_at: dt.datetime
) -> pa.Table:
    """The table as it stands in a file: the dataset's schema, and the two instants with it."""
    schema = dataset.arrow_schema
    instants = {
        _SNAPSHOT_AT: snapshot_at.astimezone(dt.UTC).isoformat().encode(),
        _EXTRACTED_AT: extracted_at.astimezone(dt.UTC).isoformat().encode(),
    }
    return table.cast(schema.with_metadata(schema.metadata | instants))


def encode(dataset: Dataset, stamped: pa.Table) -> pa.Buffer:
    """The bytes of a file: a function of a table of `stamp` alone.

    Some readers (DuckDB 2.0, polars 2.1) open a file once for its footer and again for its pages.
    If it is replaced in between, they look for the new file's pages where the old one had its own.
    Where both happen to have a page, they return a mixture without an error: 60 of 1,567 reads
    under a writer that never paused. So the pages of each version begin elsewhere, and such a
    reader finds none and reports an error; it has only to read again.

    Args:
        dataset: whose `repeated_columns` get a dictionary.
        stamped: its rows.
    """
    content = pa.BufferOutputStream()
    with _writer(content, dataset, stamped.schema) as writer:
        said = stamped.schema.metadata
        # 0xFF begins no page header: readers stop there.
        content.write(b"\xff" * (crc32(said[_SNAPSHOT_AT] + said[_EXTRACTED_AT]) % MOST_PADDING))
        writer.write_table(stamped)
    return content.getvalue()


def read_footer(path: Path) -> Footer:
    """Reads what a published file says of itself, without its rows.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableFileError: it is no file that `encode` made.
    """
    with _open(path) as (_, footer):
        return footer


def read_file(
    path: Path, columns: Sequence[str] | None = None, *, may_lack: Dataset | None = None
) -> tuple[pa.Table, Footer]:
    """Reads a published file: opened once, so always one whole version.

    Args:
        path: of the file.
        columns: by name, in this order; all by default.
        may_lack: the dataset whose later columns are null where the file is from before them.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: a column is not in the file.
        UnreadableFileError: it is no file that `encode` made, or it is damaged.
    """
    with _open(path) as (file, footer):
        there = set(file.schema_arrow.names)
        with _decoding(path):
            table = file.read(columns and [name for name in columns if name in there])
    if may_lack is not None:
        table = may_lack.with_later_columns(table)
    missing = set(columns or ()) - set(table.column_names)
    if missing:
        raise KeyError(f"{path} has no column {', '.join(sorted(missing))}.")
    return table if columns is None else table.select(columns), footer


def write_stream(
    opened: int, path: Path, dataset: Dataset, batches: Iterator[pa.RecordBatch]
) -> None:
    """Writes record batches to a new file as they come, never holding more than one row group.

    Args:
        opened: the file, for writing; closed at the end.
        path: of the file, for messages.
        dataset: what the rows are.
        batches: of at most a few thousand rows.

    Raises:
        ReportStoreError: the file can't be written.
        UnpublishableDataError: a batch is not what the dataset says; the key is not looked at.
        Exception: whatever the iterator raises passes through, and is not taken for an error of
            the file.
    """
    # Buffered, because Arrow takes a write that a full disk cut short for a whole one.
    file = os.fdopen(opened, "wb")
    writer = _writer(file, dataset, dataset.arrow_schema)
    try:
        for rows in _row_groups(dataset, batches):
            with explaining(path):
                writer.write_table(rows)
        with explaining(path):
            writer.close()
            file.flush()
            os.fsync(opened)
    finally:
        for each in (writer, file):
            with suppress(OSError):
                each.close()


def _row_groups(dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        problems = find_problems(dataset, pa.Table.from_batches([batch]), in_part=True)
        if problems:
            raise UnpublishableDataError(dataset, problems)
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= ROWS_PER_GROUP or size >= BYTES_PER_GROUP:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(waiting)


def _writer(sink: Any, dataset: Dataset, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=dataset.repeated_columns,
    )


@contextmanager
def _open(path: Path) -> Iterator[tuple[pq.ParquetFile, Footer]]:
    with pa.OSFile(str(path), "rb") as source:
        with _decoding(path):
            file = pq.ParquetFile(source)
            said = file.schema_arrow.metadata or {}
        try:
            snapshot_at, extracted_at = (
                dt.datetime.fromisoformat(said[key].decode())
                for key in (_SNAPSHOT_AT, _EXTRACTED_AT)
            )
        except (KeyError, ValueError) as error:
            raise UnreadableFileError(
                f"{path} does not say which instant it describes: flakelag did not write it."
            ) from error
        yield file, Footer(snapshot_at, extracted_at, file.metadata.num_rows, source.size())


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # With a number it is the operating system's, and says nothing of what the file holds.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableFileError(f"{path} is damaged, or no Parquet file: {error}") from error
