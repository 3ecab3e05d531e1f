"""Who may read what is published, and who may touch the rest, whatever the umask."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.publishing.layout import ANALYSTS_FILE, LATEST_PAGE, METRICS_FILE, OWN_FOLDER
from pipelines.instance import prepare_instance
from pipelines.settings import Settings
from pipelines.store.report_store import ReportStore
from pipelines.wiring import report_store
from tests.integration.command_process import flakelag
from tests.integration.processes import exit_codes
from tests.integration.store_writer import (
    OTHER_FILES,
    flock_is_refused,
    publish_everything_with_umask,
    publish_version,
    read_everything_as,
    stage_extract,
)

IS_ROOT = os.geteuid() == 0
OUTSIDE_USER = 65534

needs_another_user = pytest.mark.skipif(not IS_ROOT, reason="only root can be somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def published(root: Path) -> list[Path]:
    """All that readers see: files and folders, the root among them."""
    found = [root, *root.rglob("*")]
    return [path for path in found if OWN_FOLDER not in path.parts]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="{:03o}".format)
@pytest.mark.parametrize(
    ("files", "folders"), [(0o644, 0o755), (0o640, 0o750), (0o600, 0o700)], ids="{:04o}".format
)
def test_what_is_published_has_the_mode_of_the_setting(
    folder: Path, umask: int, files: int, folders: int
) -> None:
    root = folder / "made" / "reports"

    assert exit_codes(publish_everything_with_umask, (root, umask, files)) == [0]

    assert len(published(root)) > len(OTHER_FILES) + 4
    for path in [root.parent, *published(root)]:
        assert mode(path) == (folders if path.is_dir() else files), path
    assert mode(root / OWN_FOLDER) == 0o700


@needs_another_user
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="{:03o}".format)
def test_another_user_reads_all_that_is_published_and_holds_no_lock(
    folder: Path, umask: int
) -> None:
    root = folder / "reports"
    exit_codes(publish_everything_with_umask, (root, umask, 0o644))

    assert exit_codes(read_everything_as, (root, OUTSIDE_USER)) == [0]

    locks = [path for path in (root / OWN_FOLDER).rglob("*lock*") if path.is_file()]
    assert len(locks) > 2
    assert exit_codes(flock_is_refused, (locks, OUTSIDE_USER)) == [0]


def test_what_an_earlier_version_left_is_mended(folder: Path) -> None:
    store = ReportStore(folder / "reports")
    publish_version(store, 1)
    stage_extract(store, 1)
    for path in [*store.root.rglob("*")]:
        path.chmod(0o755 if OWN_FOLDER in path.parts else 0o700)

    publish_version(store, 1)

    assert mode(store.root / OWN_FOLDER) == 0o700
    for path in published(store.root)[1:]:
        assert mode(path) == (0o755 if path.is_dir() else 0o644), path


def test_the_setting_reaches_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("REPORTS_DIR", str(folder / "reports"))
    monkeypatch.setenv("PUBLISHED_FILES_MODE", "0640")

    with dg.build_resources({"reports": report_store}) as resources:
        publication = publish_version(resources.reports, 1)

    assert mode(publication.path) == 0o640


def test_a_group_that_was_given_the_folder_keeps_it(folder: Path) -> None:
    root = folder / "reports"
    root.mkdir()
    root.chmod(0o2750)

    publish_version(ReportStore(root, files_mode=0o640), 1)

    assert mode(root) == 0o2750
    assert mode(root / "versions") == 0o2750


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="{:03o}".format)
def test_dagster_s_folder_is_nobody_else_s(folder: Path, umask: int) -> None:
    settings = Settings(flakelag_var_dir=folder / "var", dagster_home=None)
    (folder / "var" / "dagster").mkdir(parents=True, mode=0o755)
    elsewhere = Settings(flakelag_var_dir=folder / "var", dagster_home=folder / "new" / "home")
    before = os.umask(umask)
    try:
        prepare_instance(settings)
        prepare_instance(elsewhere)
    finally:
        os.umask(before)

    for path in (folder / "var", settings.instance_dir, elsewhere.instance_dir):
        assert mode(path) == 0o700, path


def test_a_folder_that_serves_others_too_stays_as_it_is(folder: Path) -> None:
    theirs = folder / "shared"
    theirs.mkdir()
    (theirs / "something of theirs").touch()
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    before = [mode(theirs), mode(folder / "home")]

    prepare_instance(Settings(flakelag_var_dir=theirs, dagster_home=None))
    prepare_instance(Settings(flakelag_var_dir=theirs, dagster_home=folder / "home"))

    assert [mode(theirs), mode(folder / "home")] == before
    assert mode(theirs / "dagster") == 0o700


@pytest.mark.slow
def test_a_report_of_a_private_umask_can_be_read_and_not_be_held_up(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        ended = flakelag(folder, "report")
    finally:
        os.umask(before)
    assert ended.returncode == 0, ended.stderr

    root = folder / "reports"
    for name in (LATEST_PAGE, METRICS_FILE, ANALYSTS_FILE):
        assert mode(root / name) == 0o644
    for path in published(root):
        assert mode(path) == (0o755 if path.is_dir() else 0o644), path
    var = folder / "var"
    assert mode(var) in ((0o710,) if IS_ROOT else (0o700,))
    assert mode(var / "dagster") == 0o700
    if IS_ROOT:
        assert exit_codes(read_everything_as, (root, OUTSIDE_USER)) == [0]
        locks = [path for path in var.rglob("*lock*") if path.is_file()]
        assert {path.name for path in locks} >= {"start.lock", "users.lock", "server.lock"}
        assert exit_codes(flock_is_refused, (locks, OUTSIDE_USER)) == [0]
