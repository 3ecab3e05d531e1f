"""That an extract is of one instant, whatever writers and migrations do meanwhile."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from assets.schemas import OPTIONAL_TABLES
from pipelines.fleet import queries
from pipelines.fleet.errors import FleetDatabaseUnavailable
from tests.integration.fleet_support import (
    REQUIRED,
    MemorySink,
    create_fleet,
    extract,
    run_sql,
    value,
)
from tests.waiting import PATIENCE_SECONDS, wait_until

NewDatabase = Callable[..., str]

# A counter that one transaction moves in all five tables, in the columns of text that they have.
COUNTERS = {
    "flakes": "name",
    "commits": "git_commit_hash",
    "derivations": "derivation_name",
    "systems": "system_configuration_name",
    "system_states": "deployed_path",
}
MOVE_ALL = [
    f"UPDATE {table} SET {column} = '{{0}}'"
    for table, column in {**COUNTERS, "system_states": "store_path"}.items()
]


def move_counter(connection: psycopg.Connection, count: int) -> None:
    with connection.transaction():
        for statement in MOVE_ALL:
            connection.execute(statement.format(count).encode())


def counters(sink: MemorySink) -> set[str]:
    return {sink.column(table, column)[0] for table, column in COUNTERS.items()}


@contextmanager
def busy_writer(url: str) -> Iterator[threading.Event]:
    """Commits as fast as it can; the event is set with every commit."""
    committed, enough = threading.Event(), threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            count = 0
            while not enough.is_set():
                count += 1
                move_counter(connection, count)
                committed.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield committed
        finally:
            enough.set()
            writing.result()


def beginning(monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> None:
    """Lets the extract open its transaction with other statements."""
    begin = queries.begin_extract

    def changed(*arguments: Any, **options: Any) -> tuple[str, ...]:
        statements = (change(statement) for statement in begin(*arguments, **options))
        return tuple(statement for statement in statements if statement)

    monkeypatch.setattr(queries, "begin_extract", changed)


def read_committed(statement: str) -> str:
    return statement.replace("REPEATABLE READ", "READ COMMITTED")


def unlocked(statement: str) -> str:
    return "" if statement.startswith("LOCK TABLE") else statement


def read_while_the_counter_moves(url: str) -> MemorySink:
    """One extract, with a commit to all five tables just before each table is read."""
    with psycopg.connect(url, autocommit=True) as connection:
        counts = iter(range(1, 100))
        sink = MemorySink(before=lambda _: move_counter(connection, next(counts)))
        extract(url, sink)
    return sink


def test_the_tables_agree_while_a_writer_commits(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, *(statement.format(0) for statement in MOVE_ALL))

    assert counters(read_while_the_counter_moves(url)) == {"0"}


def test_without_the_transaction_the_same_read_is_torn(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = create_fleet(new_database())
    beginning(monkeypatch, read_committed)

    assert len(counters(read_while_the_counter_moves(url))) == len(COUNTERS)


def test_the_tables_agree_however_busy_the_writer_is(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(url, *(statement.format(0) for statement in MOVE_ALL))
    seen = set()

    with busy_writer(url) as committed:

        def let_it_commit(_: str) -> None:
            committed.clear()
            assert committed.wait(PATIENCE_SECONDS)

        for _ in range(15):
            sink = MemorySink(before=let_it_commit)
            extract(url, sink)
            assert len(counters(sink)) == 1
            seen |= counters(sink)

    assert len(seen) > 1


REWRITES = [
    "TRUNCATE system_states CASCADE",
    "ALTER TABLE system_states ALTER id TYPE bigint",
    "DROP TABLE system_states CASCADE",
]


class Migration:
    """Changes a table of the fleet in the middle of an extract, or fails to."""

    def __init__(self, url: str, statement: str) -> None:
        self._url = url
        self._statement = statement
        self.was_locked_out = False

    def __call__(self, table: str) -> None:
        # Its first row has not been asked for yet, but the snapshot is fixed by then.
        if table == "system_states":
            try:
                run_sql(self._url, "SET lock_timeout = '100ms'", self._statement)
            except errors.LockNotAvailable:
                self.was_locked_out = True


@pytest.mark.parametrize("statement", REWRITES)
def test_a_migration_in_the_middle_waits_for_the_reader(
    new_database: NewDatabase, statement: str
) -> None:
    url = create_fleet(new_database(), states=20)
    migration = Migration(url, statement)

    summary, _ = extract(url, MemorySink(before=migration))

    assert migration.was_locked_out
    assert summary.rows_staged["system_states"] == 21
    # Nothing of ours is left that would hold it up.
    run_sql(url, "SET lock_timeout = '100ms'", statement)


@pytest.mark.parametrize("statement", REWRITES[:2])
def test_without_the_lock_the_table_would_look_empty(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    url = create_fleet(new_database(), states=20)
    beginning(monkeypatch, unlocked)

    summary, _ = extract(url, MemorySink(before=Migration(url, statement)))

    assert summary.rows_staged["system_states"] == 0


def test_a_migration_that_was_there_first_is_read_as_it_ends(new_database: NewDatabase) -> None:
    """The snapshot is taken after the locks; taken before, it would find the table empty."""
    url = create_fleet(new_database(), states=20)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock'"

    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as owner:
        owner.execute("TRUNCATE system_states CASCADE")
        owner.execute(
            "INSERT INTO system_states (hostname, change_reason, store_path)"
            " VALUES ('web', 'startup', '/nix/store/after')"
        )
        reading = pool.submit(extract, url, lock_timeout=timedelta(seconds=PATIENCE_SECONDS))
        wait_until(lambda: reading.done() or value(url, waiting))
        assert not reading.done()
        owner.commit()
        _, sink = reading.result()

    assert sink.column("system_states", "deployed_path") == ["/nix/store/after"]


def test_a_migration_that_takes_too_long_is_given_up_on(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())

    with psycopg.connect(url) as owner:
        owner.execute("LOCK TABLE commits IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(FleetDatabaseUnavailable, match="lock") as caught:
            extract(url, lock_timeout=timedelta(milliseconds=50))

    assert caught.value.retryable


@pytest.mark.parametrize(
    ("before", "between"),
    [
        ("SELECT 1", "DROP TABLE environments CASCADE"),
        ("ALTER TABLE environments RENAME TO later", "ALTER TABLE later RENAME TO environments"),
    ],
    ids=["vanished", "appeared"],
)
def test_tables_that_change_between_looking_and_locking_are_read_next_time(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, before: str, between: str
) -> None:
    url = create_fleet(new_database())
    run_sql(url, before)
    begin = queries.begin_extract

    def changed(*arguments: Any, **options: Any) -> tuple[str, ...]:
        run_sql(url, between)
        return begin(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(queries, "begin_extract", changed)
        with pytest.raises(FleetDatabaseUnavailable):
            extract(url)

    assert extract(url)[0].rows_staged["flakes"] == 1


def test_every_setting_ends_with_the_transaction(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it also works, and leaves nothing behind, where pgbouncer shares the session."""
    url = create_fleet(new_database())
    statements: list[str] = []

    def noted(statement: str) -> str:
        statements.append(statement)
        return statement

    beginning(monkeypatch, noted)

    extract(url)

    assert statements[0] == "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    assert all(statement.startswith("SET LOCAL ") for statement in statements[1:-1])
    assert statements[-1].startswith("LOCK TABLE ")


def test_all_tables_are_locked_before_the_first_read_and_free_before_the_last_write(
    new_database: NewDatabase,
) -> None:
    url = create_fleet(new_database())
    query = (
        "SELECT mode, count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace GROUP BY mode"
    )
    held = []

    def look(_: str) -> None:
        with psycopg.connect(url) as connection:
            held.append(connection.execute(query).fetchall())

    extract(url, MemorySink(before=look))

    assert held[0] == [("AccessShareLock", len(REQUIRED) + len(OPTIONAL_TABLES))]
    assert held[-1] == []
