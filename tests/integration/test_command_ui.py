"""`flakelag ui`: both programs start, serve what they should, and are gone afterwards."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.integration.pipeline import today
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.webservers import REPOSITORY, free_port, is_ready, settings_environment


@dataclass
class RunningUI:
    """A `flakelag ui` of its own folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def home(self) -> Path:
        return self.folder / "dagster"

    def wait_until(self, holds: Callable[[], bool]) -> None:
        wait_until(holds, self.process, said=lambda: self.output)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: is_ready(self.url))

    def stop(self, number: signal.Signals) -> int:
        """Signals the command as a terminal does: its process group, which is its own alone."""
        os.killpg(self.process.pid, number)
        return self.process.wait(PATIENCE_SECONDS)

    def ask(self, query: str, **variables: Any) -> Any:
        """What Dagster's GraphQL answers."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            told = json.load(answer)
        assert "errors" not in told, told
        return told["data"]

    def launch(self) -> str:
        """Asks for a run of today; how that was answered."""
        answer = self.ask(
            """
            mutation ($run: ExecutionParams!) {
                launchRun(executionParams: $run) { __typename }
            }
            """,
            run={
                "selector": {
                    "repositoryLocationName": "flakelag",
                    "repositoryName": "__repository__",
                    "jobName": "fleet_status",
                },
                "mode": "default",
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": today()}]},
            },
        )
        return str(answer["launchRun"]["__typename"])

    def processes(self) -> dict[int, str]:
        """The command line, by process id, of whatever has the environment of this command."""
        mark = f"DAGSTER_HOME={self.home}".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            # It may end while it is looked at.
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        return found


@contextmanager
def running_ui(
    folder: Path, *arguments: str, fleet_url: str = "postgresql://nobody@127.0.0.1:9/fleet"
) -> Iterator[RunningUI]:
    port = free_port()
    environment = settings_environment(
        # Started in another folder, as an installed command may be.
        PYTHONPATH=str(REPOSITORY),
        FLEET_DATABASE_URL=fleet_url,
        REPORTS_DIR=str(folder / "reports"),
        FLAKELAG_VAR_DIR=str(folder / "var"),
        DAGSTER_HOME=str(folder / "dagster"),
    )
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port), *arguments]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ui = RunningUI(process, folder, f"http://127.0.0.1:{port}")
    try:
        yield ui
    finally:
        for left in ui.processes():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        process.wait()


def test_ctrl_c_stops_both_and_a_run_that_they_started(tmp_path: Path) -> None:
    # Takes connections and never says a word, so that the run waits, and is asked to end meanwhile.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fleet_url = f"postgresql://nobody@127.0.0.1:{port}/fleet?connect_timeout=5"
        with running_ui(tmp_path, fleet_url=fleet_url) as ui:
            ui.wait_until_ready()
            assert f"The Dagster UI is at {ui.url}" in ui.output
            assert ui.launch() == "LaunchRunSuccess"
            ui.wait_until(lambda: bool(select.select([silent], [], [], 0)[0]))
            assert ui.stop(signal.SIGINT) == 0
            assert ui.processes() == {}
    with dg.DagsterInstance.from_config(str(ui.home)) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.FAILURE}


def test_read_only_lets_nobody_start_a_run_or_stop_a_schedule(tmp_path: Path) -> None:
    with running_ui(tmp_path, "--read-only") as ui:
        ui.wait_until_ready()
        assert ui.launch() == "UnauthorizedError"
        answer = ui.ask(
            """
            mutation ($schedule: ScheduleSelector!) {
                resetSchedule(scheduleSelector: $schedule) { __typename }
            }
            """,
            schedule={
                "repositoryLocationName": "flakelag",
                "repositoryName": "__repository__",
                "scheduleName": "refresh_today",
            },
        )
        assert answer["resetSchedule"]["__typename"] == "UnauthorizedError"

        [daemon] = [pid for pid, line in ui.processes().items() if "dagster-daemon" in line]
        os.kill(daemon, signal.SIGKILL)
        assert ui.process.wait(PATIENCE_SECONDS) == 1
        assert "Error: The daemon ended by itself" in ui.output
        assert ui.processes() == {}


def test_sigterm_stops_both_while_they_load(tmp_path: Path) -> None:
    with running_ui(tmp_path) as ui:
        ui.wait_until(lambda: len(ui.processes()) >= 3)
        assert ui.stop(signal.SIGTERM) == 0
        assert ui.processes() == {}


def test_a_port_that_is_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port)],
            env=settings_environment(FLAKELAG_VAR_DIR=str(tmp_path / "var")),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: Port {port} of 127.0.0.1 is in use")
    assert "--port" in told.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_said_at_once(host: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "ui", "--host", host],
        env=settings_environment(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: Can't listen on port 3000 of {host}: ")
