"""The four queries of the document "System Deployment Status View", as they stand there."""

import os
import subprocess

import psycopg
import pytest
from pydantic import SecretStr

from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.database import HistoryDatabase
from tests.integration.history_rows import HOUR, statuses

DOCUMENT = """\
-- Systems most in need of updates
SELECT hostname, commits_behind, current_commit_hash, latest_commit_hash
FROM view_system_deployment_status
WHERE deployment_status = 'behind'
ORDER BY commits_behind DESC;

-- Deployment status summary
SELECT deployment_status, COUNT(*) as system_count
FROM view_system_deployment_status
GROUP BY deployment_status;

-- Systems deployed in the last 24 hours
SELECT hostname, deployment_status, deployment_time
FROM view_system_deployment_status
WHERE deployment_time > NOW() - INTERVAL '24 hours'
ORDER BY deployment_time DESC;

-- Find systems that can't be traced to source control
SELECT hostname, current_derivation_path, status_description
FROM view_system_deployment_status
WHERE deployment_status IN ('unknown', 'no_deployment');
"""
MOST_BEHIND, SUMMARY, RECENT, UNTRACEABLE = DOCUMENT.split("\n\n")


def fill(url: str, *, set_database_search_path: bool) -> None:
    history = HistoryDatabase(SecretStr(url))
    history.migrate(set_database_search_path=set_database_search_path)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    now = row[0]
    common = {"current_commit_hash": "aaa", "latest_commit_hash": "bbb"}
    rows = statuses(
        {"hostname": "new", "deployment_status": "no_deployment", "status_description": "never"},
        {
            "hostname": "odd",
            "deployment_status": "unknown",
            "current_derivation_path": "/nix/store/odd",
            "status_description": "lost",
        },
        {
            **common,
            "hostname": "far",
            "deployment_status": "behind",
            "commits_behind": 9,
            "deployment_time": now - 30 * HOUR,
        },
        {
            **common,
            "hostname": "near",
            "deployment_status": "behind",
            "commits_behind": 2,
            "deployment_time": now - 2 * HOUR,
        },
        {
            "hostname": "good",
            "deployment_status": "up_to_date",
            "commits_behind": 0,
            "deployment_time": now - HOUR,
        },
    )
    history.replace_current(SYSTEM_DEPLOYMENT_STATUS, rows, snapshot_at=now, extracted_at=now)


def test_run_in_a_database_that_is_ours_alone(url: str) -> None:
    fill(url, set_database_search_path=True)
    with psycopg.connect(url) as connection:
        assert connection.execute(MOST_BEHIND).fetchall() == [
            ("far", 9, "aaa", "bbb"),
            ("near", 2, "aaa", "bbb"),
        ]
        assert dict(connection.execute(SUMMARY).fetchall()) == {
            "no_deployment": 1,
            "unknown": 1,
            "behind": 2,
            "up_to_date": 1,
        }
        assert [row[:2] for row in connection.execute(RECENT)] == [
            ("good", "up_to_date"),
            ("near", "behind"),
        ]
        assert connection.execute(UNTRACEABLE).fetchall() == [
            ("new", None, "never"),
            ("odd", "/nix/store/odd", "lost"),
        ]


def test_the_search_path_is_set_once(url: str) -> None:
    history = HistoryDatabase(SecretStr(url))
    assert any("SET search_path" in ran for ran in history.migrate(set_database_search_path=True))
    assert history.migrate(set_database_search_path=True) == []


@pytest.mark.parametrize("ours_alone", [True, False])
def test_run_in_psql(url: str, postgres_server: EmbeddedPostgres, *, ours_alone: bool) -> None:
    """In a shared database as the README says: with PGOPTIONS."""
    fill(url, set_database_search_path=ours_alone)
    options = {} if ours_alone else {"PGOPTIONS": "-c search_path=flakelag,public"}
    psql = [str(postgres_server.bin_path / "psql"), "--no-psqlrc", "--csv", "--quiet"]
    ran = subprocess.run(
        [*psql, "--tuples-only", "--set=ON_ERROR_STOP=1", f"--dbname={url}"],
        input=DOCUMENT,
        env={**os.environ, **options},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    most_behind, summary, recent, untraceable = (
        ran.stdout.splitlines()[:2],
        set(ran.stdout.splitlines()[2:6]),
        [line.rpartition(",")[0] for line in ran.stdout.splitlines()[6:8]],
        ran.stdout.splitlines()[8:],
    )
    assert most_behind == ["far,9,aaa,bbb", "near,2,aaa,bbb"]
    assert summary == {"no_deployment,1", "unknown,1", "behind,2", "up_to_date,1"}
    assert recent == ["good,up_to_date", "near,behind"]
    assert untraceable == ["new,,never", "odd,/nix/store/odd,lost"]
