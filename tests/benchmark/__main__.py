"""`make bench`: what this project's way takes, beside SQL written by hand for the same rows."""

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import click

from pipelines.demo.fleet import DemoFleet
from tests.benchmark.backfill import measure_backfill
from tests.benchmark.comparison import compare
from tests.benchmark.heartbeats import measure_heartbeats
from tests.benchmark.measure import machine
from tests.benchmark.report import (
    backfill_lines,
    comparison_lines,
    heartbeat_lines,
    start_lines,
    years_lines,
)
from tests.benchmark.start import measure_start
from tests.benchmark.years import measure_years


@click.command()
@click.option("--systems", default=200_000, show_default=True, help="Hosts of the demo fleet.")
@click.option("--flakes", type=int, help="Default: one for every 200 systems.")
@click.option("--commits", type=int, help="Default: five for every system.")
@click.option("--repetitions", default=3, show_default=True, help="Of which the best counts.")
@click.option("--sql/--no-sql", default=True, help="Compare with SQL in the embedded PostgreSQL.")
@click.option("--backfill", "days", type=int, help="Measure a backfill of so many days instead.")
@click.option("--heartbeats", type=int, help="Measure reading so many heartbeats instead.")
@click.option("--records", type=int, help="Measure so many days of Dagster's records instead.")
@click.option(
    "--minutes",
    default=15,
    show_default=True,
    type=click.IntRange(min=1),
    help="Between two runs of --records.",
)
def benchmark(
    systems: int,
    flakes: int | None,
    commits: int | None,
    repetitions: int,
    days: int | None,
    heartbeats: int | None,
    records: int | None,
    minutes: int,
    *,
    sql: bool,
) -> None:
    """Times the computations beside SQL written by hand, or what one of the options names.

    Everything is made in a temporary folder (TMPDIR) and removed again.
    """
    spec = DemoFleet(
        until=datetime.now(UTC).replace(minute=0, second=0, microsecond=0),
        systems=systems,
        flakes=max(1, systems // 200) if flakes is None else flakes,
        commits=5 * systems if commits is None else commits,
        # Older than the backfill by some days, so that its first day has a past too.
        days=120 if days is None else days + 10,
        # The one that the hand-written SQL is about; heartbeats have an index in the newest only.
        generation="newer" if heartbeats is None else "newest",
    )
    click.echo(f"On {machine()} at the start.")
    lines: Iterable[str]
    with tempfile.TemporaryDirectory(prefix="flakelag-bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        if heartbeats is not None:
            lines = heartbeat_lines(measure_heartbeats(spec, heartbeats, repetitions, folder))
        elif records is not None:
            each = timedelta(minutes=minutes)
            lines = years_lines(
                [measure_years(kind, records, each, folder) for kind in ("SQLite", "PostgreSQL")]
            )
        elif days is None:
            lines = chain(
                start_lines(measure_start(repetitions)),
                comparison_lines(compare(spec, repetitions, folder, with_sql=sql)),
            )
        else:
            lines = backfill_lines(measure_backfill(spec, days, folder))
    click.echo("\n".join([*lines, f"On {machine()} at the end."]))


if __name__ == "__main__":
    benchmark()
