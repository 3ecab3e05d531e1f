"""Reports that are killed at any moment: what was published stays, and the next run succeeds."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.schemas import DAILY_DATASETS
from pipelines.store.report_store import ReportStore
from tests.integration.command_process import FLAKELAG, flakelag, kill_session, running
from tests.integration.fleet_support import create_fleet, run_sql

FULL = os.environ.get("FLAKELAG_TEST_SCALE") == "full"
KILLS_A_RUN = 5 if FULL else 3


def something_happens(fleet_url: str, number: int) -> None:
    """A commit is made, so that the next run has something to publish."""
    run_sql(
        fleet_url,
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        f" VALUES ({1000 + number}, 1, 'hash-{number}', now())",
    )


def versions(reports: ReportStore) -> dict[str, tuple[int, bytes]]:
    """Every published partition, read whole: its rows, and its bytes."""
    found = {}
    for dataset in DAILY_DATASETS:
        for date in reports.published_dates(dataset):
            rows = reports.read(dataset, date).num_rows
            path = reports.describe(dataset, date).path
            found[f"{dataset.name} {date}"] = (rows, path.read_bytes())
    return found


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(
    ("storage", "kills"),
    [("sqlite", 200 if FULL else KILLS_A_RUN), ("postgres", 50 if FULL else KILLS_A_RUN)],
)
def test_a_report_that_is_killed_loses_nothing(
    storage: str,
    kills: int,
    new_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    fleet_url = create_fleet(new_database(), states=200)
    given = {"FLEET_DATABASE_URL": fleet_url, "HISTORY_DATABASE_URL": new_database()}
    if storage == "postgres":
        given["DAGSTER_POSTGRES_URL"] = new_database()
    rng = random.Random(storage)

    def report() -> float:
        began = time.monotonic()
        done = flakelag(tmp_path, "report", **given)
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began

    report()
    usual_seconds = report()
    reports = ReportStore(tmp_path / "reports")
    killed_in_time = 0
    for number in range(kills):
        something_happens(fleet_url, number)
        before = versions(reports)
        with running((*FLAKELAG, "report"), tmp_path, tmp_path / "killed.log", **given) as process:
            time.sleep(rng.uniform(0, usual_seconds))
            killed_in_time += process.poll() is None
            kill_session(process)
        # Each partition is one whole version, and none is gone.
        assert before.keys() <= versions(reports).keys()
        if (number + 1) % KILLS_A_RUN == 0:
            report()
            after = versions(reports)
            [latest] = [name for name in after if name.startswith("commit_rollouts ")][-1:]
            assert after[latest][0] == number + 2
    assert killed_in_time
    print(f"{storage}: {killed_in_time} of {kills} kills found the report at work")
