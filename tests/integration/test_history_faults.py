"""Writers that are killed, and writers that overlap."""

import datetime as dt
import multiprocessing
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.connection import HistoryUnavailableError
from pipelines.history.database import HistoryDatabase
from tests.integration import history_writer
from tests.integration.history_rows import values
from tests.integration.history_writer import (
    DATES,
    extracted_at,
    replace,
    row_count,
    write_without_end,
)
from tests.integration.tcp_door import free_port, open_door
from tests.waiting import wait_until

FULL = os.environ.get("FLAKELAG_TEST_SCALE") == "full"


def stored_versions(url: str) -> dict[dt.date, int]:
    """The version of each day that has rows, after making sure that it is whole and recorded."""
    days = values(
        url,
        """
        SELECT date, lowest, highest, found, row_count, extracted_at
        FROM (
            SELECT (deployed_at AT TIME ZONE 'UTC')::date AS date, count(*) AS found,
                   min(commits_included) AS lowest, max(commits_included) AS highest
            FROM flakelag.deployment_history
            GROUP BY 1
        ) AS days
        FULL JOIN flakelag.loads ON partition_key = date::text
        """,
    )
    versions = {}
    for date, lowest, highest, found, recorded, extracted in days:
        assert isinstance(date, dt.date)
        assert isinstance(lowest, int)
        assert lowest == highest, f"{date} mixes versions"
        assert found == recorded == row_count(lowest), f"{date} is not whole"
        assert extracted == extracted_at(lowest)
        versions[date] = lowest
    return versions


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    url: str, history: HistoryDatabase
) -> None:
    chance = random.Random(20261123)
    # Forks of a process that has imported everything start at once.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([history_writer.__name__])
    version = 0
    for _ in range(150 if FULL else 10):
        receiving, sending = forks.Pipe(duplex=False)
        writer = forks.Process(target=write_without_end, args=(url, version, sending))
        writer.start()
        sending.close()
        acknowledged = [receiving.recv()]
        time.sleep(chance.uniform(0, 0.1))
        writer.kill()
        with suppress(EOFError):
            while True:
                acknowledged.append(receiving.recv())
        writer.join()
        receiving.close()

        stored = stored_versions(url)
        for date, kept in acknowledged:
            assert stored[date] >= kept
        # What the dead writer had sent already may yet come to pass.
        version = max(stored.values()) + 2


@pytest.mark.slow
def test_of_overlapping_writers_the_newest_extract_stands(
    url: str, history: HistoryDatabase
) -> None:
    rounds = 300 if FULL else 30

    def write(seed: int) -> list[tuple[dt.date, int]]:
        chance = random.Random(seed)
        taken = []
        for turn in range(rounds):
            # Each writer is now ahead of the others, now behind them.
            version = 4 * (turn + chance.randrange(-3, 4) + 3) + seed
            dates = chance.sample(DATES, chance.randrange(1, 4))
            taken += [(date, version) for date in replace(history, dates, version)]
        return taken

    with ThreadPoolExecutor(3) as threads:
        taken = [load for loads in threads.map(write, range(3)) for load in loads]
    assert stored_versions(url) == {
        date: max(version for day, version in taken if day == date) for date in DATES
    }


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
@pytest.mark.parametrize("loaded_before", [True, False])
def test_writers_that_wait_for_each_other(
    url: str, history: HistoryDatabase, order: tuple[int, int], *, loaded_before: bool
) -> None:
    """Two begin while a third holds the day; whichever goes on first, the newer extract stands."""
    day = DATES[0]
    if loaded_before:
        replace(history, [day], 0)
    with ThreadPoolExecutor(2) as threads, psycopg.connect(url) as third:
        third.execute(
            "INSERT INTO flakelag.loads SELECT 'deployment_history', %s, now(), now(), 0, now()"
            " ON CONFLICT (dataset, partition_key) DO UPDATE SET row_count = 0",
            [day.isoformat()],
        )
        waiting = []
        for version in order:
            waiting.append(threads.submit(replace, history, [day], version))
            wait_for_writers(url, len(waiting))
        third.rollback()
        for writer in waiting:
            writer.result()
    assert stored_versions(url) == {day: 2}


def wait_for_writers(url: str, number: int) -> None:
    """Until so many sessions of the database wait for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    wait_until(lambda: values(url, waiting) == [(number,)])


@pytest.mark.parametrize("lets_out", [0, 100, 1_000, 3_000])
def test_a_server_that_falls_silent_is_given_up_on(
    postgres_server: EmbeddedPostgres, url: str, lets_out: int
) -> None:
    port = free_port()
    through_door = f"postgresql://postgres@127.0.0.1:{port}/{conninfo_to_dict(url)['dbname']}"
    database = HistoryDatabase(SecretStr(through_door), patience=dt.timedelta(seconds=1))

    with (
        open_door(port, postgres_server.data_dir / "cluster" / ".s.PGSQL.5432", lets_out),
        pytest.raises(HistoryUnavailableError, match=r"no answer|fell silent") as caught,
    ):
        database.migrate()

    assert caught.value.retryable
    # And it holds no lock on anything.
    HistoryDatabase(SecretStr(url)).migrate()


def test_a_statement_that_takes_too_long_is_given_up_on(url: str, history: HistoryDatabase) -> None:
    hasty = HistoryDatabase(SecretStr(url), patience=dt.timedelta(seconds=5))
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE flakelag.loads")
        with pytest.raises(HistoryUnavailableError, match="was busy"):
            replace(hasty, DATES[:1], 1)
