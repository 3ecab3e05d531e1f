"""`flakelag ui`: Dagster's UI and daemon."""

import errno
import os
import socket
import sys
from importlib.resources import files
from pathlib import Path

import click

from pipelines.commands.environment import settings_for_command
from pipelines.commands.together import run_together
from pipelines.instance import InstanceUnusableError
from pipelines.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=3000,
    show_default=True,
    help="Port to listen on.",
)
@click.option("--read-only", is_flag=True, help="Let nobody start a run or change a schedule.")
def ui(host: str, port: int, *, read_only: bool) -> None:
    """Start the Dagster UI, and the daemon that runs the schedules.

    The UI has no log-in. Leave it on 127.0.0.1, or put a proxy in front that authenticates.
    """
    settings = settings_for_command()
    _require_free(host, port)
    _make_instance_ready(settings)
    folder = Path(sys.executable).parent
    workspace = ["--workspace", str(files("pipelines.instance") / "workspace.yaml")]
    webserver = [str(folder / "dagster-webserver"), "--host", host, "--port", str(port), *workspace]
    if read_only:
        webserver.append("--read-only")
    daemon = [str(folder / "dagster-daemon"), "run", *workspace]

    click.echo(f"The Dagster UI is at http://{host}:{port} once it has loaded. Ctrl-C stops it.")
    ended = run_together(
        {"The UI": webserver, "The daemon": daemon},
        os.environ | {"DAGSTER_HOME": str(settings.instance_dir)},
        click.echo,
    )
    if ended is not None:
        raise click.ClickException(f"{ended} ended by itself; its output above says why.")


def _require_free(host: str, port: int) -> None:
    """Fails at once, and in a sentence, where the UI would load for seconds and then give up."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        problem = f"Can't listen on port {port} of {host}: {error.strerror}."
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} of {host} is in use, perhaps by another `flakelag ui`."
        message = f"{problem} Choose another with --port or --host."
    else:
        return
    raise click.ClickException(message)


def _make_instance_ready(settings: Settings) -> None:
    """Opens the instance once: both programs then find its storage made, or we say what is wrong.

    Each would otherwise end in a traceback of its own.
    """
    # Dagster takes a second to import, and `--help` does not need it.
    from pipelines.instance.opening import opened_instance  # noqa: PLC0415

    try:
        with opened_instance(settings):
            return
    except InstanceUnusableError as error:
        message = str(error)
    raise click.ClickException(message)
