"""`flakelag report`: the main job, once, for today or another day."""

import datetime as dt

import click

from assets.publishing.layout import files_of_day
from pipelines.commands.environment import settings_for_command
from pipelines.commands.terminal import Display, write
from pipelines.commands.triage import triage_lines
from pipelines.instance import InstanceUnusableError
from pipelines.settings import Settings
from pipelines.store.published import STATUS_DATASET, day_of, partition_files


@click.command()
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (UTC) to publish. Default: today, as of now.",
)
@click.option(
    "--accept-shrunk",
    is_flag=True,
    help="Publish although most systems or commits are gone, or every flake is new.",
)
def report(day: dt.datetime | None, *, accept_shrunk: bool) -> None:
    """Read the fleet database, publish the snapshots, and say how the fleet stands.

    Without FLEET_DATABASE_URL it reads a demo fleet in an embedded PostgreSQL.
    """
    settings = settings_for_command()
    date = dt.datetime.now(dt.UTC).date() if day is None else day.date()
    run_job(settings, date, date, accept_shrunk=accept_shrunk)
    print_outputs(settings, date)
    print_triage(settings, date)


def run_job(
    settings: Settings, first: dt.date, last: dt.date, *, accept_shrunk: bool = False
) -> None:
    """Runs the job with its progress on standard error; a failure ends the command."""
    click.echo(f"flakelag: {_span(first, last)}, reading {_source(settings)}", err=True)
    # Dagster takes a second to import; say what happens before that.
    from pipelines.run import (  # noqa: PLC0415
        RunFailed,
        command_instance,
        render_pages,
        run_days,
    )

    try:
        with command_instance(settings) as instance:
            run_days(instance, first.isoformat(), last.isoformat(), accept_shrunk=accept_shrunk)
            if first != last:
                # The newest page looks back on the days that have just been filled in.
                newest = partition_files(settings.reports_dir, STATUS_DATASET)[-1]
                render_pages(instance, day_of(newest).isoformat())
    except (InstanceUnusableError, RunFailed) as failure:
        message = str(failure)
    else:
        return
    raise click.ClickException(message)


def print_outputs(settings: Settings, date: dt.date) -> None:
    """Says which files stand for the day."""
    history = (
        "the embedded server's database `history`"
        if settings.history_database_url is None
        else "the database of HISTORY_DATABASE_URL"
    )
    write(
        [
            "",
            "Published",
            *(f"  {file}" for file in files_of_day(settings.reports_dir, date)),
            f"  history: {history}, schema `flakelag`",
        ]
    )


def print_triage(settings: Settings, date: dt.date) -> None:
    """Says how many systems are in each status, and which are furthest behind."""
    write(["", *triage_lines(settings.reports_dir, date, Display.of_stdout())])


def _span(first: dt.date, last: dt.date) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def _source(settings: Settings) -> str:
    if settings.fleet_database_url is None:
        return f"the demo fleet (embedded PostgreSQL in {settings.flakelag_var_dir})"
    return "the database of FLEET_DATABASE_URL"
