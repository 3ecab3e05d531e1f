"""Starts the worker of each run, and sees to it that the worker ends when its run does.

Dagster's own launcher has a worker asked to interrupt itself, and takes that for done. A worker
that waits in the C code of a driver does not hear it: its run is failed and tried again, while it
lives on, with its connection and its locks.

Belongs here: the lives of workers. Does not belong here: which run is launched, and when.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._config import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster._utils import get_run_crash_explanation
from typing_extensions import override

from pipelines.instance.opening import STORAGE_FAILURES, environment_of
from pipelines.instance.runs import COMMAND_TAG

_SECONDS_TO_HEAR = 10.0
"""How long a worker has, once it is asked to end, to record where it was."""

_POLL_SECONDS = 2.0
_UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
_logger = logging.getLogger(__name__)


class WorkerLauncher(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """Runs each run in a process beside the daemon, which `dagster.yaml` names as `run_launcher`.

    Workers are found by the id of their run, in the command line: on this machine, and of this
    user, as those that a daemon before this one has left.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data

    @property
    @override
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    @override
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    @override
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(inst_data)

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the worker, and a thread that waits for its end."""
        run = context.dagster_run
        if context.job_code_origin is None:
            raise dg.DagsterInvariantViolationError(f"Run {run.run_id} does not say its code.")
        # Without the instance: it may hold a password, and everybody can read a command line.
        said = serialize_value(ExecuteRunArgs(context.job_code_origin, run.run_id, None))
        command = [sys.executable, "-m", "dagster", "api", "execute_run", said]
        environment = environment_of(Path(self._instance.root_directory))
        worker = subprocess.Popen(command, env=os.environ | environment)
        self._instance.report_engine_event(
            f"Started the worker of this run, process {worker.pid}.", run, cls=type(self)
        )
        threading.Thread(target=self._watch, args=(worker, run.run_id), daemon=True).start()

    def _watch(self, worker: "subprocess.Popen[bytes]", run_id: str) -> None:
        """Waits for the end of a worker or of its run, whichever comes first."""
        while worker.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(_POLL_SECONDS)
            if worker.poll() is None and self._is_over(run_id):
                # It has only to close what it opened, unless somebody else said that it is over.
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(_SECONDS_TO_HEAR)
                _end(worker.pid, run_id)
                worker.wait()
        try:
            run = self._instance.get_run_by_id(run_id)
            # Whoever terminates a run says how it ended.
            if run is not None and run.status in _UNDER_WAY:
                said = get_run_crash_explanation("The worker of this run", worker.returncode)
                self._instance.report_run_failed(run, said)
        except STORAGE_FAILURES:
            # The daemon's monitoring says it when the storage is back.
            _logger.exception("Can't record the end of run %s.", run_id)

    def _is_over(self, run_id: str) -> bool:
        try:
            run = self._instance.get_run_by_id(run_id)
        except STORAGE_FAILURES:
            return False
        return run is None or run.is_finished

    @override
    def terminate(self, run_id: str) -> bool:
        """Ends the worker of a run, and returns when it has ended; False where there is none."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        pid = find_worker(run_id)
        if pid is None:
            return False
        _end(pid, run_id)
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            said = f"Its worker was killed: it did not end within {_SECONDS_TO_HEAR:.0f} seconds."
            self._instance.report_run_canceled(run, said)
        return True

    @property
    @override
    def supports_check_run_worker_health(self) -> bool:
        return True

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the worker of a run that is under way is still there."""
        # Commands run in their own process, and clear up after each other.
        if COMMAND_TAG in run.tags or find_worker(run.run_id) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "There is no process of this run.")


def find_worker(run_id: str) -> int | None:
    """The process id of the worker of a run; None where none is alive on this machine."""
    # Of our own user only: anybody may write anything into a command line.
    wanted = run_id.encode()
    for process in Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at.
        with suppress(OSError):
            if process.stat().st_uid == os.geteuid():
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                if b"execute_run" in arguments and any(wanted in each for each in arguments):
                    return int(process.name)
    return None


def _end(pid: int, run_id: str) -> None:
    """Asks a worker to end, kills it if it does not hear, and returns when it is gone."""
    for number, seconds in ((signal.SIGTERM, _SECONDS_TO_HEAR), (signal.SIGKILL, float("inf"))):
        deadline = time.monotonic() + seconds
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        while find_worker(run_id) == pid:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return
