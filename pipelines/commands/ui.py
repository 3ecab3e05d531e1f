"""`flakelag ui`: Dagster's UI and daemon."""

import os
import sys

import click

from pipelines.commands.environment import settings_for_command
from pipelines.commands.interruption import heard_within_seconds
from pipelines.commands.together import CHILD_OPTION, run_together
from pipelines.commands.webserver import instance_for_command, require_free, serving_options


@click.command()
@serving_options
def ui(
    host: str, port: int, *, read_only: bool, allow_host: tuple[str, ...], path_prefix: str
) -> None:
    """Start the Dagster UI, and the daemon that runs the schedules.

    The UI has no log-in, and answers only pages that it sent itself, under its own names. Leave it
    on 127.0.0.1, or put a proxy in front that authenticates.
    """
    settings = settings_for_command()
    with heard_within_seconds():
        require_free(host, port)
        # Makes the storage for both programs, and says in a sentence what is wrong with it.
        with instance_for_command(settings):
            pass
    # Not from this folder: -P keeps what lies in it from being taken for our code.
    flakelag = [sys.executable, "-P", "-m", "pipelines.cli"]
    webserver = [*flakelag, "webserver", CHILD_OPTION]
    webserver += ["--host", host, "--port", str(port), "--path-prefix", path_prefix]
    webserver += [word for name in allow_host for word in ("--allow-host", name)]
    if read_only:
        webserver.append("--read-only")
    daemon = [*flakelag, "daemon", CHILD_OPTION]

    click.echo(
        f"The Dagster UI is at http://{host}:{port}{path_prefix} once it has loaded. "
        "Ctrl-C stops it."
    )
    ended = run_together(
        {"The UI": webserver, "The daemon": daemon},
        os.environ | {"DAGSTER_HOME": str(settings.instance_dir)},
        click.echo,
    )
    if ended is not None:
        raise click.ClickException(f"{ended} ended by itself; its output above says why.")
