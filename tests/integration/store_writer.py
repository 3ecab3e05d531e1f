"""A small dataset whose every row says which version it is of, and processes that publish it.

What a process runs is here and not in a test module, so that it can be loaded quickly.
"""

import datetime as dt
import os
import signal
import sys
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.publishing.interfaces import ExtractSummary, Publication
from assets.publishing.layout import (
    ANALYSTS_FILE,
    LATEST_PAGE,
    METRICS_FILE,
    OWN_FOLDER,
    file_of,
    page_of,
)
from assets.schemas.dictionary import Dataset, identifier, instant, text
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.store.atomic_files import AtomicFiles
from pipelines.store.report_store import ReportStore

DAY = dt.date(2026, 11, 23)
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)

VERSIONS = Dataset(
    name="versions",
    grain="one row a host",
    description="Rows that say which version of the partition they are of.",
    key=("hostname",),
    order_by="hostname",
    columns=(
        text("hostname", "The host."),
        identifier("version", "Which version of the partition the row is of."),
        text("note", "Always null.", nullable=True),
        instant("extracted_at", "When it was read."),
    ),
)


def summary(extracted_at: dt.datetime, generation: str = "newer", **found: Any) -> ExtractSummary:
    """What an extraction says of itself."""
    nothing: dict[str, Any] = {
        "rows_read": {},
        "rows_staged": {},
        "rows_quarantined": {},
        "values_cleared": {},
        "notes": (),
    }
    return ExtractSummary(
        extracted_at, generation, server_version=0, optional_tables=(), **(nothing | found)
    )


def partition_file(root: Path, date: dt.date = DAY) -> Path:
    """Where the rows of a day are published."""
    return root / file_of(VERSIONS.name, date)


def read_at(version: int) -> dt.datetime:
    """When a version was read: one second after the version before."""
    return NOON + dt.timedelta(seconds=version)


def rows_of(version: int) -> int:
    """How many rows a version has: another number than its neighbours."""
    return 1000 + 300 * (version % 7)


def versions_table(version: int, extracted_at: dt.datetime | None = None) -> pa.Table:
    """All rows of one version."""
    rows = rows_of(version)
    return pa.table(
        [
            [f"host-{number:04}" for number in range(rows)],
            [version] * rows,
            [None] * rows,
            [extracted_at or read_at(version)] * rows,
        ],
        schema=VERSIONS.arrow_schema,
    )


def whole_version(table: pa.Table) -> int:
    """The version that a table is, all of it and nothing else."""
    [version] = table["version"].unique().to_pylist()
    assert table.num_rows == rows_of(version)
    assert table["hostname"].to_pylist() == versions_table(version)["hostname"].to_pylist()
    return int(version)


def publish_version(
    store: ReportStore, version: int, *, date: dt.date = DAY, **changed: Any
) -> Publication:
    """Publishes one version of a day that goes on: it describes the instant of its reading."""
    instants = {"snapshot_at": read_at(version), "extracted_at": read_at(version)} | changed
    table = versions_table(version, instants["extracted_at"])
    return store.publish(VERSIONS, date, table, run_id=f"run-{version}", **instants)


def batches_of(version: int) -> Iterator[pa.RecordBatch]:
    """The rows of one version, as an extraction hands them over."""
    yield from versions_table(version).to_batches(max_chunksize=400)


def stage_extract(store: ReportStore, version: int, run_id: str | None = None) -> None:
    """Stages an extract that holds nothing but one version's rows."""
    with store.new_extract(run_id or f"run-{version}") as writer:
        writer.write(VERSIONS, batches_of(version))
        rows = {VERSIONS.name: rows_of(version)}
        writer.complete(summary(read_at(version), rows_read=rows, rows_staged=rows))


def publish_without_end(root: Path, first: int) -> None:
    """Process: publishes one version after the other."""
    store = ReportStore(root)
    for version in count(first):
        publish_version(store, version)


def publish_on_days(root: Path, version: int, dates: list[dt.date]) -> None:
    """Process: publishes the same version on each of the days."""
    store = ReportStore(root)
    for date in dates:
        publish_version(store, version, date=date)


OTHER_FILES = (page_of(DAY), LATEST_PAGE, METRICS_FILE, ANALYSTS_FILE)
"""What is published beside the datasets."""


def publish_everything_with_umask(root: Path, umask: int, files_mode: int) -> None:
    """Process: publishes a partition, all other files, and stages an extract."""
    os.umask(umask)
    store = ReportStore(root, files_mode=files_mode)
    publish_version(store, 1)
    stage_extract(store, 1)
    for name in OTHER_FILES:
        store.write_atomically(name, b"content")
    AlertStateFile(root, "failures").save(AlertState(position=1))


def read_everything_as(root: Path, user: int) -> None:
    """Process: reads all that is published as another user, who sees nothing of the rest."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {Path(name).name for name in OTHER_FILES[1:]}
    for path in files:
        assert path.read_bytes()
        assert OWN_FOLDER not in path.parts


def flock_is_refused(locks: list[Path], user: int) -> None:
    """Process: tries to hold locks as another user, who may not even open them."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    for lock in locks:
        try:
            os.close(os.open(lock, os.O_RDONLY))
        except PermissionError:
            continue
        raise AssertionError(f"{lock} can be opened")


def hold_lock(root: Path, ready: Connection) -> None:
    """Process: holds the lock of the partition until it is killed."""
    with AtomicFiles(root).locked(partition_file(root)):
        ready.send(None)
        signal.pause()


def publish_and_die(root: Path, version: int, step: int) -> None:
    """Process: publishes a version, but is killed just before one of its steps on the disk."""
    store = ReportStore(root)
    _die_before_change(root, step)
    publish_version(store, version)


def confirm_and_die(root: Path, version: int, extracted_at: dt.datetime, step: int) -> None:
    """Process: publishes the same rows of a closed day, read later, and is killed on the way."""
    store = ReportStore(root)
    _die_before_change(root, step)
    publish_version(store, version, snapshot_at=NOON, extracted_at=extracted_at)


def stage_and_die(root: Path, version: int, step: int) -> None:
    """Process: stages an extract, and is killed on the way."""
    store = ReportStore(root)
    _die_before_change(root, step)
    stage_extract(store, version)


def stage_and_wait(root: Path, version: int, ready: Connection) -> None:
    """Process: begins to stage an extract, and goes no further."""
    with ReportStore(root).new_extract(f"run-{version}") as writer:
        writer.write(VERSIONS, batches_of(version))
        ready.send(None)
        signal.pause()


_CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock")


def _die_before_change(root: Path, step: int) -> None:
    changes = count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES:
            return
        # What is found by name in an open folder has no path; nothing else has none here.
        path = Path(str(arguments[0]))
        if event != "fcntl.flock" and path.is_absolute() and not path.is_relative_to(root):
            return
        if next(changes) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
