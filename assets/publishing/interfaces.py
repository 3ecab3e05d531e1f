"""What the assets and the outside world hand each other, and what the assets ask of it.

Belongs here: the data that crosses the border, as frozen dataclasses; and, because imports go one
way, from `pipelines` to `assets`, the signatures of what `pipelines` provides. What a method does
in full, and what it raises, stands with its implementation.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from assets.publishing.replacement import Outcome
from assets.schemas import Dataset


class OutsideFailure(Exception):
    """A database or a file system failed us; the message is fit for an event log.

    Attributes:
        retryable: whether the same may succeed if it is tried again later.
    """

    retryable = False


@dataclass(frozen=True)
class ExtractSummary:
    """What one extract found; for every table, rows read = rows staged + rows quarantined.

    Attributes:
        extracted_at: the instant, by the server's clock, as of which all tables were read (UTC).
        generation: of the fleet's schema.
        server_version: of PostgreSQL, as it counts: 180004 for 18.4.
        rows_read: by table, `package` derivations aside.
        rows_staged: by table.
        rows_quarantined: by table.
        values_cleared: by `table.column`, dispensable values that were out of range and are null.
        optional_tables: names of the optional tables that were read.
        notes: why other optional tables that exist were not, and what to do.
    """

    extracted_at: dt.datetime
    generation: str
    server_version: int
    rows_read: Mapping[str, int]
    rows_staged: Mapping[str, int]
    rows_quarantined: Mapping[str, int]
    values_cleared: Mapping[str, int]
    optional_tables: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PublishedPartition:
    """One published partition, as it lies there.

    Attributes:
        dataset: name of the dataset.
        date: the day (UTC) of the partition.
        path: of the file.
        rows: how many it has.
        bytes: its size.
        snapshot_at: the instant T that its rows describe.
        extracted_at: when the source was read that it was computed from.
    """

    dataset: str
    date: dt.date
    path: Path
    rows: int
    bytes: int
    snapshot_at: dt.datetime
    extracted_at: dt.datetime


@dataclass(frozen=True)
class Publication:
    """What became of a partition that was to be published.

    Attributes:
        outcome: whether it was published, or why not.
        reason: the same in a sentence.
        partition: what is published now.
    """

    outcome: Outcome
    reason: str
    partition: PublishedPartition

    @property
    def path(self) -> Path:
        """Of the published file."""
        return self.partition.path


@dataclass(frozen=True)
class LoadOutcome:
    """What became of the rows handed over for a day, or for a table of current rows.

    Attributes:
        decision: as for a published file; `PUBLISHED` means that they were taken.
        reason: the same for a person, with the particulars.
        rows: how many rows the day, or the table, has now.
        added: rows that were new or differed.
        removed: rows that went or differed.
    """

    decision: Outcome
    reason: str
    rows: int
    added: int = 0
    removed: int = 0


class ExtractSink(Protocol):
    """Takes the tables of one reading, batch by batch."""

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        """Stages one table."""
        ...


class FleetSource(Protocol):
    """The fleet database."""

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables as of one instant."""
        ...


class ExtractWriter(ExtractSink, Protocol):
    """An extract that is being staged; nobody sees it before it is complete."""

    def complete(self, summary: ExtractSummary) -> None:
        """Makes the extract visible."""
        ...


class StagedExtract(Protocol):
    """One complete reading of the fleet database."""

    path: Path
    extracted_at: dt.datetime

    @property
    def rows_read(self) -> Mapping[str, int]:
        """By source table."""
        ...

    def table(self, name: str) -> pa.Table:
        """One staged table."""
        ...

    def tables(self) -> dict[str, pa.Table]:
        """The staged source tables, by name; an optional table that the fleet lacks is left out."""
        ...


class ReportStore(Protocol):
    """The published files, and the staged extracts beside them."""

    def publish(
        self,
        dataset: Dataset,
        date: dt.date,
        table: pa.Table,
        *,
        snapshot_at: dt.datetime,
        extracted_at: dt.datetime,
        run_id: str,
    ) -> Publication:
        """See `pipelines.store.report_store.ReportStore.publish`."""
        ...

    def read(
        self, dataset: Dataset, date: dt.date, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Reads one published partition."""
        ...

    def describe(self, dataset: Dataset, date: dt.date) -> PublishedPartition:
        """Says what is published for one day, without reading its rows."""
        ...

    def published_dates(self, dataset: Dataset) -> list[dt.date]:
        """The days that are published, ascending."""
        ...

    def write_atomically(self, relative_path: str, content: bytes) -> Path:
        """Puts any other file, such as a page, in place of the one before, whole."""
        ...

    def new_extract(self, run_id: str) -> AbstractContextManager[ExtractWriter]:
        """Begins to stage an extract."""
        ...

    def newest_extract(self) -> StagedExtract | None:
        """The newest complete extract."""
        ...

    def extract_for_run(self, run_ids: Sequence[str]) -> StagedExtract:
        """The extract of the first of these runs that made one, else the newest."""
        ...


class HistoryDatabase(Protocol):
    """The PostgreSQL that keeps the history."""

    def migrate(self) -> object:
        """Creates or completes schema, tables and views; quick if there is nothing to do."""
        ...

    def replace_days(
        self,
        dataset: Dataset,
        dates: Collection[dt.date],
        rows: pa.Table,
        *,
        extracted_at: dt.datetime,
    ) -> dict[dt.date, LoadOutcome]:
        """See `pipelines.history.database.HistoryDatabase.replace_days`."""
        ...

    def replace_current(
        self,
        dataset: Dataset,
        rows: pa.Table,
        *,
        snapshot_at: dt.datetime,
        extracted_at: dt.datetime,
    ) -> LoadOutcome:
        """Makes a table's rows those handed over, unless it holds those of a later instant."""
        ...
