"""The demo fleet in PostgreSQL: what it promises is there, counted by SQL of this test's own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import LiteralString, get_args

import psycopg
import pytest
from psycopg import errors

from pipelines.demo.ensure import DEMO_DATABASE, ensure_demo_fleet
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import load_fleet
from pipelines.demo.source_schema import Generation, create_source_schema
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.waiting import PATIENCE_SECONDS

IS_FULL_SCALE = os.environ.get("FLAKELAG_TEST_SCALE") == "full"
UNTIL = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
GENERATIONS: tuple[Generation, ...] = get_args(Generation)

# All generations look alike from here on.
FACTS = """
CREATE TEMP TABLE present AS
SELECT current_setting('test.until')::timestamptz AS now_at;
CREATE TEMP TABLE reports AS
SELECT id, hostname, timestamp, change_reason,
       coalesce(to_jsonb(s) ->> 'store_path', to_jsonb(s) ->> 'derivation_path') AS path
FROM system_states AS s;
CREATE TEMP TABLE running AS
SELECT DISTINCT ON (hostname) hostname, path
FROM reports ORDER BY hostname, timestamp DESC, id DESC;
CREATE TEMP TABLE builds AS
SELECT d.*, to_jsonb(d) ->> 'store_path' AS output FROM derivations AS d
WHERE derivation_type = 'nixos';
CREATE TEMP TABLE paths AS
SELECT derivation_path AS path, id, commit_id FROM builds
UNION SELECT output, id, commit_id FROM builds
UNION SELECT to_jsonb(b) ->> 'expected_store_path', id, commit_id FROM builds AS b
WHERE output IS NULL;
CREATE TEMP TABLE matches AS
SELECT r.hostname, c.id AS commit_id, c.flake_id, c.commit_timestamp < now_at AS is_visible,
       c.id = (
           SELECT l.id FROM commits AS l
           WHERE l.flake_id = c.flake_id AND l.commit_timestamp < now_at
           ORDER BY l.commit_timestamp DESC, l.id DESC LIMIT 1
       ) AS is_latest
FROM present, running AS r JOIN paths USING (path) JOIN commits AS c ON c.id = commit_id;
CREATE TEMP TABLE active AS
SELECT * FROM systems WHERE is_active IS NOT FALSE;
CREATE TEMP TABLE own AS
SELECT m.*, count(*) FILTER (WHERE is_visible) OVER (PARTITION BY hostname) AS visible,
       bool_or(is_latest) OVER (PARTITION BY hostname) AS has_latest
FROM matches AS m JOIN active AS a USING (hostname) WHERE a.flake_id = m.flake_id;
CREATE TEMP TABLE visible_flakes AS
SELECT DISTINCT flake_id FROM commits, present WHERE commit_timestamp < now_at;
CREATE TEMP TABLE events AS
SELECT r.*, lag(path) OVER host AS path_before
FROM reports AS r WINDOW host AS (PARTITION BY hostname ORDER BY timestamp, id);
CREATE TEMP TABLE event_commits AS
SELECT e.hostname, e.timestamp, c.flake_id, max(c.commit_timestamp) AS newest
FROM events AS e JOIN paths USING (path) JOIN commits AS c ON c.id = commit_id
WHERE e.path IS DISTINCT FROM e.path_before GROUP BY 1, 2, 3;
CREATE TEMP TABLE steps AS
SELECT *, lag(newest) OVER (PARTITION BY hostname, flake_id ORDER BY timestamp) AS newest_before,
       lag(flake_id) OVER (PARTITION BY hostname ORDER BY timestamp) AS flake_before
FROM event_commits;
ANALYZE;
"""

# Each counts what has to be there, and how much of it there should at least be.
PROMISES: dict[str, tuple[LiteralString, int]] = {
    "no_deployment": (
        "FROM active WHERE hostname NOT IN (SELECT hostname FROM running)",
        3,
    ),
    "up_to_date": ("FROM (SELECT DISTINCT hostname FROM own WHERE has_latest)", 80),
    "behind": ("FROM (SELECT DISTINCT hostname FROM own WHERE visible > 0 AND NOT has_latest)", 20),
    "ahead": (
        "FROM (SELECT DISTINCT hostname FROM own JOIN visible_flakes USING (flake_id) "
        "WHERE visible = 0)",
        1,
    ),
    "path_not_in_derivations": (
        "FROM running JOIN active USING (hostname) "
        "WHERE path NOT IN (SELECT path FROM paths WHERE path IS NOT NULL)",
        1,
    ),
    "derivation_without_commit": (
        "FROM running WHERE hostname NOT IN (SELECT hostname FROM matches) "
        "AND path IN (SELECT path FROM paths WHERE commit_id IS NULL)",
        1,
    ),
    "flake_mismatch": (
        "FROM active WHERE hostname IN (SELECT hostname FROM matches) "
        "AND flake_id IS NOT NULL AND hostname NOT IN (SELECT hostname FROM own)",
        1,
    ),
    "flake_has_no_commits": (
        "FROM (SELECT DISTINCT hostname FROM own "
        "WHERE flake_id NOT IN (SELECT flake_id FROM visible_flakes))",
        1,
    ),
    "unregistered host": (
        "FROM running WHERE hostname NOT IN (SELECT hostname FROM systems)",
        1,
    ),
    "deactivated system that once ran": (
        "FROM systems JOIN running USING (hostname) WHERE is_active IS FALSE",
        1,
    ),
    "is_active null": ("FROM systems WHERE is_active IS NULL", 1),
    "created_at null": ("FROM systems WHERE created_at IS NULL", 1),
    "environment null": ("FROM systems WHERE environment_id IS NULL", 1),
    "environments": (
        "FROM (SELECT DISTINCT name FROM systems JOIN environments AS e ON e.id = environment_id)",
        3,
    ),
    "system without flake": (
        "FROM active JOIN matches USING (hostname) WHERE active.flake_id IS NULL",
        1,
    ),
    "host that changed its flake": ("FROM steps WHERE flake_id <> flake_before", 1),
    "flake that nobody deploys": (
        "FROM visible_flakes WHERE flake_id NOT IN (SELECT flake_id FROM matches) "
        "AND flake_id NOT IN (SELECT flake_id FROM systems WHERE flake_id IS NOT NULL)",
        1,
    ),
    "rollback": ("FROM steps WHERE newest < newest_before", 20),
    "repeated report": ("FROM events WHERE path = path_before", 5_000),
    "reboot": ("FROM events WHERE change_reason = 'startup' AND path = path_before", 500),
    "two reports at one instant": (
        "FROM (SELECT FROM reports GROUP BY hostname, timestamp HAVING count(*) > 1)",
        10,
    ),
    "straggler": (
        "FROM (SELECT hostname FROM own JOIN commits AS c ON c.id = commit_id, present "
        "GROUP BY hostname HAVING max(commit_timestamp) < max(now_at) - interval '30 days')",
        3,
    ),
    "commits in one second": (
        "FROM (SELECT FROM commits GROUP BY flake_id, commit_timestamp HAVING count(*) > 1)",
        1,
    ),
    "commit pushed late": (
        "FROM commits AS a JOIN commits AS b ON a.flake_id = b.flake_id AND a.id > b.id "
        "AND a.commit_timestamp < b.commit_timestamp "
        "WHERE b.commit_timestamp < (SELECT now_at FROM present)",
        1,
    ),
    "commit without derivations": (
        "FROM commits WHERE flake_id IN (SELECT flake_id FROM own) "
        "AND id NOT IN (SELECT commit_id FROM builds WHERE commit_id IS NOT NULL)",
        1,
    ),
    "failed build": (
        "FROM builds JOIN derivation_statuses AS s ON s.id = status_id "
        "WHERE s.name = 'build-failed'",
        100,
    ),
    "commit and configuration with two derivations": (
        "FROM (SELECT FROM builds GROUP BY commit_id, derivation_name HAVING count(*) > 1)",
        1,
    ),
    "package derivation": ("FROM derivations WHERE derivation_type = 'package'", 20_000),
    "heartbeat": ("FROM agent_heartbeats", 100),
    "flake": ("FROM flakes", 6),
    "day with commits": (
        "FROM (SELECT DISTINCT commit_timestamp::date FROM commits, present "
        "WHERE commit_timestamp BETWEEN now_at - interval '120 days' AND now_at)",
        70,
    ),
}
NEWER_PROMISES: dict[str, tuple[LiteralString, int]] = {
    "output that many commits share": (
        "FROM (SELECT FROM builds WHERE output IS NOT NULL GROUP BY output "
        "HAVING count(DISTINCT commit_id) > 2)",
        100,
    ),
    "configuration named otherwise": (
        "FROM systems JOIN builds ON derivation_name = system_configuration_name "
        "WHERE system_configuration_name <> hostname",
        1,
    ),
    "blank configuration name": ("FROM systems WHERE system_configuration_name = ''", 1),
    "commit whose evaluation failed": ("FROM commits WHERE evaluation_status = 'failed'", 1),
}

# What source-schema.md names, and no more.
INDEXES = {
    *("agent_heartbeats_pkey", "commits_pkey", "commits_flake_id_git_commit_hash_key"),
    *("derivation_statuses_pkey", "derivation_statuses_name_key", "derivations_pkey"),
    *("derivations_derivation_path_key", "environments_pkey", "environments_name_key"),
    *("flakes_pkey", "flakes_repo_url_key", "system_states_pkey", "systems_pkey"),
    *("systems_hostname_key", "idx_systems_hostname"),
}

NEWEST_INDEXES = {
    *("idx_derivations_expected_store_path", "idx_agent_heartbeats_state", "cache_push_jobs_pkey"),
    "flake_branch_commit_snapshot_pkey",
    "flake_branch_commit_snapshot_flake_id_position_key",
}
NEWEST_COLUMNS = {
    "derivations.expected_store_path": "text",
    "commits.source_archived": "boolean",
    "commits.first_parent_sha": "text",
    "commits.first_parent_resolved": "boolean",
    "flakes.branch": "text",
    "flakes.deleted_at": "timestamp with time zone",
    "flakes.sync_status": "text",
    "flakes.last_sync_at": "timestamp with time zone",
    "flakes.last_sync_error": "text",
    "flakes.snapshot_ready_at": "timestamp with time zone",
    "systems.desired_target": "text",
    "flake_branch_commit_snapshot.position": "integer",
    "flake_branch_commit_snapshot.observed_at": "timestamp with time zone",
    "cache_push_jobs.derivation_id": "integer",
    "cache_push_jobs.status": "text",
    "cache_push_jobs.completed_at": "timestamp with time zone",
    "cache_push_jobs.attempts": "integer",
}

NewDatabase = Callable[..., str]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_everything_that_is_promised_is_there(
    new_database: NewDatabase, generation: Generation
) -> None:
    url = new_database()
    load_fleet(url, generate_fleet(DemoFleet(until=UNTIL, generation=generation)), generation)
    promises = {**PROMISES, **(NEWER_PROMISES if generation != "older" else {})}
    missing = {}
    with psycopg.connect(url) as connection:
        connection.execute("SELECT set_config('test.until', %s, false)", (UNTIL.isoformat(),))
        connection.execute(FACTS)
        for name, (counted, at_least) in promises.items():
            row = connection.execute("SELECT count(*) " + counted).fetchone()
            assert row is not None
            if row[0] < at_least:
                missing[name] = row[0]
    assert missing == {}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_schema_has_the_documented_indexes_and_columns(
    new_database: NewDatabase, generation: Generation
) -> None:
    with psycopg.connect(new_database(encoding="SQL_ASCII"), client_encoding="utf8") as connection:
        create_source_schema(connection, generation)
        indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
        added = set() if generation == "older" else {"idx_derivations_store_path"}
        added |= NEWEST_INDEXES if generation == "newest" else set()
        assert {row[0] for row in connection.execute(indexes)} == INDEXES | added
        columns = {
            f"{table}.{column}": data_type
            for table, column, data_type in connection.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'public'"
            )
        }
    for name in (
        "commits.evaluation_status",
        "derivations.store_path",
        "systems.deployment_policy",
        "systems.system_configuration_name",
        "system_states.store_path",
    ):
        assert (columns.get(name) == "text") is (generation != "older"), name
    for name, data_type in NEWEST_COLUMNS.items():
        assert columns.get(name) == (data_type if generation == "newest" else None), name
    assert ("system_states.derivation_path" in columns) is (generation == "older")
    assert columns["system_states.network_interfaces"] == "jsonb"
    assert sum(name.startswith("system_states.") for name in columns) > 20
    assert columns["agent_heartbeats.id"] == "bigint"
    assert columns["systems.id"] == columns["environments.id"] == "uuid"


def test_rows_that_are_inserted_later_go_on_from_the_loaded_ones(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    tables = generate_fleet(DemoFleet(until=UNTIL, systems=12, package_derivations=0))
    load_fleet(url, tables, "newest")
    with psycopg.connect(url) as connection:
        inserted = connection.execute(
            "INSERT INTO commits (flake_id, git_commit_hash, commit_timestamp) "
            "VALUES (1, 'later', now()) RETURNING id"
        ).fetchone()
        assert inserted == (len(tables["commits"]) + 1,)
        with pytest.raises(errors.DuplicateTable):
            load_fleet(url, tables, "newest")


@pytest.fixture
def no_demo_yet(postgres_server: EmbeddedPostgres) -> EmbeddedPostgres:
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DEMO_DATABASE} WITH (FORCE)".encode())
    return postgres_server


def newest_report(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT max(timestamp), count(*) FROM system_states").fetchone()


def test_the_demo_is_made_once_and_read_by_a_role_that_can_do_nothing_else(
    no_demo_yet: EmbeddedPostgres,
) -> None:
    url = ensure_demo_fleet(no_demo_yet, UNTIL)
    first = newest_report(url)
    assert ensure_demo_fleet(no_demo_yet, UNTIL + timedelta(days=3)) == url
    assert newest_report(url) == first
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for forbidden in (
            "DELETE FROM system_states",
            "DELETE FROM agent_heartbeats",
            "CREATE TABLE mine ()",
            "SET ROLE postgres",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())


MAKING_PROCESS = """
import sys
from datetime import datetime
from pathlib import Path
from pipelines.demo.ensure import ensure_demo_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("begins", flush=True)
ensure_demo_fleet(server, datetime.fromisoformat(sys.argv[2]))
"""


def making_process(server: EmbeddedPostgres) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKING_PROCESS, str(server.data_dir), UNTIL.isoformat()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.mark.slow
def test_a_demo_that_was_killed_while_it_was_made_is_never_half_there(
    no_demo_yet: EmbeddedPostgres,
) -> None:
    kills = 40 if IS_FULL_SCALE else 3
    owner_url = no_demo_yet.url(DEMO_DATABASE)
    for number in range(kills):
        with making_process(no_demo_yet) as process:
            time.sleep(2.0 * number / kills)
            process.kill()
        no_demo_yet.ensure_database(DEMO_DATABASE)
        with psycopg.connect(owner_url) as connection:
            tables = connection.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchone()
        assert tables in ((0,), (10,))
    assert newest_report(ensure_demo_fleet(no_demo_yet, UNTIL)) == newest_report(owner_url)


def test_two_that_make_the_demo_at_once_make_one(no_demo_yet: EmbeddedPostgres) -> None:
    with making_process(no_demo_yet) as one, making_process(no_demo_yet) as other:
        assert one.wait(PATIENCE_SECONDS) == 0
        assert other.wait(PATIENCE_SECONDS) == 0
    expected = generate_fleet(DemoFleet(until=UNTIL))["system_states"]
    url = ensure_demo_fleet(no_demo_yet, UNTIL)
    with psycopg.connect(url) as connection:
        count = connection.execute("SELECT count(*) FROM system_states").fetchone()
    assert count == (len(expected),)
