"""`flakelag psql`: a look into the embedded server, which runs only while somebody uses it."""

import subprocess

import click

from assets.publishing.interfaces import OutsideFailure
from pipelines.commands.environment import settings_for_command
from pipelines.databases import HISTORY_DATABASE, embedded_server
from pipelines.demo.ensure import DEMO_DATABASE


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--fleet", is_flag=True, help="Open the demo fleet's database instead of the history."
)
@click.argument("psql_arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, psql_arguments: tuple[str, ...], *, fleet: bool) -> None:
    """Open psql on the embedded server's history database.

    Arguments go to psql: flakelag psql -c 'TABLE view_system_deployment_status'
    """
    settings = settings_for_command()
    if not fleet and settings.history_database_url is not None:
        raise click.UsageError(
            "HISTORY_DATABASE_URL is set, so the history is not in the embedded server. "
            "Use: PGOPTIONS='-c search_path=flakelag,public' PGSERVICE=history psql, with a "
            "service in ~/.pg_service.conf: what is on a command line every local user reads."
        )
    server = embedded_server(settings)
    try:
        server.start()
        url = server.ensure_database(DEMO_DATABASE if fleet else HISTORY_DATABASE)
        code = subprocess.call([str(server.bin_path / "psql"), url, *psql_arguments])
    except OutsideFailure as error:
        raise click.ClickException(str(error)) from None
    finally:
        server.stop()
    context.exit(code)
