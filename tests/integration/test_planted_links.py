"""As root, in folders of another account: no link that it planted leads us to a file of root's."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from assets.publishing.interfaces import OutsideFailure
from assets.publishing.layout import (
    ALERTS,
    EXTRACTS,
    LATEST_PAGE,
    LOCKS,
    MANIFEST,
    OWN_FOLDER,
    STAGED_EXTRACTS,
    STAGING,
    file_of,
    partition_of,
    record_of,
)
from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.embedded.account import ServerAccount
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance import InstanceUnusableError, prepare_instance
from pipelines.settings import Settings
from pipelines.store.report_store import ReportStore
from tests.integration.store_writer import DAY, VERSIONS, publish_version, stage_extract

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")

SECRET = "root's secret\nwhich is nobody else's\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Roots:
    """A folder and a file of root's, which nobody else may enter or read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "root's"
        self.folder.mkdir(mode=0o700)
        self.file = self.folder / "secret"
        self.file.write_text(SECRET)
        self.file.chmod(0o600)
        self._before = self._state()

    def _state(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in [self.folder, *sorted(self.folder.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((path.name, status.st_mode, status.st_uid, status.st_gid, content))
        return found

    def assert_untouched(self) -> None:
        assert self._state() == self._before

    def tempt(self, place: Path, owner: int) -> None:
        """Puts a link to the file, or to the folder, in a place, as another account would."""
        target = self.folder if place.is_dir() else self.file
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        os.chown(place, owner, owner, follow_symlinks=False)


@pytest.fixture
def roots(folder: Path) -> Roots:
    return Roots(folder)


def give(folder: Path, owner: int) -> None:
    """Gives a folder and what is in it to an account."""
    ServerAccount(owner, owner).own(folder)


def killed(server: EmbeddedPostgres) -> None:
    """Kills a server, as the restart of a machine does."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    while server.pid is not None:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def attempt(server: EmbeddedPostgres) -> str:
    """Starts and stops a server; what it says if it can't."""
    try:
        server.start()
        server.stop()
    except OutsideFailure as failure:
        return str(failure)
    return ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("postmaster.pid", "link"),
        ("postmaster.pid", "hard link"),
        ("postmaster.pid", "pipe"),
        ("PG_VERSION", "link"),
        (".s.PGSQL.5432.lock", "link"),
    ],
)
def test_in_the_cluster_of_the_server_s_account(
    folder: Path, roots: Roots, name: str, kind: str
) -> None:
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    server.start()
    owner = (server.data_dir / "cluster").stat().st_uid
    assert owner != 0
    killed(server)
    place = server.data_dir / "cluster" / name
    if kind == "link":
        roots.tempt(place, owner)
    elif kind == "hard link":
        place.unlink(missing_ok=True)
        place.hardlink_to(roots.file)
    else:
        place.unlink(missing_ok=True)
        os.mkfifo(place)
        os.chown(place, owner, owner)

    said = attempt(EmbeddedPostgres(folder / "pg", settings={"fsync": "off"}))

    assert "root's secret" not in said
    if name != ".s.PGSQL.5432.lock":
        assert f"{place}: " in said
        assert said.endswith("is not followed: remove it.")
    roots.assert_untouched()
    server.stop()


def test_a_socket_s_folder_that_the_server_s_account_named(folder: Path, roots: Roots) -> None:
    theirs = roots.folder / ".s.PGSQL.5432.lock"
    theirs.write_text("of another server")
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    server.start()
    killed(server)
    pid_file = server.data_dir / "cluster" / "postmaster.pid"
    lines = ["1", *["x"] * 3, str(roots.folder), "", ""]
    pid_file.write_text("\n".join(lines))

    attempt(EmbeddedPostgres(folder / "pg", settings={"fsync": "off"}))

    assert theirs.read_text() == "of another server"
    server.stop()


@pytest.mark.parametrize(
    "name",
    ["users.lock", "start.lock", "server.lock", "server.log", "cluster", "cluster.partial-1"],
)
def test_in_a_data_folder_of_somebody_else(folder: Path, roots: Roots, name: str) -> None:
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    server.start()
    owner = (server.data_dir / "cluster").stat().st_uid
    server.stop()
    give(server.data_dir, owner)
    roots.tempt(server.data_dir / name, owner)

    said = attempt(EmbeddedPostgres(folder / "pg", settings={"fsync": "off"}))

    assert "root's secret" not in said
    if name != "cluster.partial-1":
        assert f"Can't use {server.data_dir / name}" in said
    roots.assert_untouched()


def test_what_root_leaves_in_somebody_s_folder_is_theirs(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    server.start()
    owner = (server.data_dir / "cluster").stat().st_uid
    server.stop()
    give(server.data_dir, owner)
    for name in ("users.lock", "start.lock", "server.lock", "server.log"):
        (server.data_dir / name).unlink()

    assert attempt(EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})) == ""

    assert {path.stat().st_uid for path in server.data_dir.iterdir()} == {owner}


STORE_PLACES = [
    OWN_FOLDER,
    LOCKS,
    STAGING,
    STAGED_EXTRACTS,
    EXTRACTS,
    MANIFEST,
    ALERTS,
    VERSIONS.name,
    partition_of(VERSIONS.name, DAY),
    file_of(VERSIONS.name, DAY),
    record_of(VERSIONS.name, DAY),
    f"{ALERTS}/failures.json",
    "pages",
    "pages/1.html",
    LATEST_PAGE,
    f"{STAGING}/versions%2Fdate={DAY}%2Fdata.parquet",
    f"{STAGING}/{LATEST_PAGE}",
    f"{LOCKS}/versions%2Fdate={DAY}%2Fdata.parquet.lock",
    f"{LOCKS}/{LATEST_PAGE}.lock",
    f"{STAGED_EXTRACTS}/left",
    f"{EXTRACTS}/20260101T000000.000000Z-left",
    f"{EXTRACTS}/20260101T000000.000000Z-left/lock",
]


@pytest.mark.parametrize("place", STORE_PLACES)
def test_in_a_reports_folder_of_somebody_else(folder: Path, roots: Roots, place: str) -> None:
    somebody = 65534
    store = ReportStore(folder / "reports")
    alerts = AlertStateFile(store.root, "failures")

    def write(version: int) -> list[str]:
        said = []
        for each in (
            lambda: publish_version(store, version),
            lambda: stage_extract(store, version),
            lambda: store.write_atomically("pages/1.html", b"page"),
            lambda: store.write_atomically(LATEST_PAGE, b"page"),
            lambda: alerts.save(AlertState(position=version)),
        ):
            try:
                each()
            except OutsideFailure as failure:
                said.append(str(failure))
        return said

    assert write(1) == []
    (store.root / EXTRACTS / "20260101T000000.000000Z-left").mkdir()
    give(store.root, somebody)
    roots.tempt(store.root / place, somebody)

    said = write(2)

    roots.assert_untouched()
    assert all("is not followed: remove it." in each for each in said), said
    assert "root's secret" not in "".join(said)


@pytest.mark.parametrize("name", ["dagster.yaml", ".dagster.yaml.{pid}"])
def test_in_dagster_s_folder_of_somebody_else(folder: Path, roots: Roots, name: str) -> None:
    home = folder / "home"
    home.mkdir()
    roots.tempt(home / name.format(pid=os.getpid()), 65534)
    give(home, 65534)
    settings = Settings(flakelag_var_dir=folder / "var", dagster_home=home)

    with suppress(InstanceUnusableError):
        prepare_instance(settings)

    roots.assert_untouched()


def test_giving_a_folder_away_gives_no_more(folder: Path, roots: Roots) -> None:
    given = folder / "given"
    (given / "inner").mkdir(parents=True)
    (given / "inner" / "file").touch()
    (given / "to a file").symlink_to(roots.file)
    (given / "to a folder").symlink_to(roots.folder)
    (given / "hard").hardlink_to(roots.file)

    give(given, 65534)

    assert roots.file.stat().st_uid == 0
    roots.assert_untouched()
    assert (given / "inner" / "file").stat().st_uid == 65534


def test_opening_the_programs_opens_nothing_else(folder: Path, roots: Roots) -> None:
    programs = folder / "programs"
    (programs / "bin").mkdir(parents=True)
    (programs / "bin" / "postgres").touch(0o700)
    (programs / "bin" / "link").symlink_to(roots.file)
    (programs / "more").symlink_to(roots.folder)

    ServerAccount(65534, 65534).open_for_reading(programs)

    roots.assert_untouched()
    assert stat.S_IMODE((programs / "bin" / "postgres").stat().st_mode) == 0o705
