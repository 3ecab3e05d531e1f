"""Dagster's webserver over an instance in which the job really ran, for tests in a browser.

Belongs here: publishing a small fleet and serving what Dagster knows of it, in processes of their
own. Does not belong here: what a person sees there.

Run as a module it publishes the days that it is given; the tests can't do that themselves, because
Dagster calls `asyncio.run`, and Playwright has an event loop of its own.
"""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines.demo.ensure import READER_ROLE, grant_reader_role
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import fill_database
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.run import command_instance, run_days
from pipelines.settings import read_settings
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.webservers import REPOSITORY, free_port, is_ready, settings_environment

SECRET = "canary-9f2c61"
"""The password in every URL of the environment."""

_PAST_DAYS = 3


@dataclass(frozen=True)
class DagsterServer:
    """A webserver that can be asked.

    Attributes:
        url: without a slash at the end.
        reports_dir: what the job published.
        days: the published partitions, the oldest first.
    """

    url: str
    reports_dir: Path
    days: Sequence[str]


@contextmanager
def dagster_server(postgres: EmbeddedPostgres, folder: Path) -> Iterator[DagsterServer]:
    """Publishes a small demo fleet of the last days, today included, and serves the instance.

    One report of the fleet is unusable, so that one check warns.
    """
    today = dt.datetime.now(dt.UTC).date()
    days = [(today - dt.timedelta(days=ago)).isoformat() for ago in range(_PAST_DAYS, -1, -1)]
    environment = _environment(postgres, folder)
    publishing = [sys.executable, "-m", "tests.browser.dagster_server", *days]
    published = subprocess.run(
        publishing, env=environment, cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert published.returncode == 0, published.stderr
    with _webserver(environment, folder / "webserver.log") as url:
        yield DagsterServer(url, folder / "reports", days)


def _environment(postgres: EmbeddedPostgres, folder: Path) -> dict[str, str]:
    owner_url = postgres.ensure_database("dagster_ui_fleet")
    spec = DemoFleet(
        until=dt.datetime.now(dt.UTC), systems=60, commits=120, package_derivations=100
    )
    with psycopg.connect(owner_url) as connection:
        fill_database(connection, generate_fleet(spec), spec.generation)
        connection.execute(
            """
            INSERT INTO system_states (hostname, change_reason, store_path, timestamp)
            SELECT hostname, change_reason, store_path, 'infinity' FROM system_states LIMIT 1
            """
        )
        grant_reader_role(connection)
    fleet_url = postgres.url("dagster_ui_fleet", user=READER_ROLE)
    history_url = postgres.ensure_database("dagster_ui_history")
    return settings_environment(
        FLEET_DATABASE_URL=fleet_url.replace("@", f":{SECRET}@"),
        HISTORY_DATABASE_URL=history_url.replace("@", f":{SECRET}@"),
        ALERT_WEBHOOK_URL=f"http://127.0.0.1:9/{SECRET}",
        REPORTS_DIR=str(folder / "reports"),
        FLAKELAG_VAR_DIR=str(folder / "var"),
        DAGSTER_HOME=str(folder / "dagster"),
    )


@contextmanager
def _webserver(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pipelines.cli", "webserver", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: is_ready(url), server, said=log.read_text)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(PATIENCE_SECONDS)
        finally:
            # Its code server too, if it did not take that along.
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def _publish(days: Sequence[str]) -> None:
    with command_instance(read_settings()) as instance:
        run_days(instance, days[0], days[-2])
        run_days(instance, days[-1], days[-1])


if __name__ == "__main__":
    _publish(sys.argv[1:])
