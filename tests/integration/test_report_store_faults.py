"""What readers see, and what the next run finds, when a writer dies, is late or can't write."""

import datetime as dt
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from assets.publishing.replacement import Outcome
from pipelines.store import report_store
from pipelines.store.atomic_files import AtomicFiles, LockHeldError, ReportStoreError
from pipelines.store.parquet_files import encode
from pipelines.store.report_store import PartitionNotFoundError, ReportStore
from tests.integration.filesystems import small_filesystem
from tests.integration.processes import KILLED, exit_codes, new_pipe, running
from tests.integration.store_writer import (
    DAY,
    NOON,
    VERSIONS,
    confirm_and_die,
    hold_lock,
    partition_file,
    publish_and_die,
    publish_on_days,
    publish_version,
    read_at,
    stage_extract,
    whole_version,
)

OUTSIDE_USER = 65534


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def published_version(store: ReportStore) -> int | None:
    """The version that is published, all of it, with nothing beside it."""
    try:
        version = whole_version(store.read(VERSIONS, DAY))
    except PartitionNotFoundError:
        assert files_in(store.root / VERSIONS.name) == set()
        return None
    assert files_in(store.root / VERSIONS.name) == {f"date={DAY}/data.parquet"}
    return version


def nothing_is_staged(store: ReportStore) -> bool:
    return files_in(store.root / "_store" / "staging") == set()


def close_day(store: ReportStore, version: int, extracted_at: dt.datetime) -> Outcome:
    publication = publish_version(store, version, snapshot_at=NOON, extracted_at=extracted_at)
    return publication.outcome


@pytest.mark.parametrize("before", [None, 1], ids=["nothing before", "a version before"])
def test_a_writer_may_die_at_any_step(tmp_path: Path, before: int | None) -> None:
    found = []
    for step in count():
        store = ReportStore(tmp_path / f"{step}")
        if before is not None:
            close_day(store, before, extracted_at=read_at(before))
            close_day(store, before, extracted_at=read_at(3))

        [code] = exit_codes(publish_and_die, (store.root, 4, step))

        found.append(published_version(store))
        if found[-1] is not None:
            assert publish_version(store, 2).outcome is Outcome.KEPT_NEWER
            assert published_version(store) == found[-1]
        assert publish_version(store, 5).outcome is Outcome.PUBLISHED
        assert published_version(store) == 5
        assert nothing_is_staged(store)
        if code == 0:
            break
        assert code == KILLED
    # First the old version, from some step on the new one; it also died after that step.
    assert found == sorted(found, key=lambda version: version == 4)
    assert found.count(4) > 1
    assert found.count(before) > 1


def test_a_writer_may_die_while_it_confirms(tmp_path: Path) -> None:
    outcomes = []
    for step in count():
        store = ReportStore(tmp_path / f"{step}")
        close_day(store, 1, extracted_at=read_at(1))

        [code] = exit_codes(confirm_and_die, (store.root, 1, read_at(3), step))

        assert published_version(store) == 1
        outcomes.append(close_day(store, 2, extracted_at=read_at(2)))
        assert close_day(store, 3, extracted_at=read_at(4)) is Outcome.PUBLISHED
        if code == 0:
            break
        assert code == KILLED
    assert outcomes[0] is Outcome.PUBLISHED
    assert outcomes[-1] is Outcome.KEPT_NEWER
    assert set(outcomes) == {Outcome.PUBLISHED, Outcome.KEPT_NEWER}


def test_the_newer_of_two_overlapping_runs_wins(store: ReportStore) -> None:
    days = [DAY - dt.timedelta(days=number) for number in range(12)]

    codes = exit_codes(
        publish_on_days, (store.root, 1, days), (store.root, 2, days[::-1]), (store.root, 3, days)
    )

    assert codes == [0, 0, 0]
    assert {whole_version(store.read(VERSIONS, day)) for day in days} == {3}
    assert nothing_is_staged(store)


def test_a_lock_ends_with_its_holder(store: ReportStore) -> None:
    hasty = ReportStore(store.root, lock_timeout=dt.timedelta(milliseconds=50))
    ready, sender = new_pipe(duplex=False)
    with running(hold_lock, store.root, sender):
        ready.recv()
        with pytest.raises(LockHeldError, match="Look for a run that hangs") as caught:
            publish_version(hasty, 1)
        assert caught.value.retryable
        other_day = publish_version(hasty, 1, date=DAY - dt.timedelta(days=1))
        assert other_day.outcome is Outcome.PUBLISHED

    assert publish_version(hasty, 1).outcome is Outcome.PUBLISHED


def test_what_a_dead_writer_left_goes_and_what_a_living_one_writes_stays(
    store: ReportStore,
) -> None:
    publish_version(store, 1)
    staging = store.root / "_store" / "staging"
    left = staging / "versions%2Fdate=2026-01-01%2Fdata.parquet"
    written = staging / "versions%2Fdate=2026-11-23%2Fdata.parquet"
    left.write_bytes(b"PAR1")
    written.write_bytes(b"PAR1")
    ready, sender = new_pipe(duplex=False)

    with running(hold_lock, store.root, sender):
        ready.recv()
        stage_extract(store, 1)

    assert not left.exists()
    assert written.exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Refuses bytes in the middle of a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_leaves_what_is_there(store: ReportStore) -> None:
    publish_version(store, 1)
    stage_extract(store, 1)

    with largest_file(1000):
        with pytest.raises(ReportStoreError, match=r"_store/staging/versions.*File too large"):
            publish_version(store, 2)
        with pytest.raises(ReportStoreError, match=r"Can't write .*versions.parquet: File too"):
            stage_extract(store, 2)
        with pytest.raises(ReportStoreError, match=r"page.html: File too large\. Raise the limit"):
            store.write_atomically("page.html", b"<p>" * 1000)

    assert published_version(store) == 1
    assert nothing_is_staged(store)
    assert store.extract_for_run(["run-2"]).run_id == "run-1"
    assert not (store.root / "page.html").exists()
    assert publish_version(store, 2).outcome is Outcome.PUBLISHED


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder of somebody else's: readable, not writable."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(OUTSIDE_USER)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_named() -> None:
    with unprivileged() as folder:
        store = ReportStore(folder / "reports")
        for write in (
            lambda: publish_version(store, 1),
            lambda: stage_extract(store, 1),
            lambda: store.write_atomically("page.html", b""),
        ):
            with pytest.raises(ReportStoreError) as caught:
                write()
            assert str(caught.value).startswith(f"Can't write {folder}/reports/_store/")
            assert str(caught.value).endswith(
                "Permission denied. The user that runs flakelag needs access to all of REPORTS_DIR."
            )


def test_what_may_not_be_written_may_be_read() -> None:
    with unprivileged() as folder:
        store = ReportStore(folder)
        user = os.geteuid()
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        publish_version(store, 1)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        os.seteuid(user)

        with pytest.raises(ReportStoreError):
            publish_version(store, 2)
        assert published_version(store) == 1
        assert store.published_dates(VERSIONS) == [DAY]

        os.seteuid(os.getuid())
        for path in folder.rglob("*"):
            path.chmod(0o755)


def test_a_store_on_two_filesystems_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_store").mkdir()
    store = ReportStore(tmp_path)
    with small_filesystem(tmp_path / "_store"):
        with pytest.raises(ReportStoreError, match="must be one filesystem"):
            publish_version(store, 1)

        assert published_version(store) is None
        assert nothing_is_staged(store)


@pytest.mark.parametrize(
    "path", ["_store", "_store/locks", "_store/manifest", "versions", f"versions/date={DAY}"]
)
def test_a_file_where_a_folder_must_be_is_named(store: ReportStore, path: str) -> None:
    in_the_way = store.root / path
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("")

    with pytest.raises(ReportStoreError, match=f"{path}.* remove it"):
        publish_version(store, 1)


@pytest.mark.parametrize("path", ["_store/staging", "_store/extracts"])
def test_a_file_where_the_extracts_must_be_is_named(store: ReportStore, path: str) -> None:
    in_the_way = store.root / path
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("")

    with pytest.raises(ReportStoreError, match=f"Can't write .*{path}.* remove it"):
        stage_extract(store, 1)


def test_a_disk_that_can_t_be_read_is_not_taken_for_a_damaged_file(store: ReportStore) -> None:
    # Every read of this file fails, with a number: a loopback device has no speed.
    unreadable = Path("/sys/class/net/lo/speed")
    try:
        unreadable.read_bytes()
    except OSError as error:
        reason = error.strerror or ""
    else:
        pytest.skip("no file is known here of which every read fails")
    path = publish_version(store, 1).path
    path.unlink()
    path.symlink_to(unreadable)

    for use in (
        lambda: store.read(VERSIONS, DAY),
        lambda: store.describe(VERSIONS, DAY),
        lambda: publish_version(store, 2),
    ):
        with pytest.raises(ReportStoreError, match=reason):
            use()
    assert path.readlink() == unreadable


def test_a_folder_where_a_file_must_be_is_named(store: ReportStore) -> None:
    partition_file(store.root).mkdir(parents=True)

    for ask in (store.read, store.describe):
        with pytest.raises(ReportStoreError, match=r"Can't read .*data\.parquet: "):
            ask(VERSIONS, DAY)
    with pytest.raises(ReportStoreError, match=r"Can't read .*data\.parquet: "):
        publish_version(store, 1)


def test_a_page_has_one_writer_at_a_time(store: ReportStore) -> None:
    hasty = ReportStore(store.root, lock_timeout=dt.timedelta(milliseconds=50))
    with (
        AtomicFiles(store.root).locked(store.root / "latest.html"),
        pytest.raises(LockHeldError, match=r"has held .*latest.html.* for 0 s"),
    ):
        hasty.write_atomically("latest.html", b"")

    assert hasty.write_atomically("latest.html", b"").read_bytes() == b""


@pytest.mark.parametrize("what", ["rows", "instants"])
def test_what_does_not_read_back_is_not_published(
    store: ReportStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    publish_version(store, 1)

    def lie(dataset: object, stamped: pa.Table) -> pa.Buffer:
        if what == "rows":
            return encode(VERSIONS, stamped.slice(1))
        other = stamped.schema.metadata | {b"extracted_at": NOON.isoformat().encode()}
        return encode(VERSIONS, stamped.replace_schema_metadata(other))

    monkeypatch.setattr(report_store, "encode", lie)
    with pytest.raises(ReportStoreError, match="does not read back as it was written"):
        publish_version(store, 2)

    assert published_version(store) == 1
    assert nothing_is_staged(store)
