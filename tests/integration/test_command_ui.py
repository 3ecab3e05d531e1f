"""`flakelag ui`: both programs start, serve what they should, and are gone afterwards."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_ui import running_ui
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.webservers import REPOSITORY, settings_environment


def test_ctrl_c_stops_both_and_a_run_that_they_started(tmp_path: Path) -> None:
    # Takes connections and never says a word, so that the run waits.
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

        [daemon] = [pid for pid, line in ui.processes().items() if "cli daemon" in line]
        os.kill(daemon, signal.SIGKILL)
        assert ui.process.wait(PATIENCE_SECONDS) == 1
        assert "Error: The daemon ended by itself" in ui.output
        assert ui.processes() == {}


def test_sigterm_stops_both_while_they_load(tmp_path: Path) -> None:
    with running_ui(tmp_path) as ui:
        ui.wait_until(lambda: len(ui.processes()) >= 3)
        assert ui.stop(signal.SIGTERM) == 0
        assert ui.processes() == {}


def test_nothing_is_left_of_a_command_that_was_killed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fleet_url = f"postgresql://nobody@127.0.0.1:{port}/fleet?connect_timeout=5"
        with running_ui(tmp_path, fleet_url=fleet_url) as ui:
            ui.wait_until_ready()
            assert ui.launch() == "LaunchRunSuccess"
            # A worker of a run is there, and waits.
            wait_until(lambda: bool(select.select([silent], [], [], 0)[0]), ui.process)

            os.kill(ui.process.pid, signal.SIGKILL)

            wait_until(lambda: ui.processes() == {})


def test_nothing_is_left_of_a_command_that_was_killed_while_it_starts(tmp_path: Path) -> None:
    with running_ui(tmp_path) as ui:
        ui.wait_until(lambda: len(ui.processes()) >= 3)
        os.kill(ui.process.pid, signal.SIGKILL)
        wait_until(lambda: ui.processes() == {})


def test_a_port_that_is_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port)],
            env=settings_environment(
                PYTHONPATH=str(REPOSITORY), FLAKELAG_VAR_DIR=str(tmp_path / "var")
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: Port {port} of 127.0.0.1 is in use")
    assert "--port" in told.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_said_at_once(tmp_path: Path, host: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "ui", "--host", host],
        env=settings_environment(PYTHONPATH=str(REPOSITORY)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: Can't listen on port 3000 of {host}: ")
