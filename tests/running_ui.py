"""`flakelag ui` in a process of its own: starting it, asking it, stopping it.

Belongs here: what tests of the command and of the browser share. Does not belong here: what it
should do.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as refused:
            told = {"errors": refused.read().decode()}
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
