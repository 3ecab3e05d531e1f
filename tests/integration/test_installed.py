"""An installed flakelag, in a folder that `flakelag init` made: no checkout is anywhere near."""

import subprocess
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.publishing.layout import published_files
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.env_file import read_env_file
from tests.integration.command_process import environment, running
from tests.integration.installed import ROOT, build_wheel, copy_of_the_source, install
from tests.running_ui import RunningUI
from tests.waiting import wait_until
from tests.webservers import free_port, is_ready

MARK = "As it is installed."

# What lies in the folder by chance: it says so when it is imported, and then is of no use.
DECOY = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
raise ImportError("another program's")
"""


DESCRIPTIONS = """
    { repositoriesOrError { ... on RepositoryConnection { nodes { schedules { description } } } } }
"""


@dataclass(frozen=True)
class Installation:
    wheel: Path
    programs: Path

    def run(self, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.programs / "flakelag"), *arguments],
            cwd=folder,
            env=environment(folder / "home", PYTHONPATH=""),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installed")
    source = copy_of_the_source(folder / "source")
    schedules = source / "pipelines" / "schedules.py"
    text = schedules.read_text()
    described = 'description="Publishes today as of now'
    assert described in text
    schedules.write_text(text.replace(described, f'description="{MARK} Publishes today as of now'))
    wheel = build_wheel(source, folder / "wheels")
    return Installation(wheel, install(wheel, folder / "venv"))


def test_the_wheel_has_every_file_of_the_packages(installation: Installation) -> None:
    with zipfile.ZipFile(installation.wheel) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == {
        path.relative_to(ROOT).as_posix()
        for package in ("assets", "pipelines")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_init_makes_a_folder_in_which_the_check_passes(
    installation: Installation, tmp_path: Path
) -> None:
    site = tmp_path / "a site"

    made = installation.run(tmp_path, "init", "a site")

    assert made.returncode == 0, made.stderr
    modes = {
        str(path.relative_to(site)): oct(path.stat().st_mode & 0o777) for path in site.rglob("*")
    }
    assert modes == {
        ".env": "0o600",
        "workspace.yaml": "0o644",
        "var": "0o700",
        "var/dagster": "0o700",
        "var/dagster/dagster.yaml": "0o600",
    }
    for name in (".env", "workspace.yaml", "var/dagster/dagster.yaml"):
        assert f"made   {site / name}\n" in made.stdout
    checked = installation.run(site, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "fault" not in checked.stdout


def test_init_leaves_what_is_there(installation: Installation, tmp_path: Path) -> None:
    site = tmp_path / "site"
    installation.run(tmp_path, "init", "site")
    (site / "workspace.yaml").unlink()
    (site / ".env").write_text("REPORTS_DIR=elsewhere\n")
    (site / "var" / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    again = installation.run(tmp_path, "init", "site")

    assert again.returncode == 0, again.stderr
    assert f"stays  {site / '.env'}\n" in again.stdout
    assert f"made   {site / 'workspace.yaml'}\n" in again.stdout
    assert (site / ".env").read_text() == "REPORTS_DIR=elsewhere\n"
    own = site / "var" / "dagster" / "dagster.yaml"
    assert own.read_text() == "telemetry: {enabled: false}\n"
    assert f"stays  {own}\n" in again.stdout


def test_init_says_what_is_wrong_with_the_settings_that_are_there(
    installation: Installation, tmp_path: Path
) -> None:
    installation.run(tmp_path, "init", "site")
    with (tmp_path / "site" / ".env").open("a") as settings:
        settings.write("REPORT_DIR=elsewhere\n")

    refused = installation.run(tmp_path, "init", "site")

    assert refused.returncode == 1
    assert "Is REPORTS_DIR meant?" in refused.stderr


def test_init_says_what_is_in_its_way(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused = installation.run(tmp_path, "init", "file/below")

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: Can't write ")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "services",
    [
        pytest.param((("flakelag", "daemon"), ("flakelag", "webserver")), id="two_services"),
        pytest.param((("flakelag", "ui"),), id="ui"),
        # Which finds the workspace.yaml, and is told the rest.
        pytest.param((("dagster-daemon", "run"), ("flakelag", "webserver")), id="dagsters_own"),
    ],
)
def test_what_is_started_there_runs_the_installed_code(
    services: tuple[tuple[str, ...], ...],
    installation: Installation,
    demo_fleet_url: str,
    new_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    site = tmp_path / "site"
    installation.run(tmp_path, "init", "site")
    decoys = [site / package for package in ("assets", "pipelines")]
    for decoy in decoys:
        decoy.mkdir()
        (decoy / "__init__.py").write_text(DECOY)
    settings = site / ".env"
    text = settings.read_text()
    for name, value in (
        ("FLEET_DATABASE_URL", demo_fleet_url),
        ("HISTORY_DATABASE_URL", new_database()),
        ("DAGSTER_POSTGRES_URL", new_database()),
    ):
        assert f"\n#{name}=\n" in text
        text = text.replace(f"\n#{name}=\n", f"\n{name}={value}\n")
    settings.write_text(text)
    assert installation.run(site, "init", ".").returncode == 0
    told = {name: entry.value for name, entry in read_env_file(settings, {}).items()}
    told["DAGSTER_HOME"] = str(site / "var" / "dagster")
    port = free_port()
    log = tmp_path / "log"

    with ExitStack() as stack:
        for program, *arguments in services:
            given = told if program == "dagster-daemon" else {}
            if arguments[0] in ("webserver", "ui"):
                arguments += ["--port", str(port)]
            command = (str(installation.programs / program), *arguments)
            process = stack.enter_context(running(command, site, log, PYTHONPATH="", **given))
        ui = RunningUI(process, site, f"http://127.0.0.1:{port}")
        wait_until(lambda: is_ready(ui.url), process, said=log.read_text)
        assert MARK in str(ui.ask(DESCRIPTIONS)), log.read_text()
        assert ui.launch() == "LaunchRunSuccess"
        wait_until(lambda: _has_run(ui), process, said=log.read_text)

    assert not [decoy for decoy in decoys if (decoy / "imported").exists()]
    assert published_files(site / "reports", SYSTEM_DEPLOYMENT_STATUS.name)


def _has_run(ui: RunningUI) -> bool:
    answer = ui.ask("{ runsOrError { ... on Runs { results { status } } } }")
    statuses = {run["status"] for run in answer["runsOrError"]["results"]}
    assert "FAILURE" not in statuses
    return "SUCCESS" in statuses
