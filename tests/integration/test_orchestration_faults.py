"""Runs that overlap, and databases that fail them, on a real Dagster instance."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import psycopg
import pyarrow as pa
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from assets.analysts import analyst_views
from assets.publishing.interfaces import ExtractSink, ExtractSummary
from assets.publishing.replacement import Outcome
from assets.schemas import (
    COMMIT_ROLLOUTS,
    DEPLOYMENT_HISTORY,
    DEPLOYMENTS,
    QUARANTINE,
    SOURCE_TABLES,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)
from pipelines.fleet.extraction import FleetDatabase
from pipelines.history.database import HistoryDatabase
from pipelines.instance import prepare_instance
from pipelines.settings import Settings
from tests.integration.command_process import instance_at, slots_taken
from tests.integration.fleet_support import create_fleet, run_sql
from tests.integration.pipeline import NO_OUTPUT_KEPT, Pipeline, failures, quiet_instance, today
from tests.integration.tcp_door import free_port, open_door
from tests.waiting import PATIENCE_SECONDS, wait_until

SOURCE = [*(table.name for table in SOURCE_TABLES), QUARANTINE.name]
STATUS = [*SOURCE, SYSTEM_DEPLOYMENT_STATUS.name]

NEWER_COMMIT = """
    INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)
    VALUES (2, 1, 'facade', '2026-01-03 10:00:00+00')
"""
END_THE_READER = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flakelag'
"""


class WatchedSource:
    """A fleet database that lets a test do something as it is read.

    Attributes:
        attempts: how often it was asked for an extract.
    """

    def __init__(
        self,
        url: str,
        *,
        before_attempt: Callable[[int], None] = lambda _: None,
        before_table: Callable[[int, str], None] = lambda *_: None,
    ) -> None:
        # Small batches, so that a table is still being read when its first rows are here.
        self._database = FleetDatabase(SecretStr(url), batch_bytes=10_000)
        self._before_attempt = before_attempt
        self._before_table = before_table
        self.attempts = 0

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        self.attempts += 1
        self._before_attempt(self.attempts)
        return self._database.extract(_WatchedSink(sink, self))

    def writing(self, table: str) -> None:
        self._before_table(self.attempts, table)


class _WatchedSink:
    def __init__(self, sink: ExtractSink, source: WatchedSource) -> None:
        self._sink = sink
        self._source = source

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        self._source.writing(dataset.name)
        self._sink.write(dataset, batches)


@pytest.fixture
def fleet_url(new_database: Callable[..., str]) -> str:
    """One flake with one commit, which the one host runs."""
    url = create_fleet(new_database(), states=2_000)
    run_sql(url, "UPDATE derivations SET store_path = '/nix/store/d-web'")
    return url


@pytest.fixture
def pipeline(
    fleet_url: str, new_database: Callable[..., str], tmp_path: Path
) -> Iterator[Pipeline]:
    with quiet_instance(tmp_path / "dagster") as instance:
        yield Pipeline(fleet_url, new_database(), tmp_path / "reports", instance)


def behind_a_door(url: str, port: int) -> tuple[str, Path]:
    """A URL that leads to the same database through a TCP port, and the socket behind it."""
    given = conninfo_to_dict(url)
    user, database = quote(str(given["user"])), quote(str(given["dbname"]))
    socket = Path(str(given["host"])) / f".s.PGSQL.{given['port']}"
    return f"postgresql://{user}@127.0.0.1:{port}/{database}", socket


def retries(result: dg.ExecuteInProcessResult) -> list[str]:
    """The steps that were tried again."""
    return [str(event.step_key) for event in result.all_events if event.is_step_up_for_retry]


def statuses(pipeline: Pipeline) -> list[str]:
    found: list[str] = pipeline.published(SYSTEM_DEPLOYMENT_STATUS)["deployment_status"].to_pylist()
    return found


def in_store(pipeline: Pipeline, folder: str) -> list[str]:
    return sorted(path.name for path in (pipeline.reports_dir / "_store" / folder).glob("*"))


def test_an_older_reading_that_ends_later_replaces_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """As when a run was believed dead, its places in the pools given away, and it was not."""
    is_reading, may_go_on = threading.Event(), threading.Event()

    def dawdle(_: int, table: str) -> None:
        if table == "systems":
            is_reading.set()
            assert may_go_on.wait(PATIENCE_SECONDS)

    slow_source = WatchedSource(pipeline.fleet_url, before_table=dawdle)
    with (
        quiet_instance(tmp_path / "another-dagster") as another,
        ThreadPoolExecutor(1) as other_thread,
    ):
        slow = Pipeline(
            pipeline.fleet_url,
            pipeline.history_url,
            pipeline.reports_dir,
            another,
            {"fleet_database": slow_source},
        )
        slow_run: Future[dg.ExecuteInProcessResult] = other_thread.submit(slow.run)
        try:
            assert is_reading.wait(PATIENCE_SECONDS)
            run_sql(pipeline.fleet_url, NEWER_COMMIT)
            result = pipeline.run()
            assert result.success, failures(result)
            published = pipeline.files()
            assert statuses(pipeline) == ["behind"]
        finally:
            may_go_on.set()
        late = slow_run.result()

    assert late.success, failures(late)
    assert pipeline.files() == published
    with psycopg.connect(pipeline.history_url) as connection:
        kept = connection.execute(
            "SELECT deployment_status FROM flakelag.view_system_deployment_status"
        ).fetchall()
    assert kept == [("behind",)]
    # The late run says so, and shows what is published.
    told = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in late.get_asset_materialization_events()
        if event.asset_key is not None
    }
    for dataset, rows in ((SYSTEM_DEPLOYMENT_STATUS, 1), (COMMIT_ROLLOUTS, 2)):
        assert told[dataset.name]["outcome"].value == Outcome.KEPT_NEWER.value
        assert told[dataset.name]["dagster/row_count"].value == rows
    assert told[SYSTEM_DEPLOYMENT_STATUS.name]["status/behind"].value == 1


def test_two_runs_of_one_instance_take_turns_at_the_fleet_database(
    fleet_url: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_reading, may_go_on = threading.Event(), threading.Event()

    def dawdle(_: int, table: str) -> None:
        is_reading.set()
        assert may_go_on.wait(PATIENCE_SECONDS)

    home = prepare_instance(Settings(dagster_home=tmp_path / "dagster"))
    with (home / "dagster.yaml").open("a") as configuration:
        yaml.safe_dump(NO_OUTPUT_KEPT, configuration)
    with instance_at(home, monkeypatch) as instance, ThreadPoolExecutor(2) as threads:
        first, second = (
            Pipeline(
                fleet_url,
                new_database(),
                tmp_path / "reports",
                instance,
                {"fleet_database": WatchedSource(fleet_url, before_table=dawdle)},
            )
            for _ in range(2)
        )
        storage = instance.event_log_storage
        try:
            first_run = threads.submit(first.run, selection=SOURCE)
            assert is_reading.wait(PATIENCE_SECONDS)
            is_reading.clear()
            second_run = threads.submit(second.run, selection=SOURCE)
            wait_until(
                lambda: storage.get_concurrency_info("fleet_database").pending_step_count == 1
            )
            assert not is_reading.is_set()
        finally:
            may_go_on.set()
        for run in (first_run, second_run):
            assert run.result().success, failures(run.result())
        assert slots_taken(instance) == set()


def test_a_source_that_comes_back_is_read(pipeline: Pipeline) -> None:
    port = free_port()
    url, socket = behind_a_door(pipeline.fleet_url, port)
    with ExitStack() as doors:

        def come_back(attempt: int) -> None:
            if attempt == 3:
                doors.enter_context(open_door(port, socket))

        source = WatchedSource(url, before_attempt=come_back)
        pipeline.overrides = {"fleet_database": source}
        result = pipeline.run(selection=STATUS)

    assert result.success, failures(result)
    assert retries(result) == ["read_fleet_database"] * 2
    assert source.attempts == 3
    assert statuses(pipeline) == ["up_to_date"]


def test_a_reading_that_is_cut_off_is_begun_anew(pipeline: Pipeline) -> None:
    def cut_off(attempt: int, table: str) -> None:
        if attempt == 1 and table == "system_states":
            # What is read from now on belongs to another state of the fleet.
            run_sql(pipeline.fleet_url, NEWER_COMMIT, END_THE_READER)

    source = WatchedSource(pipeline.fleet_url, before_table=cut_off)
    pipeline.overrides = {"fleet_database": source}
    result = pipeline.run(selection=STATUS)

    assert result.success, failures(result)
    assert retries(result) == ["read_fleet_database"]
    assert statuses(pipeline) == ["behind"]
    assert len(in_store(pipeline, "extracts")) == 1
    assert in_store(pipeline, "staging/extracts") == []


def test_a_source_that_stays_away_changes_nothing(pipeline: Pipeline) -> None:
    result = pipeline.run()
    assert result.success, failures(result)
    published = pipeline.files()
    extracts = in_store(pipeline, "extracts")

    def cut_off(_: int, table: str) -> None:
        if table == "system_states":
            run_sql(pipeline.fleet_url, END_THE_READER)

    source = WatchedSource(pipeline.fleet_url, before_table=cut_off)
    pipeline.overrides = {"fleet_database": source}
    run_sql(pipeline.fleet_url, NEWER_COMMIT)
    result = pipeline.run()

    assert not result.success
    assert source.attempts == 4
    assert "Reading the fleet database was interrupted" in failures(result)
    # The views follow from the dictionary, and from no reading.
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [
        analyst_views.key
    ]
    assert pipeline.files() == published
    assert in_store(pipeline, "extracts") == extracts
    assert in_store(pipeline, "staging/extracts") == []


def test_a_history_that_comes_back_is_written(pipeline: Pipeline) -> None:
    port = free_port()
    url, socket = behind_a_door(pipeline.history_url, port)
    with ExitStack() as doors:

        class ComesBack(HistoryDatabase):
            attempts = 0

            def migrate(self, *, set_database_search_path: bool = False) -> list[str]:
                self.attempts += 1
                if self.attempts == 2:
                    doors.enter_context(open_door(port, socket))
                return super().migrate(set_database_search_path=set_database_search_path)

        pipeline.overrides = {"history": ComesBack(SecretStr(url))}
        # The day on which the only host was deployed.
        result = pipeline.run(
            "2026-01-02", selection=[*SOURCE, DEPLOYMENTS.name, DEPLOYMENT_HISTORY.name]
        )

    assert result.success, failures(result)
    assert retries(result) == [DEPLOYMENT_HISTORY.name]
    with psycopg.connect(pipeline.history_url) as connection:
        [(count,)] = connection.execute(
            "SELECT count(*) FROM flakelag.deployment_history"
        ).fetchall()
    assert count == 1
    assert today() not in {
        date.isoformat() for date in pipeline.reports.published_dates(DEPLOYMENTS)
    }
