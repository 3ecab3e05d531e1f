"""What heartbeats, whose number grows without end, add to an extraction."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import load_fleet
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet import queries
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.extraction import HOSTS_A_LOOK_UP, FleetDatabase
from pipelines.fleet.preflight import inspect_fleet
from pipelines.store.report_store import ReportStore
from tests.benchmark.comparison import SERVER_SETTINGS, tell
from tests.benchmark.measure import Stopwatch, in_new_process

WITHOUT, WITH = "extraction without heartbeats", "extraction with them"

_DATABASE = "fleet_of_the_benchmark"
_ROLE_WITHOUT = "without_heartbeats"
_LONGEST_PLAN_LINE = 110

# In the order in which they would arrive: all hosts once, then again five minutes later.
_FILL = """
INSERT INTO agent_heartbeats (id, system_state_id, timestamp)
SELECT beat::bigint * 1000000 + state, state, at - (beats - beat) * interval '5 minutes'
FROM (SELECT %(beats)s::int AS beats, %(until)s::timestamptz AS at) AS given,
     generate_series(1, beats) AS beat,
     unnest(%(states)s::int[]) AS state
"""


@dataclass(frozen=True)
class Heartbeats:
    """What was measured.

    Attributes:
        states: rows of `system_states`.
        hosts: how many have a heartbeat.
        beats: rows of `agent_heartbeats`.
        bytes: what they take with their index.
        seconds: of each kind of extraction, the least of all repetitions.
        plan: of one statement that looks heartbeats up.
    """

    states: int
    hosts: int
    beats: int
    bytes: int
    seconds: dict[str, float]
    plan: list[str]


def measure_heartbeats(spec: DemoFleet, beats: int, repetitions: int, folder: Path) -> Heartbeats:
    """Measures one fleet with about so many heartbeats.

    Args:
        spec: the fleet, of the newest generation.
        beats: heartbeats in all; each takes some 90 bytes on the disk.
        repetitions: of each extraction.
        folder: for everything that is made.
    """
    server = EmbeddedPostgres(
        folder / "postgres", settings={**SERVER_SETTINGS, "autovacuum": "off"}
    )
    server.start()
    try:
        url = server.ensure_database(_DATABASE)
        tell("making the fleet")
        states, last_states = in_new_process(_load, url, spec)
        tell("making heartbeats")
        rows = _fill(url, spec, last_states, beats)
        tell("extracting, with and without")
        without = server.url(_DATABASE, user=_ROLE_WITHOUT)
        seconds = in_new_process(_extract_in_turn, url, without, folder, repetitions)
        with psycopg.connect(url) as connection:
            size = connection.execute(
                "SELECT pg_total_relation_size('agent_heartbeats')"
            ).fetchone()
        assert size is not None
        plan = _plan(url, spec, last_states[:HOSTS_A_LOOK_UP])
    finally:
        server.stop()
    return Heartbeats(states, len(last_states), rows, size[0], seconds, plan)


def _load(url: str, spec: DemoFleet) -> tuple[int, list[int]]:
    tables = generate_fleet(spec)
    last_states = tables["agent_heartbeats"]["system_state_id"].unique().to_pylist()
    load_fleet(url, tables, spec.generation)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return tables["system_states"].num_rows, last_states


def _fill(url: str, spec: DemoFleet, last_states: list[int], beats: int) -> int:
    # A bulk load: keys and indexes come last, and what a crash would leave is of no interest.
    given = {
        "beats": max(1, beats // len(last_states)),
        "until": spec.until - timedelta(minutes=1),
        "states": last_states,
    }
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE agent_heartbeats")
        connection.execute("DROP INDEX idx_agent_heartbeats_state")
        connection.execute(
            "ALTER TABLE agent_heartbeats DROP CONSTRAINT agent_heartbeats_pkey, "
            "DROP CONSTRAINT agent_heartbeats_system_state_id_fkey"
        )
        connection.execute("ALTER TABLE agent_heartbeats SET UNLOGGED")
        rows = connection.execute(_FILL, given).rowcount
        tell("indexing them")
        connection.execute("CREATE INDEX ON agent_heartbeats (system_state_id, timestamp DESC)")
        role = sql.Identifier(_ROLE_WITHOUT)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        connection.execute(
            sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role)
        )
        connection.execute(sql.SQL("REVOKE SELECT ON agent_heartbeats FROM {}").format(role))
        connection.execute("ANALYZE agent_heartbeats")
    return rows


def _extract_in_turn(url: str, without: str, folder: Path, repetitions: int) -> dict[str, float]:
    stopwatch = Stopwatch()
    for number in range(repetitions):
        for kind, address in ((WITHOUT, without), (WITH, url)):
            name = f"{kind.replace(' ', '-')}-{number}"
            with ReportStore(folder).new_extract(name) as writer:
                summary = stopwatch.time(kind, FleetDatabase(SecretStr(address)).extract, writer)
                assert ("agent_heartbeats" in summary.optional_tables) is (kind == WITH)
                writer.complete(summary)
    return stopwatch.seconds


def _plan(url: str, spec: DemoFleet, states: list[int]) -> list[str]:
    with FleetConnection(SecretStr(url), timedelta(minutes=1)) as connection:
        shape = inspect_fleet(connection)
    statement = queries.select_heartbeats([(state, spec.until) for state in states], shape)
    with psycopg.connect(url) as session:
        for setting in queries.LOOKING_UP:
            session.execute(setting.encode())
        rows = session.execute(f"EXPLAIN (COSTS OFF) {statement}".encode()).fetchall()
    return [row[0][:_LONGEST_PLAN_LINE] for row in rows]
