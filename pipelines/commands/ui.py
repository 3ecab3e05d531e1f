"""`flakelag ui`: Dagster's UI and daemon."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from pipelines.commands.environment import settings_for_command
from pipelines.instance import InstanceUnusableError
from pipelines.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--read-only", is_flag=True, help="Let nobody start a run or change a schedule.")
def ui(host: str, port: int, *, read_only: bool) -> None:
    """Start the Dagster UI, and the daemon that runs the schedules.

    The UI has no log-in. Leave it on 127.0.0.1, or put a proxy in front that authenticates.
    """
    settings = settings_for_command()
    _make_instance_ready(settings)
    environment = os.environ | {"DAGSTER_HOME": str(settings.instance_dir)}
    programs = Path(sys.executable).parent
    webserver = [str(programs / "dagster-webserver"), "--host", host, "--port", str(port)]
    if read_only:
        webserver.append("--read-only")
    daemon = [str(programs / "dagster-daemon"), "run"]

    click.echo(f"The Dagster UI is at http://{host}:{port} once it has loaded. Ctrl-C stops it.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    running = [subprocess.Popen(command, env=environment) for command in (webserver, daemon)]
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("Stopping.")
    finally:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        codes = [process.wait(timeout=60) for process in running]
    if any(code not in (0, -signal.SIGINT) for code in codes):
        raise click.ClickException("The UI or the daemon stopped by itself; see its output above.")


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
