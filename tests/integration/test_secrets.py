"""Canaries in every address, then a search through everything that runs leave behind.

Each password and the webhook's path consist of pieces that begin with the canary, parted by the
characters that URLs care about: whichever piece leaks, plain or percent-encoded, is found.
"""

import gzip
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pyarrow.parquet as pq
import pytest
import requests
from psycopg import sql
from pydantic import SecretStr

from pipelines.alerts.state import AlertState, AlertStateFile
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance import prepare_instance
from pipelines.settings import Settings
from tests.integration.canaries import CANARY, cells_of_postgres, cells_of_sqlite, tells
from tests.integration.command_process import (
    FLAKELAG,
    ROOT,
    environment,
    running,
    session_members,
)
from tests.integration.fleet_support import create_fleet, run_sql
from tests.integration.tcp_door import free_port, open_door
from tests.waiting import PATIENCE_SECONDS, wait_until

WEBSERVER = (*FLAKELAG, "webserver")

# Logs of whoever connects or posts, shown in the UI too.
DEBUG_LOGS = """
python_logs:
  managed_python_loggers: [psycopg, psycopg.pool, psycopg2, urllib3, requests, assets, pipelines]
  python_log_level: DEBUG
"""

# The command as it is, once for each line of settings, in a process that logs all it can.
SCRIPT = """
import json, logging, os, sys
import click
from pipelines.cli import main

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
common = dict(os.environ)
for line in sys.stdin:
    os.environ.clear()
    given = common | json.loads(line)
    os.environ.update({name: value for name, value in given.items() if value is not None})
    try:
        main(["report"], standalone_mode=False)
        print("SUCCEEDED")
    except click.ClickException as error:
        error.show(sys.stdout)
        print("FAILED")
"""


def password(of: str) -> str:
    return f"{CANARY}1{of}/{CANARY}2@{CANARY}3:{CANARY}4?{CANARY}5%{CANARY}6 {CANARY}7"


@dataclass(frozen=True)
class Guarded:
    """A server that asks everybody but its owner for a password, behind a TCP port."""

    server: EmbeddedPostgres
    port: int

    def url(self, user: str, database: str, secret: str | None = None) -> str:
        """With the user's own password, or another one; "" for none."""
        given = password(user) if secret is None else secret
        login = f"{user}:{quote(given, safe='')}" if given else user
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"


DATABASES = {"reader": "fleet", "historian": "history", "keeper": "dagster"}
"""By role."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    try:
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute("SET password_encryption = 'scram-sha-256'")
            for role, database in DATABASES.items():
                server.ensure_database(database)
                owner.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(password(role))
                    )
                )
                owner.execute(
                    sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                        sql.Identifier(database), sql.Identifier(role)
                    )
                )
        create_fleet(server.url("fleet"))
        run_sql(
            server.url("fleet"),
            "UPDATE derivations SET store_path = '/nix/store/d-web'",
            "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
            " SELECT i, 1, 'c' || i, timestamptz '2026-01-03 00:00:00+00'"
            " FROM generate_series(2, 5) i",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        )
        access = server.data_dir / "cluster" / "pg_hba.conf"
        access.write_text(f"local all {','.join(DATABASES)} scram-sha-256\n{access.read_text()}")
        run_sql(server.url(), "SELECT pg_reload_conf()")
        port = free_port()
        with open_door(port, Path(server.data_dir) / "cluster" / ".s.PGSQL.5432"):
            yield Guarded(server, port)
    finally:
        server.stop()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Left:
    """What the runs have left behind.

    Attributes:
        folder: all files.
        outcomes: of each run, in order.
        said: standard output and standard error.
        given: the settings of the runs that succeed, for those who look at them later.
    """

    folder: Path
    outcomes: list[str]
    said: str
    given: dict[str, str]


@pytest.fixture(scope="module")
def left(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Left:

    folder = tmp_path_factory.mktemp("canary")
    passwords = folder / "home" / "pgpass"
    passwords.parent.mkdir()
    escaped = {role: password(role).replace(":", "\\:") for role in DATABASES}
    passwords.write_text("".join(f"*:*:*:{role}:{secret}\n" for role, secret in escaped.items()))
    passwords.chmod(0o600)

    right = {
        "FLEET_DATABASE_URL": guarded.url("reader", "fleet"),
        "HISTORY_DATABASE_URL": guarded.url("historian", "history"),
        "DAGSTER_POSTGRES_URL": guarded.url("keeper", "dagster"),
        "ALERT_WEBHOOK_URL": f"http://127.0.0.1:1/services/{quote(password('webhook'), safe='')}",
        "ALERT_COMMITS_BEHIND": "1",
        "DAGSTER_HOME": str(folder / "postgres"),
        "REPORTS_DIR": str(folder / "reports"),
        "EXTRACT_RETRY_SECONDS": "0.01",
        "FLAKELAG_VAR_DIR": str(folder / "var"),
    }
    in_files: dict[str, str | None] = {
        "DAGSTER_HOME": str(folder / "sqlite"),
        "DAGSTER_POSTGRES_URL": None,
    }
    from_pgpass: dict[str, str | None] = {
        "FLEET_DATABASE_URL": guarded.url("reader", "fleet", ""),
        "HISTORY_DATABASE_URL": guarded.url("historian", "history", ""),
        "PGPASSFILE": str(passwords),
    }
    wrong = password("wrong")
    malformed = f"postgresql://user:{wrong}@127.0.0.1/database"
    for home, url in (("postgres", right["DAGSTER_POSTGRES_URL"]), ("sqlite", None)):
        settings = Settings(
            dagster_home=folder / home, dagster_postgres_url=None if url is None else SecretStr(url)
        )
        with (prepare_instance(settings) / "dagster.yaml").open("a") as file:
            file.write(DEBUG_LOGS)

    runs: list[dict[str, str | None]] = [
        {},
        {"FLEET_DATABASE_URL": guarded.url("reader", "fleet", wrong)},
        {"FLEET_DATABASE_URL": guarded.url("reader", "nothing")},
        {"FLEET_DATABASE_URL": malformed},
        {"FLEET_DATABASE_URL": guarded.url("reader", "fleet").replace(str(guarded.port), "1")},
        {"HISTORY_DATABASE_URL": guarded.url("historian", "history", wrong)},
        {"HISTORY_DATABASE_URL": malformed},
        {
            "HISTORY_DATABASE_URL": guarded.url("historian", "history").replace(
                str(guarded.port), "1"
            )
        },
        {"DAGSTER_POSTGRES_URL": guarded.url("keeper", "dagster", wrong)},
        {"DAGSTER_POSTGRES_URL": malformed},
        in_files | from_pgpass,
        in_files | {"FLEET_DATABASE_URL": guarded.url("reader", "fleet", wrong)},
    ]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="".join(json.dumps(right | run) + "\n" for run in runs),
        cwd=folder,
        env=environment(folder / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [line for line in result.stdout.splitlines() if line in ("SUCCEEDED", "FAILED")]
    passwords.unlink()
    return Left(folder, outcomes, result.stdout + result.stderr, right)


def test_the_runs_ended_as_they_should(left: Left) -> None:
    assert left.outcomes == ["SUCCEEDED", *["FAILED"] * 9, "SUCCEEDED", "FAILED"], left.said[-5000:]


def test_a_wrong_password_is_not_tried_again(left: Left, guarded: Guarded) -> None:
    """A server may lock an account that is knocked at too often."""
    with psycopg.connect(guarded.server.url("dagster")) as connection:
        retried = connection.execute(
            """
            SELECT step_key, count(*) FROM event_logs
            WHERE dagster_event_type = 'STEP_UP_FOR_RETRY'
            GROUP BY step_key ORDER BY step_key
            """
        ).fetchall()
    # Three retries of the runs that could not reach the fleet or history database, and no more.
    assert retried == [
        ("deployment_history", 3),
        ("deployment_velocity", 3),
        ("read_fleet_database", 3),
        ("view_system_deployment_status", 3),
    ]


def test_nothing_was_said_of_it(left: Left) -> None:
    assert left.said.count("DEBUG:") > 100
    assert CANARY not in left.said


def test_no_file_holds_it(left: Left) -> None:
    files = [path for path in left.folder.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert {".db", ".parquet", ".json", ".yaml", ".html", ".err"} <= suffixes
    telling = [path for path in files if tells(path.read_bytes())]
    for path in files:
        if path.suffix == ".db" and any(map(tells, cells_of_sqlite(path))):
            telling.append(path)
        if path.suffix == ".parquet" and tells(str(pq.read_table(path).to_pylist()).encode()):
            telling.append(path)
    assert telling == []
    assert not [path for path in left.folder.rglob("*") if CANARY in path.name]


def test_no_table_holds_it(left: Left, guarded: Guarded) -> None:
    seen: dict[str, int] = {}
    for database in DATABASES.values():
        for table, cell in cells_of_postgres(guarded.server.url(database)):
            seen[table] = seen.get(table, 0) + 1
            assert not tells(cell), (database, table, cell[:2000])
    assert seen["event_logs"] > 1000
    assert {"runs", "run_tags", "snapshots", "loads"} <= seen.keys()


RUNS = "{runsOrError {... on Runs {results {runId status runConfigYaml tags {key value}}}}}"
EVENTS = """
query ($runId: ID!) {logsForRun(runId: $runId, limit: 1000) {... on EventConnection {events {
  ... on MessageEvent {message level stepKey}
  ... on ErrorEvent {error {...told}}
  ... on StepExpectationResultEvent {stepKey}
  ... on ExecutionStepUpForRetryEvent {error {...told}}
  ... on DisplayableEvent {label description metadataEntries {label description ...told_entry}}
  ... on LogsCapturedEvent {fileKey logKey stepKeys externalUrl}
}}}}
fragment told on PythonError {message stack className cause {message stack}
  errorChain {error {message stack}}}
fragment told_entry on MetadataEntry {
  ... on TextMetadataEntry {text} ... on PathMetadataEntry {path}
  ... on JsonMetadataEntry {jsonString}
}
"""
RESOURCES = """
query ($repository: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
    ... on ResourceDetailsList {results {name description resourceType isTopLevel
      configFields {name description configTypeKey defaultValueAsJson}
      configuredValues {key value type}
      nestedResources {name}}}
    ... on PythonError {message stack}
  }
}
"""
INSTANCE = """
{instance {id info hasInfo runLauncher {name} runQueuingSupported
           concurrencyLimits {concurrencyKey slotCount} daemonHealth {allDaemonStatuses {daemonType
           lastHeartbeatErrors {message stack}}}}
 workspaceOrError {... on Workspace {locationEntries {name displayMetadata {key value}
   locationOrLoadError {... on PythonError {message stack} __typename}}}}}
"""
SENSOR = """
mutation ($selector: SensorSelector!) {sensorDryRun(selectorData: $selector, cursor: "") {
  ... on DryRunInstigationTick {evaluationResult {skipReason error {message stack cause {message}}}}
  ... on PythonError {message stack}
  ... on SensorNotFoundError {message}
}}
"""


def test_the_ui_does_not_show_it(left: Left) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    repository = {"repositoryLocationName": "flakelag", "repositoryName": "__repository__"}
    seen: list[str] = []

    def ask(query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"{address}/graphql",
            json={"query": query, "variables": variables},
            timeout=PATIENCE_SECONDS,
        )
        seen.append(answer.text)
        assert "errors" not in answer.json(), answer.text[:2000]
        return answer.json()["data"]

    def answers() -> bool:
        with suppress(requests.ConnectionError, requests.Timeout):
            return requests.get(f"{address}/server_info", timeout=10).ok
        return False

    log = left.folder / "webserver.log"
    command = (*WEBSERVER, "--port", str(port))
    with running(command, ROOT, log, **left.given) as webserver:
        wait_until(answers, webserver, said=log.read_text)
        resources = ask(RESOURCES, repository=repository)["allTopLevelResourceDetailsOrError"]
        assert {"fleet_database", "history", "reports"} <= {r["name"] for r in resources["results"]}
        for resource in resources["results"]:
            assert re.fullmatch(r"pipelines\.wiring\.\w+", resource["resourceType"])
            assert resource["description"]
            assert resource["configuredValues"] == []
        assert "run_storage: PostgresRunStorage" in ask(INSTANCE)["instance"]["info"]
        runs = ask(RUNS)["runsOrError"]["results"]
        assert sorted(run["status"] for run in runs) == ["FAILURE"] * 7 + ["SUCCESS"]
        for run in runs:
            ask(EVENTS, runId=run["runId"])
            debug_file = requests.get(
                f"{address}/download_debug/{run['runId']}", timeout=PATIENCE_SECONDS
            )
            seen.append(gzip.decompress(debug_file.content).decode())
        # From the beginning of the event log: an alert of every failure above.
        alerts = AlertStateFile(Path(left.given["REPORTS_DIR"]), "failures")
        alerts.save(AlertState(position=0))
        for sensor in ("tell_of_failures", "tell_of_systems_behind"):
            told = ask(SENSOR, selector=repository | {"sensorName": sensor})["sensorDryRun"]
            assert "evaluationResult" in told, told
        assert "The webhook can't be reached." in seen[-1]
        pending = alerts.load().pending
        assert pending is not None
        seen.append(pending.model_dump_json())
        assert (
            "failed at `read_fleet_database`: The fleet database can't be connected" in pending.text
        )
        for pid in session_members(webserver.pid):
            assert not tells(Path(f"/proc/{pid}/cmdline").read_bytes())

    assert sum(map(len, seen)) > 100_000
    assert "password authentication failed" in "".join(seen)
    assert [text[:3000] for text in seen if CANARY in text] == []
    assert not tells(log.read_bytes())
