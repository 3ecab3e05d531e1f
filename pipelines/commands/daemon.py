"""`flakelag daemon`: Dagster's daemon alone, where a service manager runs the UI beside it."""

from contextlib import ExitStack

import click

from pipelines.commands.environment import settings_for_command
from pipelines.commands.interruption import heard_within_seconds
from pipelines.commands.together import child_option
from pipelines.commands.webserver import instance_for_command
from pipelines.instance import workspace_file


@click.command()
@child_option
def daemon() -> None:
    """Run the schedules, the sensors and the queue; `flakelag webserver` beside it is the UI.

    Unlike Dagster's own `dagster-daemon run`, it needs no workspace file, has its sessions in
    PostgreSQL in UTC, and gives a storage that falls silent up.
    """
    settings = settings_for_command()
    with ExitStack() as stack:
        with heard_within_seconds():
            instance = stack.enter_context(instance_for_command(settings))
        # Dagster takes a second to import, and `--help` does not need it.
        from pipelines.instance.daemon import run_daemon  # noqa: PLC0415

        run_daemon(instance, workspace_file())
