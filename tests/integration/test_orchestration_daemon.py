"""The daemon, for real: a tick that it slept through, a lost machine, and what is retried."""

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
)

from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance import prepare_instance
from pipelines.jobs import FLEET_STATUS_JOB
from pipelines.settings import Settings
from tests.integration.command_process import (
    FLAKELAG,
    ROOT,
    instance_at,
    kill_session,
    running,
    slots_taken,
)
from tests.waiting import wait_until

DAEMON = (*FLAKELAG, "daemon")
EXTRACTION_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'flakelag' AND wait_event_type = 'Lock'
"""


@dataclass
class Site:
    """A machine that runs the daemon."""

    folder: Path
    instance: dg.DagsterInstance
    given: dict[str, str]

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def runs(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(job_name=FLEET_STATUS_JOB)))

    def declare(self, schedule: str, status: InstigatorStatus, since: dt.datetime) -> None:
        """What the daemon has written down when it last looked at a schedule."""
        location = RegisteredCodeLocationOrigin("flakelag")
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(location, "__repository__"), schedule
        )
        data = ScheduleInstigatorData("5 0 * * *", since.timestamp())
        self.instance.add_instigator_state(
            InstigatorState(origin, InstigatorType.SCHEDULE, status, data)
        )


@pytest.fixture
def site(
    demo_fleet_url: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    home = tmp_path / "dagster"
    configuration = prepare_instance(Settings(dagster_home=home)) / "dagster.yaml"
    impatient = configuration.read_text()
    for setting, ours, here in (
        ("poll_interval_seconds", 30, 1),
        ("free_slots_after_run_end_seconds", 60, 1),
    ):
        assert f"{setting}: {ours}\n" in impatient
        impatient = impatient.replace(f"{setting}: {ours}\n", f"{setting}: {here}\n")
    configuration.write_text(impatient)
    given = {
        "DAGSTER_HOME": str(home),
        "FLEET_DATABASE_URL": demo_fleet_url,
        "HISTORY_DATABASE_URL": new_database(),
        "REPORTS_DIR": str(tmp_path / "reports"),
        "FLEET_LOCK_TIMEOUT_SECONDS": "3600",
    }
    with instance_at(home, monkeypatch) as instance:
        yield Site(tmp_path, instance, given)


@pytest.mark.slow
def test_what_was_missed_and_lost_is_made_up_for(
    site: Site, postgres_server: EmbeddedPostgres
) -> None:
    now = dt.datetime.now(dt.UTC)
    yesterday = (now - dt.timedelta(days=1)).date().isoformat()
    # The daemon slept since the day before yesterday.
    site.declare("close_yesterday", InstigatorStatus.DECLARED_IN_CODE, now - dt.timedelta(hours=36))
    site.declare("refresh_today", InstigatorStatus.STOPPED, now)

    with psycopg.connect(postgres_server.url("demo_fleet")) as owner:
        owner.execute("LOCK TABLE systems IN ACCESS EXCLUSIVE MODE")
        with (
            psycopg.connect(postgres_server.url(), autocommit=True) as observer,
            running(DAEMON, ROOT, site.log, **site.given) as daemon,
        ):
            wait_until(lambda: observer.execute(EXTRACTION_WAITS).fetchone() == (1,), daemon)
            [lost] = site.runs()
            assert lost.tags["dagster/partition"] == yesterday
            assert lost.tags["dagster/schedule_name"] == "close_yesterday"
            assert lost.tags["dagster/run_key"].startswith(f"close-{yesterday}-")
            assert lost.status is dg.DagsterRunStatus.STARTED
            assert "fleet_database" in slots_taken(site.instance)
            kill_session(daemon)

    # Nobody is left who could say that the run is dead. It shows when it has run for too long.
    assert site.runs()[0].status is dg.DagsterRunStatus.STARTED
    with sqlite3.connect(site.folder / "dagster" / "history" / "runs.db") as runs:
        runs.execute("UPDATE runs SET start_time = start_time - 7200")

    def is_made_up_for() -> bool:
        return any(run.status is dg.DagsterRunStatus.SUCCESS for run in site.runs())

    with running(DAEMON, ROOT, site.log, **site.given) as daemon:
        wait_until(is_made_up_for, daemon)
        wait_until(lambda: slots_taken(site.instance) == set(), daemon)

    [retry, failed] = site.runs()
    assert failed.run_id == lost.run_id
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert retry.parent_run_id == lost.run_id
    assert retry.tags["dagster/partition"] == yesterday
    published = site.folder / "reports" / SYSTEM_DEPLOYMENT_STATUS.name / f"date={yesterday}"
    assert [path.name for path in published.iterdir()] == ["data.parquet"]

    # The whole job ran in one process.
    steps = [
        entry.get_dagster_event()
        for entry in site.instance.all_logs(retry.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    ]
    assert len(steps) > 5
    assert len({step.pid for step in steps}) == 1
    assert "Warning" not in site.log.read_text()
