"""`flakelag webserver`: Dagster's UI alone, where a service manager runs the daemon beside it."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from pipelines.commands.environment import settings_for_command
from pipelines.commands.interruption import heard_within_seconds
from pipelines.commands.together import child_option
from pipelines.instance import InstanceUnusableError, workspace_file
from pipelines.settings import Settings
from pipelines.webserver.names import Authority, OwnNames, read_names

if TYPE_CHECKING:
    import dagster as dg

_Command = Callable[..., None]


def _read_allowed(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        read_names(",".join(given))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return given


def _check_prefix(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if given and (not given.startswith("/") or given.endswith("/")):
        raise click.BadParameter("it begins with a slash, and ends without one")
    return given


def serving_options(command: _Command) -> _Command:
    """The options of everything that serves the UI."""
    options = [
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        ),
        click.option(
            "--port",
            type=click.IntRange(1, 65_535),
            default=3000,
            show_default=True,
            help="Port to listen on.",
        ),
        click.option(
            "--read-only", is_flag=True, help="Let nobody start a run or change anything."
        ),
        click.option(
            "--allow-host",
            metavar="NAME",
            multiple=True,
            callback=_read_allowed,
            help="A name by which browsers reach the UI, such as that of a proxy in front: "
            "fleet.example.org, or fleet.example.org:8443. Several times for several; "
            "FLAKELAG_UI_HOSTS says the same.",
        ),
        click.option(
            "--path-prefix",
            metavar="/PATH",
            default="",
            callback=_check_prefix,
            help="Where the UI begins below a proxy's name. Default: at its root.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@serving_options
@child_option
def webserver(
    host: str, port: int, *, read_only: bool, allow_host: tuple[str, ...], path_prefix: str
) -> None:
    """Start the Dagster UI alone; `flakelag daemon` beside it runs the schedules.

    It has no log-in, and answers only pages that it sent itself, under its own names. Leave it on
    127.0.0.1, or put a proxy in front that authenticates.
    """
    settings = settings_for_command()
    names = OwnNames(host, port, [*_configured(settings), *read_names(",".join(allow_host))])
    with ExitStack() as stack:
        with heard_within_seconds():
            require_free(host, port)
            instance = stack.enter_context(instance_for_command(settings))
        # Dagster takes a second to import, and `--help` does not need it.
        from pipelines.webserver.serving import serve  # noqa: PLC0415

        serve(
            instance,
            host,
            port,
            names,
            workspace=workspace_file(),
            read_only=read_only,
            path_prefix=path_prefix,
        )


@contextmanager
def instance_for_command(settings: Settings) -> "Iterator[dg.DagsterInstance]":
    """Opens Dagster's instance; what is wrong with it ends the command with a message."""
    # Dagster takes a second to import, and `--help` does not need it.
    from pipelines.instance.opening import opened_instance  # noqa: PLC0415

    with ExitStack() as stack:
        try:
            instance = stack.enter_context(opened_instance(settings))
        except InstanceUnusableError as error:
            message = str(error)
        else:
            yield instance
            return
    raise click.ClickException(message)


def _configured(settings: Settings) -> list[Authority]:
    return read_names(settings.flakelag_ui_hosts or "")


def require_free(host: str, port: int) -> None:
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
