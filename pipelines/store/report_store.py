"""The report store: published Parquet partitions, pages beside them, staged extracts.

Readers see one file a partition, nothing else, each always one whole version; `layout` of
`assets.publishing` says where. All that they need not see is in a folder of the store's own.

Belongs here: which file is published, and how a decision is carried out. Does not belong here: the
decision and what makes a table publishable (`replacement` and `conformity` of `assets.publishing`).
"""

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow as pa

from assets.publishing.conformity import UnpublishableDataError, find_problems, find_wrong_stamps
from assets.publishing.interfaces import Publication, PublishedPartition
from assets.publishing.layout import (
    OWN_FOLDER,
    PARTITION_KEY,
    date_of,
    file_of,
    published_files,
)
from assets.publishing.replacement import Outcome, Version, decide_publication
from assets.schemas import Dataset
from pipelines.store.atomic_files import (
    LOCK_TIMEOUT,
    READABLE_BY_ALL,
    AtomicFiles,
    ReportStoreError,
    explaining,
)
from pipelines.store.confirmations import Confirmations
from pipelines.store.extracts import ExtractStaging, ExtractWriter, StagedExtract
from pipelines.store.parquet_files import (
    UnreadableFileError,
    encode,
    read_file,
    read_footer,
    stamp,
)

_logger = logging.getLogger(__name__)


class PartitionNotFoundError(ReportStoreError):
    """Nothing is published for this day."""


class ReportStore:
    """The files under REPORTS_DIR.

    Any number of processes may publish and read at the same time. Making a store touches nothing.

    Args:
        root: REPORTS_DIR.
        files_mode: of the files that are published; whoever can read them can enter their folders.
        lock_timeout: how long to wait for another process that is publishing the same partition.
    """

    def __init__(
        self,
        root: Path,
        *,
        files_mode: int = READABLE_BY_ALL,
        lock_timeout: dt.timedelta = LOCK_TIMEOUT,
    ) -> None:
        self._files = AtomicFiles(root, mode=files_mode, lock_timeout=lock_timeout)
        self._confirmations = Confirmations(self._files)
        self._extracts = ExtractStaging(self._files)

    @property
    def root(self) -> Path:
        """REPORTS_DIR, absolute."""
        return self._files.root

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
        """Publishes one partition, unless what is there must stay.

        The rows are validated, the file is written beside, made durable and read back, and only if
        it holds the same rows put in place. See `decide_publication` for what must stay.

        Args:
            dataset: what the rows are.
            date: the day (UTC) of the partition.
            table: its rows, of exactly the dataset's schema (`to_arrow`).
            snapshot_at: the instant T that they describe.
            extracted_at: when the source was read.
            run_id: of the Dagster run, for the record in the manifest.

        Raises:
            UnpublishableDataError: the rows are not what the dataset says, or of another partition.
            ReportStoreError: the disk is full, another process holds the lock, and the like. What
                was published before is still there.
            ValueError: an instant has no time zone.
        """
        if snapshot_at.tzinfo is None or extracted_at.tzinfo is None:
            raise ValueError(f"{snapshot_at} or {extracted_at} has no time zone.")
        problems = find_problems(dataset, table)
        if not problems:
            problems = find_wrong_stamps(dataset, table, date, snapshot_at, extracted_at)
        if problems:
            raise UnpublishableDataError(dataset, problems)
        path = self._path(dataset, date)
        with self._files.locked(path):
            decision = decide_publication(
                dataset,
                self._published_version(dataset, date),
                Version(table, snapshot_at, extracted_at),
            )
            if decision.outcome is Outcome.PUBLISHED:
                stamped = stamp(dataset, table, snapshot_at, extracted_at)
                check = partial(_require_same, table=stamped)
                self._files.replace(path, memoryview(encode(dataset, stamped)), check=check)
            else:
                self._files.restore_mode(path)
            partition = self.describe(dataset, date)
            if decision.outcome in (Outcome.PUBLISHED, Outcome.KEPT_UNCHANGED):
                self._confirmations.record(
                    dataset.name,
                    date,
                    extracted_at=partition.extracted_at,
                    confirmed_extracted_at=extracted_at,
                    run_id=run_id,
                )
        return Publication(decision.outcome, decision.reason, partition)

    def read(
        self, dataset: Dataset, date: dt.date, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Reads one published partition, always one whole version.

        Columns that a later version has added are null in the days from before it.

        Args:
            dataset: which dataset.
            date: which day (UTC).
            columns: by name, in this order; all by default.

        Raises:
            PartitionNotFoundError: nothing is published for this day.
            KeyError: a column is not in the file.
            ReportStoreError: the file is damaged.
        """
        path = self._path(dataset, date)
        with _finding(dataset, date, path):
            table, _ = read_file(path, columns, may_lack=dataset)
        return table

    def describe(self, dataset: Dataset, date: dt.date) -> PublishedPartition:
        """Says what is published for one day, without reading its rows.

        Raises:
            PartitionNotFoundError: nothing is published for this day.
            ReportStoreError: the file is damaged.
        """
        path = self._path(dataset, date)
        with _finding(dataset, date, path):
            footer = read_footer(path)
        return PublishedPartition(
            dataset.name,
            date,
            path,
            footer.rows,
            footer.bytes,
            footer.snapshot_at,
            footer.extracted_at,
        )

    def has(self, dataset: Dataset, date: dt.date) -> bool:
        """Whether anything is published for one day."""
        return self._path(dataset, date).exists()

    def published_dates(self, dataset: Dataset) -> list[dt.date]:
        """The days (UTC) that are published, ascending."""
        return [date_of(file) for file in published_files(self.root, dataset.name)]

    def write_atomically(self, relative_path: str, content: bytes) -> Path:
        """Puts any other file, such as a page, in place of the one before, whole.

        Args:
            relative_path: where, under the root, as `layout` has it.
            content: of the file.

        Returns:
            Where it lies.

        Raises:
            ValueError: the path leads out of the root, or to what the store keeps for itself.
            ReportStoreError: the disk is full, and the like.
        """
        relative = PurePosixPath(relative_path)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ValueError(f"{relative_path!r} is no path under REPORTS_DIR.")
        path = self.root / relative
        if relative.parts[0] == OWN_FOLDER or any(
            part.startswith(PARTITION_KEY) for part in relative.parts
        ):
            raise ValueError(f"{relative_path!r} is the report store's own.")
        with self._files.locked(path):
            self._files.replace(path, content)
        return path

    @contextmanager
    def new_extract(self, run_id: str) -> Iterator[ExtractWriter]:
        """Begins to stage an extract; what is not complete at the end of the block is removed.

        Removes what dead processes left in staging, and afterwards the extracts that nobody needs
        (`pipelines.store.extracts.superfluous`).

        Raises:
            ReportStoreError: the folder can't be made.
            ValueError: the run's id can't be part of a file name.
        """
        self._files.remove_abandoned()
        with self._extracts.new(run_id) as writer:
            yield writer

    def newest_extract(self) -> StagedExtract | None:
        """The newest complete extract, if there is one; its files stay while the object lives."""
        return self._extracts.newest()

    def extract_for_run(self, run_ids: Sequence[str]) -> StagedExtract:
        """The newest extract of the first of these runs that made one, else the newest of all.

        Its files stay while the object lives.

        Args:
            run_ids: the run's own, then those of the runs that it repeats, the nearest first.

        Raises:
            ExtractNotFoundError: there is none.
        """
        return self._extracts.for_run(run_ids)

    def _path(self, dataset: Dataset, date: dt.date) -> Path:
        return self.root / file_of(dataset.name, date)

    def _published_version(self, dataset: Dataset, date: dt.date) -> Version | None:
        path = self._path(dataset, date)
        with explaining(path, "read"):
            try:
                table, footer = read_file(path)
            except FileNotFoundError:
                return None
            except UnreadableFileError as error:
                # Nobody can use it, and the only cure is to publish the day again.
                _logger.warning("%s It is replaced.", error)
                return None
        newest = self._confirmations.newest(dataset.name, date, footer.extracted_at)
        return Version(table, footer.snapshot_at, newest)


def _require_same(staged: Path, *, table: pa.Table) -> None:
    written, _ = read_file(staged)
    if not written.equals(table, check_metadata=True):
        raise ReportStoreError(
            f"{staged} does not read back as it was written: look at the disk. What is published "
            "is untouched."
        )


@contextmanager
def _finding(dataset: Dataset, date: dt.date, path: Path) -> Iterator[None]:
    with explaining(path, "read"):
        try:
            yield
        except FileNotFoundError:
            raise PartitionNotFoundError(
                f"{dataset.name} is not published for {date}. Materialize that partition."
            ) from None
        except UnreadableFileError as error:
            raise ReportStoreError(f"{error} Materialize that partition again.") from error
