"""What goes wrong with the fleet database: told clearly, classed rightly, without any secret."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest

from assets.schemas.dictionary import Dataset
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.errors import (
    FleetDatabaseError,
    FleetDatabaseMisconfigured,
    FleetDatabaseUnavailable,
)
from tests.integration.fleet_support import MemorySink, create_fleet, extract, fleet, run_sql

NewDatabase = Callable[..., str]
CANARY = "c4n4ry-p@ss/w?rd"


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedPostgres]:
    """A server that asks role `guarded` for its password, with one fleet in database `fleet`."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    try:
        server.start()
        create_fleet(server.ensure_database("fleet"), states=50_000)
        access = server.data_dir / "cluster" / "pg_hba.conf"
        access.write_text("local all guarded scram-sha-256\n" + access.read_text())
        run_sql(
            server.url("fleet"),
            "SET password_encryption = 'scram-sha-256'",
            f"CREATE ROLE guarded LOGIN PASSWORD '{CANARY}'",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded",
            "SELECT pg_reload_conf()",
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def guarded_url(server: EmbeddedPostgres, password: str) -> str:
    return server.url("fleet", "guarded").replace("@", f":{quote(password, safe='')}@", 1)


def failure_of(url: str) -> FleetDatabaseError:
    with pytest.raises(FleetDatabaseError) as caught:
        extract(url)
    return caught.value


def locals_of_ours(trace: TracebackType | None) -> Iterator[str]:
    """What tools that print the variables of a traceback's frames would show of our frames."""
    while trace is not None:
        if "pipelines" in trace.tb_frame.f_code.co_filename:
            yield from map(repr, trace.tb_frame.f_locals.values())
        trace = trace.tb_next


def told(error: BaseException) -> str:
    """All that any log, event or debugger could show of an exception."""
    assert error.__context__ is None
    assert error.__cause__ is None
    shown = [str(error), repr(error), repr(vars(error)), *map(repr, error.args)]
    return "\n".join(
        [*shown, *traceback.format_exception(error), *locals_of_ours(error.__traceback__)]
    )


def test_the_right_password_is_taken_whatever_its_characters(guarded: EmbeddedPostgres) -> None:
    assert extract(guarded_url(guarded, CANARY))[0].rows_staged["flakes"] == 1


def test_a_password_may_come_from_libpqs_own_file(
    guarded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:guarded:{CANARY}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    assert extract(guarded.url("fleet", "guarded"))[0].rows_staged["flakes"] == 1


def test_everything_may_come_from_libpqs_service_file(
    guarded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services = tmp_path / "services"
    parameters = psycopg.conninfo.conninfo_to_dict(guarded_url(guarded, CANARY))
    lines = "".join(f"{name}={value}\n" for name, value in parameters.items())
    services.write_text(f"[our-fleet]\n{lines}")
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    assert extract("service=our-fleet")[0].rows_staged["flakes"] == 1
    assert "service our-fleet" in str(failure_of("service=our-fleet dbname=nothing"))


def test_a_wrong_password_is_a_persons_matter(guarded: EmbeddedPostgres) -> None:
    error = failure_of(guarded_url(guarded, "canary-in-a-cage"))

    assert isinstance(error, FleetDatabaseMisconfigured)
    assert 'password authentication failed for user "guarded"' in str(error)
    assert "PGPASSFILE" in str(error)
    assert "canary-in-a-cage" not in told(error)


def test_a_password_from_the_environment_stays_secret(
    guarded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "canary-in-a-cage")

    assert "canary-in-a-cage" not in told(failure_of(guarded.url("fleet", "guarded")))


def test_a_message_that_quotes_the_password_is_withheld(guarded: EmbeddedPostgres) -> None:
    url = guarded.url("fleet", "guarded").replace("@", ":guarded@", 1)

    assert "guarded" not in str(failure_of(url))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:canary@half@host/fleet",
        "postgresql://user:canary/half@host/fleet",
        "postgresql://user:5432/canary@host/fleet",
        "postgresql://user:canary%zz@host/fleet",
        "postgresql://user:canary:5432/fleet",
        "postgresql://user:pass@host:canary/fleet",
        "postgresql+psycopg://user:canary@host/fleet",
        "user:canary@host/fleet",
        "host=host password=half canary",
        "host=host passwort=canary",
        "canary",
    ],
)
def test_a_malformed_url_is_not_quoted(url: str) -> None:
    error = failure_of(url)

    assert isinstance(error, FleetDatabaseMisconfigured)
    assert "percent-encoded" in str(error)
    assert "canary" not in told(error)


def test_what_does_not_exist_is_a_persons_matter(guarded: EmbeddedPostgres) -> None:
    for url in (guarded.url("nothing"), guarded.url("fleet", "nobody")):
        error = failure_of(url)
        assert isinstance(error, FleetDatabaseMisconfigured)
        assert "does not exist" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:canary@127.0.0.1:1/fleet",
        "postgresql://user:canary@/fleet?host=/nowhere",
        "postgresql://user:canary@nowhere.invalid/fleet",
    ],
)
def test_a_server_that_cant_be_reached_may_be_tried_again(url: str) -> None:
    error = failure_of(url)

    assert isinstance(error, FleetDatabaseUnavailable)
    assert error.retryable
    assert "database fleet" in str(error)
    assert "canary" not in told(error)


def test_nothing_shows_the_url(guarded: EmbeddedPostgres) -> None:
    database = fleet(guarded_url(guarded, CANARY))

    assert "c4n4ry" not in repr(database) + str(database) + repr(vars(database))


class Saboteur(MemorySink):
    """Does something when the first batch of the states has arrived."""

    def __init__(self, deed: Callable[[], None]) -> None:
        super().__init__()
        self._deed = deed

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        if dataset.name == "system_states":
            next(batches)
            self._deed()
        super().write(dataset, batches)


READERS = "SELECT {0} FROM pg_stat_activity WHERE application_name = 'flakelag'"


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("pg_terminate_backend(pid)", "terminating connection|server closed the connection"),
        ("pg_cancel_backend(pid)", "canceling statement"),
    ],
)
def test_a_read_that_is_ended_in_the_middle_may_be_tried_again(
    guarded: EmbeddedPostgres, deed: str, words: str
) -> None:
    sink = Saboteur(lambda: run_sql(guarded.url(), READERS.format(deed)))

    with pytest.raises(FleetDatabaseUnavailable, match=words) as caught:
        extract(guarded_url(guarded, CANARY), sink, batch_bytes=50_000)

    assert caught.value.retryable
    assert "c4n4ry" not in told(caught.value)
    assert "system_states" not in sink.tables


def test_a_slow_statement_is_given_up_on(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())
    run_sql(
        url,
        "ALTER TABLE flakes RENAME TO real_flakes",
        "CREATE VIEW flakes AS SELECT id, name || pg_sleep(20) AS name, repo_url FROM real_flakes",
    )

    with pytest.raises(FleetDatabaseUnavailable, match="statement timeout"):
        extract(url, statement_timeout=timedelta(milliseconds=300))


def test_a_transaction_without_end_is_given_up_on(new_database: NewDatabase) -> None:
    """PostgreSQL 17 and newer; the embedded one is."""
    url = create_fleet(new_database())

    def stall(table: str) -> None:
        if table == "flakes":
            run_sql(url, "SELECT pg_sleep(0.5)")

    with pytest.raises(FleetDatabaseUnavailable, match="timeout"):
        extract(url, MemorySink(before=stall), transaction_timeout=timedelta(milliseconds=300))


def test_a_server_that_crashes_in_the_middle_may_be_tried_again(guarded: EmbeddedPostgres) -> None:
    def crash() -> None:
        with psycopg.connect(guarded.url()) as connection:
            reader = connection.execute(READERS.format("pid").encode()).fetchone()
        assert reader is not None
        # The whole server restarts when one of its processes is killed.
        os.kill(reader[0], signal.SIGKILL)

    with pytest.raises(FleetDatabaseUnavailable) as caught:
        extract(guarded_url(guarded, CANARY), Saboteur(crash), batch_bytes=50_000)

    assert caught.value.retryable


def test_a_sinks_own_failure_is_left_as_it_is(new_database: NewDatabase) -> None:
    url = create_fleet(new_database())

    def fill_the_disk(_: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        extract(url, MemorySink(before=fill_the_disk))


def test_a_sink_that_leaves_rows_behind_is_a_bug(new_database: NewDatabase) -> None:
    class Careless:
        def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
            """Takes nothing."""

    url = create_fleet(new_database())

    with pytest.raises(RuntimeError, match="did not take every row of system_states"):
        extract(url, Careless())


# Reads the first fleet, then the second, and says by how much the second raised the peak.
MEASURE = """
import resource, sys
from pydantic import SecretStr
from pipelines.fleet.extraction import FleetDatabase

class Forgetful:
    rows = 0
    def write(self, dataset, batches):
        for batch in batches:
            self.rows += batch.num_rows

peaks = []
for url in sys.argv[1:]:
    FleetDatabase(SecretStr(url), batch_bytes=2**20).extract(Forgetful())
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print((peaks[1] - peaks[0]) * 1024)
"""


def test_memory_is_bounded_by_the_batch_not_by_the_table(new_database: NewDatabase) -> None:
    small, large = (create_fleet(new_database()) for _ in range(2))
    rows, row_bytes = 25_000, 1_500
    for url, count in ((small, rows // 20), (large, rows)):
        run_sql(
            url,
            "INSERT INTO system_states (id, hostname, change_reason, store_path)"
            f" SELECT i + 10, 'web', 'startup', i || repeat('x', {row_bytes})"
            f" FROM generate_series(1, {count}) AS i",
        )
    table_bytes = rows * row_bytes

    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, small, large], capture_output=True, text=True, check=True
    )

    # No path is that of a derivation, so that each is looked up among the packages.
    assert int(measured.stdout) < table_bytes / 4
    _, sink = extract(large, batch_bytes=2**20)
    sizes = [batch.nbytes for batch in sink.batches["system_states"]]
    assert sum(sizes) > table_bytes
    assert max(sizes) < 2 * 2**20
