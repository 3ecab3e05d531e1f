"""The time that the real job takes to fill in the past, by asset."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import dagster as dg
import psycopg

from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import load_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.benchmark.measure import in_new_process, peak_memory

_DATABASE = "fleet_of_the_benchmark"


@dataclass(frozen=True)
class Backfill:
    """What one backfill took.

    Attributes:
        days: how many were filled.
        step_seconds: by step of the run, in order.
        seconds: of the command, from its start to its end.
        processor_seconds: of its process.
        peak_memory: of its process, in bytes.
        files: how many are published.
        bytes: how much they take.
    """

    days: int
    step_seconds: dict[str, float]
    seconds: float
    processor_seconds: float
    peak_memory: int
    files: int
    bytes: int


def measure_backfill(spec: DemoFleet, days: int, folder: Path) -> Backfill:
    """Fills in the last days of a demo fleet, by `flakelag backfill`, in a folder of its own."""
    click.echo("... making the fleet", err=True)
    server = EmbeddedPostgres(folder / "var" / "postgres")
    server.start()
    try:
        url = server.ensure_database(_DATABASE)
        in_new_process(_load, url, spec)
        return _run(url, days, folder)
    finally:
        server.stop()


def _load(url: str, spec: DemoFleet) -> None:
    load_fleet(url, generate_fleet(spec), spec.generation)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _run(url: str, days: int, folder: Path) -> Backfill:
    reports = folder / "reports"
    home = folder / "var" / "dagster"
    environment = {
        "FLEET_DATABASE_URL": url,
        "FLAKELAG_VAR_DIR": str(folder / "var"),
        "REPORTS_DIR": str(reports),
        "DAGSTER_HOME": str(home),
    }
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    first = yesterday - timedelta(days=days - 1)
    started = datetime.now(UTC)
    command = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "backfill", "--from", first.isoformat()],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(command.pid, 0)
    seconds = (datetime.now(UTC) - started).total_seconds()
    command.returncode = os.waitstatus_to_exitcode(status)
    if command.returncode:
        raise RuntimeError(f"flakelag backfill ended with {command.returncode}.")
    published = list(reports.glob("*/date=*/data.parquet"))
    return Backfill(
        days=days,
        step_seconds=_step_seconds(home),
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_memory=peak_memory(usage),
        files=len(published),
        bytes=sum(file.stat().st_size for file in published),
    )


def _step_seconds(dagster_home: Path) -> dict[str, float]:
    seconds = {}
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        # The newest run comes first.
        for run in reversed(instance.get_runs()):
            steps = instance.get_run_step_stats(run.run_id)
            for step in sorted(steps, key=lambda step: step.start_time or 0.0):
                seconds[step.step_key] = (step.end_time or 0.0) - (step.start_time or 0.0)
    return seconds
