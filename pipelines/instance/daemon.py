"""Dagster's daemon in this process, as its own command runs it.

Belongs here: putting Dagster's parts together as `dagster-daemon run` does. Does not belong here:
options and settings.
"""

from contextlib import suppress

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers


def run_daemon(instance: dg.DagsterInstance, workspace: str) -> None:
    """Runs schedules, sensors and the queue until SIGINT or SIGTERM.

    Args:
        instance: whose they are.
        workspace: the file that names the code.
    """
    setup_interrupt_handlers()
    with (
        suppress(KeyboardInterrupt),
        capture_interrupts(),
        daemon_controller_from_instance(
            instance,
            workspace_load_target=WorkspaceFileTarget([workspace]),
            code_server_log_level="warning",
        ) as controller,
    ):
        controller.check_daemon_loop()
