"""The worker of a run ends when its run does, even where it hears nothing; with a real daemon.

A worker that is stopped (SIGSTOP) stands for one that waits in C code: neither hears a signal.
"""

import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.instance import prepare_instance
from pipelines.settings import Settings
from tests.running_ui import RunningUI, running_ui

RUNS = "{ runsOrError { ... on Runs { results { id status startTime } } } }"
EVENTS = """
    query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection {
        events { ... on MessageEvent { message } } } } }
"""
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"


class SilentFleet:
    """Takes connections and never says a word."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._taken: list[socket.socket] = []

    @property
    def url(self) -> str:
        port = self._server.getsockname()[1]
        return f"postgresql://nobody@127.0.0.1:{port}/fleet?connect_timeout=600"

    def somebody_waits(self) -> bool:
        """Whether somebody has connected since this was last asked."""
        if not select.select([self._server], [], [], 0)[0]:
            return False
        self._taken.append(self._server.accept()[0])
        return True

    def close(self) -> None:
        for each in self._taken:
            each.close()


@pytest.fixture
def silent_fleet() -> Iterator[SilentFleet]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fleet = SilentFleet(server)
        yield fleet
        fleet.close()


def configure(folder: Path, **changed: tuple[int, int]) -> None:
    """Makes the daemon's `dagster.yaml`, with other values of the same settings."""
    configuration = prepare_instance(Settings(dagster_home=folder / "dagster")) / "dagster.yaml"
    text = configuration.read_text()
    for name, (ours, here) in changed.items():
        assert f"{name}: {ours}\n" in text
        text = text.replace(f"{name}: {ours}\n", f"{name}: {here}\n")
    configuration.write_text(text)


def status(ui: RunningUI, run: str) -> str:
    runs: list[dict[str, Any]] = ui.ask(RUNS)["runsOrError"]["results"]
    return str(next(each["status"] for each in runs if each["id"] == run))


def messages(ui: RunningUI, run: str) -> str:
    return "\n".join(each["message"] for each in ui.ask(EVENTS, run=run)["logsForRun"]["events"])


def workers(ui: RunningUI, run: str) -> list[int]:
    return [pid for pid, line in ui.processes().items() if "execute_run" in line and run in line]


def launch_and_stop_worker(ui: RunningUI, fleet: SilentFleet) -> str:
    """Launches a run, and stops its worker while it waits for the fleet; the run's id.

    Not earlier: it would keep what it had just locked in Dagster's storage.
    """
    before = {each["id"] for each in ui.ask(RUNS)["runsOrError"]["results"]}
    assert ui.launch() == "LaunchRunSuccess"
    [run] = {each["id"] for each in ui.ask(RUNS)["runsOrError"]["results"]} - before
    ui.wait_until(fleet.somebody_waits)
    [worker] = workers(ui, run)
    os.kill(worker, signal.SIGSTOP)
    return str(run)


def test_a_run_that_monitoring_fails_leaves_no_worker(
    tmp_path: Path, silent_fleet: SilentFleet
) -> None:
    configure(tmp_path, poll_interval_seconds=(30, 1), max_runtime_seconds=(3600, 3))
    with running_ui(tmp_path, fleet_url=silent_fleet.url) as ui:
        ui.wait_until_ready()
        run = launch_and_stop_worker(ui, silent_fleet)
        ui.wait_until(lambda: status(ui, run) == "FAILURE")

        assert workers(ui, run) == []
        assert "Exceeded maximum runtime" in messages(ui, run)


def test_a_worker_ends_with_its_run_and_a_run_with_its_worker(
    tmp_path: Path, silent_fleet: SilentFleet
) -> None:
    configure(tmp_path, poll_interval_seconds=(30, 1), max_retries=(2, 0))
    with running_ui(tmp_path, fleet_url=silent_fleet.url) as ui:
        ui.wait_until_ready()

        terminated = launch_and_stop_worker(ui, silent_fleet)
        answer = ui.ask(TERMINATE, run=terminated)
        assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
        assert workers(ui, terminated) == []
        assert status(ui, terminated) == "CANCELED"
        assert "Its worker was killed" in messages(ui, terminated)

        killed = launch_and_stop_worker(ui, silent_fleet)
        [worker] = workers(ui, killed)
        os.kill(worker, signal.SIGKILL)
        ui.wait_until(lambda: status(ui, killed) == "FAILURE")
        assert "SIGKILL" in messages(ui, killed)

        left = launch_and_stop_worker(ui, silent_fleet)
        assert ui.stop(signal.SIGINT) == 0
        assert ui.processes() == {}

    # Nobody could record its end; it is not taken for a run that is under way.
    with running_ui(tmp_path, fleet_url=silent_fleet.url) as ui:
        ui.wait_until_ready()
        ui.wait_until(lambda: status(ui, left) == "FAILURE")
        assert "There is no process of this run." in messages(ui, left)
