"""Heartbeats: the newest of each host's last state, looked up by the index and never by a scan."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from pipelines.fleet import queries
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.preflight import FleetShape, inspect_fleet
from tests.integration.fleet_support import create_fleet, extract, run_sql, value

NewDatabase = Callable[..., str]

BEAT = "INSERT INTO agent_heartbeats (system_state_id, timestamp) VALUES "
STATE = "INSERT INTO system_states (id, hostname, change_reason, timestamp, store_path) VALUES "
INDEX = "DROP INDEX idx_agent_heartbeats_state"


def shape_of(url: str) -> FleetShape:
    with FleetConnection(SecretStr(url), timedelta(minutes=1)) as connection:
        return inspect_fleet(connection)


def beats(url: str) -> list[tuple[int, datetime]]:
    summary, sink = extract(url)
    rows = sink.tables["agent_heartbeats"].to_pylist()
    assert summary.rows_read["agent_heartbeats"] == len(rows)
    assert summary.rows_staged["agent_heartbeats"] == len(rows)
    assert summary.rows_quarantined["agent_heartbeats"] == 0
    return [(row["system_state_id"], row["timestamp"]) for row in rows]


def test_only_the_newest_of_each_hosts_last_state_is_read(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        # By (timestamp, id): the last state of `web` is 12, though 13 has the greater id.
        STATE + "(11, 'web', 'startup', '2026-02-01 10:00+00', '/p'),"
        "(12, 'web', 'startup', '2026-02-01 11:00+00', '/p'),"
        "(13, 'web', 'startup', '2026-02-01 09:00+00', '/p'),"
        # Of equal instants the greatest id counts, and a host need not be registered.
        "(14, 'db', 'startup', '2026-02-01 11:00+00', '/p'),"
        "(15, 'db', 'startup', '2026-02-01 11:00+00', '/p'),"
        "(16, 'mute', 'startup', '2026-02-01 11:00+00', '/p')",
        BEAT + "(11, '2026-02-03 00:00+00'), (13, '2026-02-03 00:00+00'),"
        "(12, '2026-02-02 00:00+00'), (12, '2026-02-02 00:05:00.123456+00'),"
        "(14, '2026-02-03 00:00+00'), (15, '2026-01-01 00:00+00')",
    )

    assert beats(url) == [
        (12, datetime(2026, 2, 2, 0, 5, 0, 123456, UTC)),
        (15, datetime(2026, 1, 1, tzinfo=UTC)),
    ]


def test_no_clock_that_runs_fast_gives_a_seen_after_the_reading(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        STATE + "(11, 'web', 'startup', now() + interval '1 hour', '/p'),"
        "(12, 'db', 'startup', now() - interval '1 hour', '/p'),"
        "(13, 'odd', 'startup', now() - interval '1 hour', '/p'),"
        "(14, 'never', 'startup', now() - interval '1 hour', '/p')",
        # Of the state that is to come only by its clock, nothing is visible.
        BEAT + "(1, '2026-02-01 00:00+00'), (11, now() - interval '1 minute'),"
        "(12, now() + interval '10 minutes'), (12, '2026-02-02 00:00+00'),"
        "(13, 'infinity'), (13, '-infinity'), (13, '1969-12-31 23:59:59+00'),"
        "(13, '1970-01-01 00:00+00'), (14, '-infinity'), (14, 'infinity'),"
        "(14, '3000-01-01 00:00+00')",
    )

    assert beats(url) == [
        (1, datetime(2026, 2, 1, tzinfo=UTC)),
        (12, datetime(2026, 2, 2, tzinfo=UTC)),
        (13, datetime(1970, 1, 1, tzinfo=UTC)),
    ]


def test_as_of_two_instants_the_same_heartbeat_is_given_once(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    midnight = datetime(2026, 2, 2, tzinfo=UTC)
    now = midnight + timedelta(minutes=20)
    run_sql(
        url,
        STATE + "(11, 'a', 'startup', '2026-02-01 10:00+00', '/p'),"
        "(12, 'b', 'startup', '2026-02-01 10:00+00', '/p')",
        BEAT + "(11, '2026-02-01 23:59:59.999999+00'), (11, '2026-02-02 00:00+00'),"
        "(11, '2026-02-02 00:20+00'), (12, '2026-02-01 20:00+00')",
    )
    pairs = [(state, instant) for state in (11, 12) for instant in (midnight, now)]
    statement = queries.select_heartbeats(pairs, shape_of(url))

    with psycopg.connect(url) as session:
        rows = session.execute(statement.encode()).fetchall()

    assert rows == [
        (11, midnight - timedelta(microseconds=1)),
        (11, midnight),
        (12, datetime(2026, 2, 1, 20, tzinfo=UTC)),
    ]


def plan_of(url: str, states: int) -> str:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    pairs = [(state, now) for state in range(1, states + 1)]
    statement = queries.select_heartbeats(pairs, shape_of(url))
    with psycopg.connect(url) as session:
        for setting in queries.LOOKING_UP:
            session.execute(setting.encode())
        return "\n".join(row[0] for row in session.execute(f"EXPLAIN {statement}".encode()))


@pytest.mark.parametrize("beats_a_state", [0, 1, 300])
@pytest.mark.parametrize("analyzed", ["never", "when empty", "as it is"])
def test_each_look_up_is_one_in_the_index(
    new_database: NewDatabase, analyzed: str, beats_a_state: int
) -> None:
    url = create_fleet(new_database(), states=200)
    run_sql(
        url,
        *(["ANALYZE agent_heartbeats"] if analyzed == "when empty" else []),
        "INSERT INTO agent_heartbeats (system_state_id, timestamp)"
        " SELECT s, timestamptz '2026-02-01 00:00+00' + b * interval '1 minute'"
        f" FROM generate_series(1, 200) AS s, generate_series(1, {beats_a_state}) AS b",
        *(["VACUUM ANALYZE agent_heartbeats"] if analyzed == "as it is" else []),
    )

    for states in (1, 200):
        plan = plan_of(url, states)

        assert "Seq Scan" not in plan, plan
        assert "Bitmap" not in plan, plan
        assert "using idx_agent_heartbeats_state on agent_heartbeats" in plan, plan
        assert "Index Cond: ((system_state_id = " in plan, plan


def test_the_settings_of_the_look_up_end_with_the_transaction() -> None:
    assert all(statement.startswith("SET LOCAL ") for statement in queries.LOOKING_UP)


@pytest.mark.parametrize(
    "spoiled",
    [
        [INDEX],
        [INDEX, "CREATE INDEX ON agent_heartbeats (system_state_id)"],
        [INDEX, "CREATE INDEX ON agent_heartbeats (timestamp, system_state_id)"],
        [INDEX, "CREATE INDEX ON agent_heartbeats (system_state_id) INCLUDE (timestamp)"],
        [INDEX, "CREATE INDEX ON agent_heartbeats (system_state_id, timestamp) WHERE id > 5"],
        [INDEX, "CREATE INDEX ON agent_heartbeats (system_state_id, (id + 1))"],
        ["UPDATE pg_index SET indisvalid = false WHERE indrelid = 'agent_heartbeats'::regclass"],
        [
            "ALTER TABLE agent_heartbeats RENAME TO heartbeat_rows",
            "CREATE VIEW agent_heartbeats AS SELECT * FROM heartbeat_rows",
        ],
        ["CREATE TABLE more_heartbeats () INHERITS (agent_heartbeats)"],
    ],
)
def test_without_the_index_the_table_counts_as_absent_and_the_note_says_which(
    new_database: NewDatabase, spoiled: list[str]
) -> None:
    url = create_fleet(new_database())
    run_sql(url, *spoiled)

    summary, sink = extract(url)

    assert "agent_heartbeats" not in sink.tables
    assert "agent_heartbeats" not in summary.optional_tables
    [note] = summary.notes
    assert "public.agent_heartbeats is not read: it is large, and has no index" in note
    assert (
        "CREATE INDEX CONCURRENTLY ON public.agent_heartbeats "
        '(system_state_id, "timestamp" DESC);' in note
    )


@pytest.mark.parametrize("order", ["timestamp", "timestamp DESC", "timestamp DESC, id"])
def test_any_index_that_begins_with_state_and_instant_will_do(
    new_database: NewDatabase, order: str
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        INDEX,
        f"CREATE INDEX idx_agent_heartbeats_state ON agent_heartbeats (system_state_id, {order})",
        BEAT + "(1, '2026-02-01 00:00+00'), (1, '2026-02-02 00:00+00')",
    )

    assert beats(url) == [(1, datetime(2026, 2, 2, tzinfo=UTC))]
    assert "using idx_agent_heartbeats_state on agent_heartbeats" in plan_of(url, 1)


PARTITIONED = (
    "DROP TABLE agent_heartbeats",
    "CREATE TABLE agent_heartbeats (id bigint, system_state_id int, timestamp timestamptz)"
    " PARTITION BY RANGE (timestamp)",
    "CREATE TABLE beats_1 PARTITION OF agent_heartbeats FOR VALUES FROM (MINVALUE)"
    " TO ('2026-02-01')",
    "CREATE TABLE beats_2 PARTITION OF agent_heartbeats FOR VALUES FROM ('2026-02-01')"
    " TO (MAXVALUE)",
)


def test_a_partitioned_table_will_do_where_every_partition_has_the_index(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        *PARTITIONED,
        BEAT + "(1, '2026-01-01 00:00+00'), (1, '2026-02-02 00:00+00'), (1, '2026-03-02 00:00+00')",
        "CREATE INDEX ON beats_1 (system_state_id, timestamp DESC)",
    )
    assert len(shape_of(url).notes) == 1

    run_sql(url, "CREATE INDEX ON beats_2 (system_state_id, timestamp DESC)")

    assert shape_of(url).notes == ()
    assert beats(url) == [(1, datetime(2026, 3, 2, tzinfo=UTC))]
    assert "Seq Scan" not in plan_of(url, 1)


def test_hosts_are_looked_up_some_thousands_at_once(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "INSERT INTO system_states (id, hostname, change_reason, timestamp, store_path)"
        " SELECT 100 + i, 'host-' || i, 'startup', timestamptz '2026-02-01 00:00+00', '/p'"
        " FROM generate_series(1, 12000) AS i",
        "INSERT INTO agent_heartbeats (system_state_id, timestamp)"
        " SELECT 100 + i, timestamptz '2026-02-01 00:00+00' + b * interval '1 minute'"
        " FROM generate_series(1, 12000) AS i, generate_series(1, 2) AS b",
    )

    found = beats(url)

    assert sorted(state for state, _ in found) == list(range(101, 12101))
    assert {at for _, at in found} == {datetime(2026, 2, 1, 0, 2, tzinfo=UTC)}


def test_all_that_is_wrong_with_the_table_is_noted_at_once(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    run_sql(url, INDEX, "ALTER TABLE agent_heartbeats ALTER timestamp TYPE timestamp")

    summary, _ = extract(url)

    [note] = summary.notes
    assert "public.agent_heartbeats.timestamp is timestamp without time zone" in note
    assert "CREATE INDEX CONCURRENTLY" in note
    assert value(url, "SELECT count(*) FROM agent_heartbeats") == 0
