"""What Dagster's storage holds after years of runs, and how long its pages then take to open.

Belongs here: a year in copies of one real run, with the removal of old runs after each day. Does
not belong here: whether the right runs are removed; that is tested.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import dagster as dg
import psycopg
from playwright.sync_api import Browser, sync_playwright

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance.old_runs import remove_old_runs
from tests.benchmark.measure import in_new_process
from tests.run_copies import RunCopier, copies_of_a_day
from tests.webservers import REPOSITORY, free_port, is_ready, settings_environment

Storage = Literal["SQLite", "PostgreSQL"]

FAILED_EACH_DAY = 1
OPENINGS = 3
"""Of each page, of which the fastest counts."""

PAGES = {
    "the runs": ("/runs", "fleet_status"),
    "an asset": ("/assets/system_deployment_status", "preview"),
    "its days": ("/assets/system_deployment_status?view=partitions", "Materialized ("),
    "its events": ("/assets/system_deployment_status?view=events", "Materialized"),
    "its checks": ("/assets/system_deployment_status?view=checks", "one_row_per_hostname"),
    "the lineage": ("/asset-groups", "velocity"),
}
"""By what is opened: the path, and words that are there when it has been loaded."""


@dataclass(frozen=True)
class DayOfRecords:
    """One day of the simulation.

    Attributes:
        day: its number.
        runs: how many there have been so far.
        before: bytes of Dagster's storage before the removal.
        after: bytes after it.
        kept: runs that are still there.
        removal_seconds: how long it took.
    """

    day: int
    runs: int
    before: int
    after: int
    kept: int
    removal_seconds: float


@dataclass
class Years:
    """What was measured with one kind of storage; the seconds by page."""

    storage: Storage
    days: list[DayOfRecords] = field(default_factory=list)
    first_pages: dict[str, float] = field(default_factory=dict)
    last_pages: dict[str, float] = field(default_factory=dict)


def measure_years(storage: Storage, days: int, each: dt.timedelta, folder: Path) -> Years:
    """Runs the job once for real, copies it for so many days, and removes old runs after each.

    Args:
        storage: that Dagster's records are in.
        days: how many pass.
        each: the time between two runs.
        folder: for all of it.
    """
    measured = Years(storage)
    folder = folder / storage
    folder.mkdir()
    # Nobody cuts the power, and the time of the disk is not what is measured.
    not_durable = {"fsync": "off", "synchronous_commit": "off"}
    server = EmbeddedPostgres(folder / "records", settings=not_durable)
    url = None
    if storage == "PostgreSQL":
        server.start()
        url = server.ensure_database("records")
    try:
        environment = _environment(folder, url)
        subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "report"],
            env=environment,
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        measured.first_pages = in_new_process(_open_pages, environment)
        measured.days = in_new_process(_let_years_pass, environment, url, days, each)
        measured.last_pages = in_new_process(_open_pages, environment)
    finally:
        server.stop()
        EmbeddedPostgres(folder / "var" / "postgres").stop()
    return measured


def _environment(folder: Path, url: str | None) -> dict[str, str]:
    given = {} if url is None else {"DAGSTER_POSTGRES_URL": url}
    return settings_environment(
        FLAKELAG_VAR_DIR=str(folder / "var"),
        REPORTS_DIR=str(folder / "reports"),
        DAGSTER_HOME=str(folder / "dagster"),
        **given,
    )


def _let_years_pass(
    environment: Mapping[str, str], url: str | None, days: int, each: dt.timedelta
) -> list[DayOfRecords]:
    os.environ.update(environment)
    passed = []
    runs = 0
    today = dt.datetime.now(dt.UTC).date()
    with dg.DagsterInstance.get() as instance:
        copier = RunCopier(instance)
        for number in range(1, days + 1):
            day = today - dt.timedelta(days=days + 1 - number)
            copies = copies_of_a_day(day, each=each, failed=FAILED_EACH_DAY)
            copier.add(copies)
            runs += len(copies)
            before = _bytes(environment, url)
            started = time.perf_counter()
            removal = remove_old_runs(
                instance,
                lambda _: True,
                now=copies[-1].ended_at + dt.timedelta(hours=1),
                failed_kept=dt.timedelta(days=90),
                patience=dt.timedelta(hours=1),
            )
            taken = time.perf_counter() - started
            after = _bytes(environment, url)
            passed.append(DayOfRecords(number, runs, before, after, removal.kept, taken))
            if number % 10 == 0:
                click.echo(f"... day {number}: {after / 1e6:,.0f} MB", err=True)
    return passed


def _bytes(environment: Mapping[str, str], url: str | None) -> int:
    home = Path(environment["DAGSTER_HOME"])
    files = sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
    if url is None:
        return files
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return files + int(row[0])


def _open_pages(environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds from asking for each page in a browser until what it is about can be read."""
    with _webserver(environment) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        pages = {
            name: min(_open(browser, url + path, words) for _ in range(OPENINGS))
            for name, (path, words) in PAGES.items()
        }
        browser.close()
        return pages


def _open(browser: Browser, url: str, words: str) -> float:
    page = browser.new_page(viewport={"width": 1500, "height": 1400})
    try:
        started = time.perf_counter()
        page.goto(url)
        page.get_by_text(words).first.wait_for(state="visible", timeout=120_000)
        return time.perf_counter() - started
    finally:
        page.close()


@contextmanager
def _webserver(environment: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "webserver", "--port", str(port)],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not is_ready(url):
            if server.poll() is not None:
                raise RuntimeError(f"flakelag webserver ended with {server.returncode}.")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()
