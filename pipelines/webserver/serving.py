"""Dagster's webserver with the guard around it: what its own command does, and nothing is left out.

Belongs here: putting Dagster's parts together as `dagster-webserver` does. Does not belong here:
options and settings.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__
from starlette.applications import Starlette

from pipelines.webserver.guard import Guard
from pipelines.webserver.names import OwnNames

_POLL_RATE_MS = 2_000
# An open page keeps a WebSocket: it does not keep the server.
_SECONDS_TO_FINISH_ANSWERS = 1


def serve(
    instance: dg.DagsterInstance,
    host: str,
    port: int,
    names: OwnNames,
    *,
    workspace: str,
    read_only: bool,
    path_prefix: str,
) -> None:
    """Serves the UI until SIGINT or SIGTERM.

    Args:
        instance: what is shown.
        host: name or address to listen on.
        port: to listen on.
        names: under which people reach it.
        workspace: the file that names the code.
        read_only: whether nobody may change anything.
        path_prefix: where the UI begins behind a proxy, such as `/dagster`, or nothing.
    """
    configure_loggers()
    setup_interrupt_handlers()
    instance.optimize_for_webserver(
        DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
    )
    with (
        suppress(KeyboardInterrupt),
        WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=read_only,
            workspace_load_target=WorkspaceFileTarget([workspace]),
        ) as context,
    ):
        app = create_app_from_workspace_process_context(
            context, path_prefix, _POLL_RATE_MS, lifespan=_quietly_ended
        )
        uvicorn.run(
            Guard(app, names),
            host=host,
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=_SECONDS_TO_FINISH_ANSWERS,
        )


@asynccontextmanager
async def _quietly_ended(_app: Starlette) -> AsyncIterator[None]:
    # uvicorn cancels it when it is interrupted; Dagster's own command says no more either.
    try:
        yield
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("The UI was told to stop.")
