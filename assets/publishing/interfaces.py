"""What the assets need of the outside world, as protocols; `pipelines` provides it.

Assets import these instead of the resources, so that imports go one way and a test may pass
anything of the same shape.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from assets.schemas import Dataset


class OutsideFailure(Exception):
    """A database or a file system failed us; the message is fit for an event log.

    Attributes:
        retryable: whether the same may succeed if it is tried again later.
    """

    retryable = False


class SourceUnreadable(OutsideFailure):
    """The fleet database can't be read."""


class ExtractSummary(Protocol):
    """What one reading of the fleet database found."""

    @property
    def extracted_at(self) -> dt.datetime:
        """The database's time of the snapshot that was read."""
        ...

    @property
    def generation(self) -> str:
        """Which generation of the fleet's schema was found."""
        ...

    @property
    def rows_read(self) -> Mapping[str, int]:
        """By source table."""
        ...

    @property
    def rows_staged(self) -> Mapping[str, int]:
        """By source table."""
        ...

    @property
    def rows_quarantined(self) -> Mapping[str, int]:
        """By source table."""
        ...

    @property
    def values_cleared(self) -> Mapping[str, int]:
        """By `table.column`, dispensable values that could not be used and are null."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What an operator should know of this reading, in sentences."""
        ...


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


class Worded(Protocol):
    """A decision, such as a member of an enum."""

    @property
    def value(self) -> str:
        """In words."""
        ...


class Publication(Protocol):
    """What became of a partition that was to be published."""

    @property
    def outcome(self) -> Worded:
        """Whether it was published, or why not."""
        ...

    @property
    def path(self) -> Path:
        """Where the published file lies."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...


class StagedExtract(Protocol):
    """One complete reading of the fleet database."""

    @property
    def extracted_at(self) -> dt.datetime:
        """When the tables were read."""
        ...

    @property
    def path(self) -> Path:
        """The folder with one Parquet file a table."""
        ...

    @property
    def rows_staged(self) -> Mapping[str, int]:
        """By source table."""
        ...

    def table(self, name: str) -> pa.Table:
        """One staged table."""
        ...

    def tables(self) -> dict[str, pa.Table]:
        """The staged source tables, by name; an optional table that the fleet lacks is left out."""
        ...


class ExtractWriter(ExtractSink, Protocol):
    """An extract that is being staged; nobody sees it before it is complete."""

    def complete(self, summary: ExtractSummary) -> None:
        """Makes the extract visible."""
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
        """Publishes one partition, unless what is there must stay."""
        ...

    def read(
        self, dataset: Dataset, date: dt.date, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Reads one published partition."""
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


class LoadOutcome(Protocol):
    """What became of the rows of one day, or of a table of current rows."""

    @property
    def decision(self) -> Worded:
        """Whether they were taken."""
        ...

    @property
    def rows(self) -> int:
        """How many rows there are now."""
        ...

    @property
    def added(self) -> int:
        """How many were new or differed."""
        ...

    @property
    def removed(self) -> int:
        """How many went or differed."""
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
    ) -> Mapping[dt.date, LoadOutcome]:
        """Makes the rows of whole days those handed over, in one transaction."""
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
