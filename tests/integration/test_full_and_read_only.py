"""A disk that is full, or read-only, under each place that something is written to.

Each says which file, what is wrong and what to do; what was there stays, and once there is room the
next try succeeds.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from assets.analysts import analyst_database
from assets.publishing.interfaces import OutsideFailure
from assets.publishing.layout import ANALYSTS_FILE, LATEST_PAGE, METRICS_FILE, OWN_FOLDER, page_of
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance import InstanceUnusableError
from pipelines.instance.opening import opened_instance
from pipelines.settings import Settings
from pipelines.store.report_store import ReportStore
from tests.integration.filesystems import (
    empty,
    fill,
    make_read_only,
    make_writable,
    small_filesystem,
)
from tests.integration.store_writer import (
    DAY,
    VERSIONS,
    publish_version,
    stage_extract,
    whole_version,
)

FULL = r"No space left on device\. Free some space there\."
READ_ONLY = r"Read-only file system\. Remount that filesystem writable, or set {} to a folder"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small filesystem of the test's own, below a short path."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    with small_filesystem(folder):
        yield folder
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Writer:
    """One that writes below a folder.

    Attributes:
        write: a version; the first makes what it needs.
        setting: that says where.
    """

    write: Callable[[Path, int], object]
    setting: str = "REPORTS_DIR"


def other_file(name: str) -> Writer:
    return Writer(
        lambda folder, number: ReportStore(folder).write_atomically(name, bytes([number]))
    )


def save_alert_state(folder: Path, number: int) -> None:
    file = AlertStateFile(folder, "failures")
    with file.exclusive():
        file.save(AlertState(position=number))


STORE_WRITERS = {
    "partition": Writer(lambda folder, number: publish_version(ReportStore(folder), number)),
    "extract": Writer(lambda folder, number: stage_extract(ReportStore(folder), number)),
    "page": other_file(page_of(DAY)),
    "latest page": other_file(LATEST_PAGE),
    "metrics": other_file(METRICS_FILE),
    "analysts' file": other_file(ANALYSTS_FILE),
    "alert state": Writer(save_alert_state),
}


def contents(folder: Path) -> dict[str, bytes]:
    """What readers see, and what alerts were told; neither locks nor what fills the disk."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "filler" and not path.name.endswith("lock")
    }


@pytest.mark.parametrize("name", STORE_WRITERS)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_a_full_disk_in_the_store(disk: Path, name: str, is_first: bool) -> None:
    writer = STORE_WRITERS[name]
    root = disk / "reports"
    if not is_first:
        writer.write(root, 1)
    before = contents(root)
    fill(disk)

    with pytest.raises(OutsideFailure, match=rf"Can't write {root}/\S+: {FULL}") as caught:
        writer.write(root, 2)

    assert not caught.value.retryable
    assert contents(root) == before
    empty(disk)
    writer.write(root, 2)
    assert contents(root) != before


@pytest.mark.parametrize("name", STORE_WRITERS)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_a_read_only_disk_in_the_store(disk: Path, name: str, is_first: bool) -> None:
    writer = STORE_WRITERS[name]
    root = disk / "reports"
    if not is_first:
        writer.write(root, 1)
    before = contents(root)
    make_read_only(disk)

    said = rf"Can't write {root}\S*: {READ_ONLY.format('REPORTS_DIR')}"
    with pytest.raises(OutsideFailure, match=said) as caught:
        writer.write(root, 2)

    assert not caught.value.retryable
    assert contents(root) == before
    make_writable(disk)
    writer.write(root, 2)
    assert contents(root) != before


def test_all_can_be_read_from_a_read_only_disk(disk: Path) -> None:
    store = ReportStore(disk / "reports")
    publish_version(store, 1)
    stage_extract(store, 1)
    make_read_only(disk)

    assert whole_version(store.read(VERSIONS, DAY)) == 1
    extract = store.newest_extract()
    assert extract is not None
    assert extract.table(VERSIONS.name).num_rows > 0
    assert store.extract_for_run(["run-1"]).run_id == "run-1"
    assert AlertStateFile(store.root, "failures").load() == AlertState()


def test_an_extract_that_fills_the_disk_on_its_way_leaves_none_of_it(disk: Path) -> None:
    store = ReportStore(disk)
    stage_extract(store, 1)
    fill(disk)
    with (disk / "filler").open("r+b") as filler:
        filler.truncate((disk / "filler").stat().st_size - 4096)

    with pytest.raises(OutsideFailure, match=FULL):
        stage_extract(store, 2)

    staged = [path for path in (disk / OWN_FOLDER / "staging").rglob("*") if path.is_file()]
    assert staged == []
    assert store.extract_for_run(["run-2"]).run_id == "run-1"


def test_the_analysts_file_is_made_where_there_is_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    fill(disk)
    with pytest.raises(OutsideFailure, match=rf"(?s){disk}.*Free some space there, or set TMPDIR"):
        analyst_database()

    empty(disk)
    make_read_only(disk)
    with pytest.raises(OutsideFailure, match=rf"(?s){disk}.*set TMPDIR"):
        analyst_database()


def open_instance(folder: Path) -> None:
    settings = Settings(flakelag_var_dir=folder / "var", dagster_home=None)
    with opened_instance(settings) as instance:
        instance.add_dynamic_partitions("any", ["any"])
        assert instance.get_runs(limit=1) == []
        assert isinstance(instance, dg.DagsterInstance)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_dagster_s_folder(disk: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    if not is_first:
        open_instance(disk)
        shutil.rmtree(disk / "var" / "dagster" / "history")

    fill(disk)
    with pytest.raises(InstanceUnusableError, match=r"var.*Free some space there\."):
        open_instance(disk)

    empty(disk)
    make_read_only(disk)
    with pytest.raises(InstanceUnusableError, match=r"var.*Remount that filesystem writable"):
        open_instance(disk)

    make_writable(disk)
    open_instance(disk)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_the_embedded_server_s_folder(disk: Path, is_first: bool) -> None:
    server = EmbeddedPostgres(disk / "pg", settings={"fsync": "off", "min_wal_size": "32MB"})
    if not is_first:
        server.start()
        server.stop()

    fill(disk)
    with pytest.raises(OutsideFailure, match=rf"(?s){disk}/pg.*Free some space there\.") as caught:
        server.start()
    assert not caught.value.retryable
    server.stop()

    empty(disk)
    make_read_only(disk)
    said = rf"(?s){disk}/pg.*" + READ_ONLY.format("FLAKELAG_VAR_DIR")
    with pytest.raises(OutsideFailure, match=said):
        server.start()
    server.stop()

    make_writable(disk)
    server.start()
    server.stop()
