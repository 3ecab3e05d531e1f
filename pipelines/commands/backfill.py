"""`flakelag backfill`: past days, from the source's own records."""

import datetime as dt

import click

from assets.publishing.days import FIRST_DAY
from pipelines.commands.environment import settings_for_command
from pipelines.commands.report import print_outputs, run_job

_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--from", "first", type=_DATE, required=True, help="First day (UTC).")
@click.option("--to", "last", type=_DATE, help="Last day (UTC). Default: yesterday.")
def backfill(first: dt.datetime, last: dt.datetime | None) -> None:
    """Publish every day of a range from a single reading of the fleet database.

    A day that was closed while it was fresh is not replaced by one that knows less.
    """
    settings = settings_for_command()
    today = dt.datetime.now(dt.UTC).date()
    last_day = today - dt.timedelta(days=1) if last is None else last.date()
    if not dt.date.fromisoformat(FIRST_DAY) <= first.date() <= last_day <= today:
        raise click.UsageError(
            f"The days must lie between {FIRST_DAY} and today ({today} UTC), the first before the "
            f"last; got {first:%Y-%m-%d} to {last_day}."
        )
    run_job(settings, first.date(), last_day)
    print_outputs(settings, last_day)
