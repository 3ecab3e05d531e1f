"""Staged extracts: the source tables of one reading, kept for the steps of a run and for retries.

Belongs here: making an extract visible only once it is complete, finding the one that belongs to a
run, removing the old ones. Does not belong here: reading the fleet database.

An extract is a folder with one Parquet file a table and `extract.json`. Whoever stages it holds the
folder's lock alone, whoever reads it shares the lock; the kernel releases it when they die. So a
folder is removed only if nobody lives who uses it.
"""

import datetime as dt
import fcntl
import json
import os
import re
import shutil
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing.interfaces import ExtractSummary
from assets.publishing.layout import (
    EXTRACT_LOCK,
    EXTRACT_SUMMARY,
    EXTRACTS,
    STAGED_EXTRACTS,
    table_file,
)
from assets.schemas import OPTIONAL_TABLES, SOURCE_TABLES, Dataset
from pipelines.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    create_file,
    names_in,
    open_file,
    open_folder,
    open_folder_in,
    write_all,
)
from pipelines.store.atomic_files import AtomicFiles, ReportStoreError, explaining
from pipelines.store.parquet_files import write_stream

ALWAYS_KEPT = 2
KEPT_WHILE_RECENT = 8
RECENT = dt.timedelta(hours=24)

_NAME = re.compile(r"(?P<extracted_at>\d{8}T\d{6}\.\d{6}Z)-(?P<run_id>[\w.-]{1,100})")
_NAME_TIME = "%Y%m%dT%H%M%S.%fZ"


class ExtractNotFoundError(ReportStoreError):
    """No complete extract is staged."""


class StagedExtract:
    """One complete reading of the fleet database.

    Its files stay as long as this object lives.

    Attributes:
        path: the folder with one Parquet file a table.
        run_id: the Dagster run that made it.
        extracted_at: when the tables were read (UTC).
        summary: what the extraction found, as in `extract.json`.
    """

    def __init__(self, path: Path, lock: int) -> None:
        weakref.finalize(self, os.close, lock)
        self.path = path
        self.summary = json.loads((path / EXTRACT_SUMMARY).read_text("utf-8"))
        self.run_id: str = self.summary["run_id"]
        self.extracted_at = dt.datetime.fromisoformat(self.summary["extracted_at"])

    @property
    def rows_read(self) -> Mapping[str, int]:
        """How many rows each source table had, whether they can be used or not."""
        rows: Mapping[str, int] = self.summary["rows_read"]
        return rows

    def table(self, name: str) -> pa.Table:
        """One staged table; an optional one that the fleet lacks is empty.

        Raises:
            KeyError: there is no such table.
        """
        file = self._file(name)
        if file.exists():
            with pq.ParquetFile(file) as parquet:
                return parquet.read()
        for optional in OPTIONAL_TABLES:
            if optional.name == name:
                return optional.arrow_schema.empty_table()
        raise KeyError(f"{self.path} has no table {name}.")

    def tables(self) -> dict[str, pa.Table]:
        """The staged source tables, by name; an optional table that the fleet lacks is left out."""
        return {
            dataset.name: self.table(dataset.name)
            for dataset in SOURCE_TABLES
            if self._file(dataset.name).exists()
        }

    def _file(self, name: str) -> Path:
        return self.path / table_file(name)


class ExtractWriter:
    """An extract that is being staged; nobody sees it before it is complete."""

    def __init__(self, files: AtomicFiles, name: str, folder: int, run_id: str) -> None:
        self._files = files
        self._name = name
        self._folder = folder
        self._run_id = run_id

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        """Stages one table, durably; one that was staged before, as by a first try, is replaced.

        Memory is bounded by a row group. The key is not looked at: the extraction sees to it.

        Raises:
            ReportStoreError: the disk is full, and the like.
            UnpublishableDataError: a batch is not what the dataset says.
            Exception: whatever the iterator raises passes through.
        """
        name = table_file(dataset.name)
        path = self._files.root / STAGED_EXTRACTS / self._name / name
        with explaining(path):
            file = create_file(self._folder, name, PRIVATE_FILE)
        write_stream(file, path, dataset, batches)

    def complete(self, summary: ExtractSummary) -> None:
        """Makes the extract visible, whole.

        Raises:
            ReportStoreError: the disk is full, and the like.
        """
        said = {
            "run_id": self._run_id,
            "extracted_at": summary.extracted_at.astimezone(dt.UTC).isoformat(),
            "generation": summary.generation,
            "rows_read": dict(summary.rows_read),
            "rows_staged": dict(summary.rows_staged),
            "rows_quarantined": dict(summary.rows_quarantined),
            "values_cleared": dict(summary.values_cleared),
            "notes": list(summary.notes),
        }
        name = f"{summary.extracted_at.astimezone(dt.UTC):{_NAME_TIME}}-{self._run_id}"
        with explaining(self._files.root / EXTRACTS / name):
            summarized = create_file(self._folder, EXTRACT_SUMMARY, PRIVATE_FILE)
            write_all(summarized, json.dumps(said, indent=2).encode())
            os.fsync(self._folder)
            with (
                self._files.opened(STAGED_EXTRACTS) as staging,
                self._files.opened(EXTRACTS) as extracts,
            ):
                os.rename(self._name, name, src_dir_fd=staging, dst_dir_fd=extracts)
                os.fsync(extracts)


class ExtractStaging:
    """The extracts under REPORTS_DIR: the complete ones, and those being staged or removed."""

    def __init__(self, files: AtomicFiles) -> None:
        self._files = files
        self._extracts = files.root / EXTRACTS
        self._staging = files.root / STAGED_EXTRACTS

    @contextmanager
    def new(self, run_id: str) -> Iterator[ExtractWriter]:
        """Begins to stage an extract; what is not complete at the end of the block is removed.

        Raises:
            ReportStoreError: the folder can't be made.
            ValueError: the run's id can't be part of a file name.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", run_id):
            raise ValueError(f"{run_id!r} can't be part of the name of an extract's folder.")
        with ExitStack() as held:
            with explaining(self._staging):
                staging = held.enter_context(self._files.opened(STAGED_EXTRACTS))
                for left in names_in(staging):
                    _remove_unused(staging, left, staging)
                name, lock = _new_folder(staging)
            held.callback(os.close, lock)
            held.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=staging)
            with explaining(self._staging / name):
                folder = held.enter_context(open_folder_in(staging, name))
            yield ExtractWriter(self._files, name, folder, run_id)
        self._remove_old()

    def newest(self) -> StagedExtract | None:
        """The newest complete extract, if there is one."""
        return self._first(self._names())

    def for_run(self, run_ids: Sequence[str]) -> StagedExtract:
        """The newest extract of the first of these runs that made one, else the newest of all.

        Raises:
            ExtractNotFoundError: there is none.
        """
        names = self._names()
        of_runs = [name for run_id in run_ids for name in names if _run_of(name) == run_id]
        extract = self._first([*of_runs, *names])
        if extract is None:
            raise ExtractNotFoundError(
                f"No reading of the fleet database is staged in {self._extracts}. Materialize the "
                "source tables (flakes, commits, derivations, ...) together with this asset."
            )
        return extract

    def _names(self) -> list[str]:
        """The complete extracts, the newest first."""
        if not self._extracts.is_dir():
            return []
        names = [entry.name for entry in self._extracts.iterdir() if _NAME.fullmatch(entry.name)]
        return sorted(names, reverse=True)

    def _first(self, names: Sequence[str]) -> StagedExtract | None:
        for name in names:
            with explaining(self._extracts / name, "read"), open_folder(self._extracts) as extracts:
                lock = _lock_folder(extracts, name, fcntl.LOCK_SH)
            if lock is not None:
                return StagedExtract(self._extracts / name, lock)
        return None

    def _remove_old(self) -> None:
        old = superfluous(self._names())
        if not old:
            return
        with (
            explaining(self._extracts),
            self._files.opened(EXTRACTS) as extracts,
            self._files.opened(STAGED_EXTRACTS) as staging,
        ):
            for name in old:
                _remove_unused(extracts, name, staging)


def superfluous(names: Sequence[str]) -> list[str]:
    """Which extracts may go, of the names of all, the newest first.

    The newest `ALWAYS_KEPT` stay. So do those read less than `RECENT` before the newest, for runs
    that are tried again, but of all together no more than `KEPT_WHILE_RECENT`.
    """
    if not names:
        return []
    oldest = _time_of(names[0]) - RECENT
    recent = [name for name in names[:KEPT_WHILE_RECENT] if _time_of(name) > oldest]
    return list(names[max(ALWAYS_KEPT, len(recent)) :])


def _time_of(name: str) -> dt.datetime:
    return dt.datetime.strptime(name.partition("-")[0], _NAME_TIME).replace(tzinfo=dt.UTC)


def _run_of(name: str) -> str:
    return name.partition("-")[2]


def _new_folder(staging: int) -> tuple[str, int]:
    while True:
        name = uuid.uuid4().hex
        os.mkdir(name, PRIVATE_FOLDER, dir_fd=staging)
        lock = _lock_folder(staging, name, fcntl.LOCK_EX)
        # Between the two lines above, another process may have taken it for abandoned.
        if lock is not None:
            return name, lock


def _lock_folder(parent: int, name: str, kind: int) -> int | None:
    """Locks a folder in an open one; to share it no write access is needed.

    Returns:
        The descriptor that holds the lock until it is closed; None if the folder is gone or someone
        else's.
    """
    flags = os.O_RDONLY if kind == fcntl.LOCK_SH else os.O_RDWR | os.O_CREAT
    try:
        with open_folder_in(parent, name) as folder:
            lock = open_file(folder, EXTRACT_LOCK, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        with open_folder_in(parent, name) as folder:
            now = os.stat(EXTRACT_LOCK, dir_fd=folder, follow_symlinks=False)
        if os.path.samestat(os.fstat(lock), now):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _remove_unused(parent: int, name: str, on_the_way: int) -> None:
    """Removes a folder unless it is in use; it vanishes from its place in one step."""
    lock = _lock_folder(parent, name, fcntl.LOCK_EX)
    if lock is not None:
        with suppress(OSError):
            os.rename(name, name, src_dir_fd=parent, dst_dir_fd=on_the_way)
            shutil.rmtree(name, dir_fd=on_the_way)
        os.close(lock)
