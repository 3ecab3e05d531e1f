"""The main job, end to end: a real fleet database, real files, a real Dagster instance."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg
import pytest

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.checks import FEEDS_CURRENT
from assets.schemas import (
    COMMIT_ROLLOUTS,
    DEPLOYMENT_HISTORY,
    DEPLOYMENT_VELOCITY,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    PUBLISHED_DATASETS,
    QUARANTINE,
    REQUIRED_TABLES,
    SOURCE_TABLES,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import load_fleet
from pipelines.demo.source_schema import create_source_schema
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.integration.fleet_support import create_fleet, run_sql
from tests.integration.pipeline import (
    Pipeline,
    check_results,
    failures,
    query,
    quiet_instance,
    today,
)

DAYS = 6
"""How many past days the shared run publishes, besides today."""


def days_ago(days: int) -> str:
    """The partition of that day."""
    return (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)).isoformat()


@pytest.fixture
def pipeline(
    demo_fleet_url: str, new_database: Callable[..., str], tmp_path: Path
) -> Iterator[Pipeline]:
    """A pipeline that has not run yet."""
    with quiet_instance(tmp_path / "dagster") as instance:
        yield Pipeline(demo_fleet_url, new_database(), tmp_path / "reports", instance)


@dataclass(frozen=True)
class Ran:
    """A pipeline that has published the past days in one run, and today in another."""

    pipeline: Pipeline
    past: dg.ExecuteInProcessResult
    today: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def ran(
    demo_fleet_url: str,
    postgres_server: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ran]:
    """Run once for all tests that only look."""
    folder = tmp_path_factory.mktemp("pipeline")
    history_url = postgres_server.ensure_database("test_pipeline_history")
    with quiet_instance(folder / "dagster") as instance:
        pipeline = Pipeline(demo_fleet_url, history_url, folder / "reports", instance)
        yield Ran(pipeline, pipeline.run(days_ago(DAYS), days_ago(1)), pipeline.run())


def test_both_runs_succeed_and_every_check_passes(ran: Ran) -> None:
    for result in (ran.past, ran.today):
        assert result.success, failures(result)
    assert set(check_results(ran.past).values()) == {True}
    # The demo has a forge that can't be reached.
    failed = {name for name, passed in check_results(ran.today).items() if not passed}
    assert failed == {f"{FLAKE_DEPLOYMENT_STATUS.name}:{FEEDS_CURRENT.name}"}


@pytest.mark.parametrize("dataset", PUBLISHED_DATASETS, ids=lambda dataset: dataset.name)
def test_every_dataset_is_published_with_its_exact_schema(ran: Ran, dataset: Dataset) -> None:
    assert ran.pipeline.published(dataset).schema.equals(dataset.arrow_schema)


def test_there_is_one_file_a_day_and_nothing_else(ran: Ran) -> None:
    days = {days_ago(day) for day in range(DAYS + 1)}
    for dataset in PUBLISHED_DATASETS:
        folder = ran.pipeline.reports_dir / dataset.name
        found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        expected = {today()} if dataset is QUARANTINE else days
        assert found == {f"date={day}/data.parquet" for day in expected}


def test_every_status_occurs_and_every_hostname_once(ran: Ran) -> None:
    [(hosts, rows, statuses)] = query(
        "SELECT count(DISTINCT hostname), count(*), list(DISTINCT deployment_status) FROM s",
        s=ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS),
    )
    assert hosts == rows > 0
    assert set(statuses) == set(DEPLOYMENT_STATUSES)


def test_the_rows_are_the_systems_and_hosts_of_the_source(ran: Ran) -> None:
    with psycopg.connect(ran.pipeline.fleet_url) as connection:
        expected = connection.execute(
            """
            SELECT hostname FROM systems WHERE is_active IS NOT FALSE
            UNION
            SELECT hostname FROM system_states
            WHERE hostname NOT IN (SELECT hostname FROM systems)
            """
        ).fetchall()
    published = query("SELECT hostname FROM s", s=ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS))
    assert sorted(published) == sorted(expected)


def test_flakes_and_velocity_count_the_systems_of_the_snapshot(ran: Ran) -> None:
    for day in (today(), days_ago(3)):
        [(systems,)] = query(
            "SELECT count(*) FROM s WHERE flake_id IS NOT NULL",
            s=ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS, day),
        )
        for dataset in (FLAKE_DEPLOYMENT_STATUS, DEPLOYMENT_VELOCITY):
            [(counted,)] = query(
                "SELECT sum(systems_total) FROM f", f=ran.pipeline.published(dataset, day)
            )
            assert counted == systems


def test_a_past_day_is_as_of_its_end(ran: Ran) -> None:
    end = dt.datetime.fromisoformat(f"{days_ago(2)}T00:00:00+00:00")
    [(snapshot_at, last_commit, last_report, extracted_at)] = query(
        """
        SELECT max(snapshot_at), max(latest_commit_timestamp), max(last_reported_at),
               min(extracted_at)
        FROM s
        """,
        s=ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS, days_ago(3)),
    )
    assert snapshot_at == end
    assert last_commit < end
    assert last_report < end
    assert extracted_at > end


def test_the_days_of_a_range_come_from_one_reading(ran: Ran) -> None:
    extracted = {
        instant
        for day in range(1, DAYS + 1)
        for instant in ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS, days_ago(day))[
            "extracted_at"
        ].to_pylist()
    }
    assert len(extracted) == 1


def test_deployments_in_the_history_are_those_of_the_files(ran: Ran) -> None:
    published = sum(
        ran.pipeline.published(DEPLOYMENTS, days_ago(day)).num_rows for day in range(DAYS + 1)
    )
    with psycopg.connect(ran.pipeline.history_url) as connection:
        [(kept, distinct)] = connection.execute(
            """
            SELECT count(*), count(DISTINCT (deployed_at, hostname, system_state_id))
            FROM flakelag.deployment_history
            """
        ).fetchall()
    assert kept == distinct == published > 0


def test_the_view_holds_the_newest_snapshot(ran: Ran) -> None:
    with psycopg.connect(ran.pipeline.history_url) as connection:
        kept = connection.execute(
            """
            SELECT hostname, deployment_status, commits_behind
            FROM flakelag.view_system_deployment_status
            """
        ).fetchall()
    assert kept == query(
        "SELECT hostname, deployment_status, commits_behind FROM s",
        s=ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS),
    )


def test_the_page_and_the_metrics_are_written(ran: Ran) -> None:
    reports_dir = ran.pipeline.reports_dir
    page = (reports_dir / "pages" / f"{today()}.html").read_bytes()
    assert page.startswith((b"<!DOCTYPE html>", b"<!doctype html>"))
    assert page == (reports_dir / "latest.html").read_bytes()
    assert "flakelag_systems{" in (reports_dir / "metrics" / "flakelag.prom").read_text()


def test_what_the_ui_shows_of_a_snapshot(ran: Ran) -> None:
    [event] = [
        event
        for event in ran.today.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(SYSTEM_DEPLOYMENT_STATUS.name)
    ]
    metadata = event.materialization.metadata
    status = ran.pipeline.published(SYSTEM_DEPLOYMENT_STATUS)
    assert metadata["dagster/row_count"].value == status.num_rows
    path = metadata["path"].value
    assert str(path).endswith(f"system_deployment_status/date={today()}/data.parquet")
    numbers = [value.value for value in metadata.values() if isinstance(value.value, int)]
    for status_of_interest in DEPLOYMENT_STATUSES:
        [(count,)] = query(
            f"SELECT count(*) FROM s WHERE deployment_status = '{status_of_interest}'", s=status
        )
        assert count in numbers


def test_pandas_reads_the_whole_folder(ran: Ran) -> None:
    frame = pd.read_parquet(ran.pipeline.reports_dir / SYSTEM_DEPLOYMENT_STATUS.name)
    assert not frame.duplicated(["snapshot_date", "hostname"]).any()
    assert len(frame["snapshot_date"].unique()) == DAYS + 1


def test_a_second_run_of_closed_days_changes_no_byte(ran: Ran) -> None:
    before = ran.pipeline.files()
    result = ran.pipeline.run(days_ago(3), days_ago(2))
    assert result.success, failures(result)
    after = ran.pipeline.files()
    changed = {path for path in before if before[path] != after.get(path)}
    assert before.keys() == after.keys()
    # What was quarantined is as of the newest reading.
    assert changed <= {f"quarantine/date={today()}/data.parquet"}


def test_deployments_are_kept_once_however_often_the_days_are_run(pipeline: Pipeline) -> None:
    selection = [
        *(table.name for table in SOURCE_TABLES),
        QUARANTINE.name,
        DEPLOYMENTS.name,
        DEPLOYMENT_HISTORY.name,
    ]
    counts = set()
    for _ in range(2):
        result = pipeline.run(days_ago(4), days_ago(1), selection=selection)
        assert result.success, failures(result)
        with psycopg.connect(pipeline.history_url) as connection:
            counts.add(
                connection.execute("SELECT count(*) FROM flakelag.deployment_history").fetchone()
            )
    assert len(counts) == 1


def test_the_history_is_as_of_the_reading_that_the_file_is_of(pipeline: Pipeline) -> None:
    source = [*(table.name for table in SOURCE_TABLES), QUARANTINE.name]
    # The middle one reads again and publishes no deployments.
    for selection in ([*source, DEPLOYMENTS.name], source, [DEPLOYMENT_HISTORY.name]):
        result = pipeline.run(selection=selection)
        assert result.success, failures(result)
    published = pipeline.reports.describe(DEPLOYMENTS, dt.date.fromisoformat(today()))
    with psycopg.connect(pipeline.history_url) as connection:
        recorded = connection.execute("SELECT snapshot_at, extracted_at FROM flakelag.loads")
        assert recorded.fetchall() == [(published.snapshot_at, published.extracted_at)]


def test_tomorrow_is_refused(pipeline: Pipeline) -> None:
    tomorrow = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)).isoformat()
    with pytest.raises(dg.DagsterUnknownPartitionError):
        pipeline.run(tomorrow)


def test_an_emptied_table_blocks_before_anything_is_published(
    pipeline: Pipeline, new_database: Callable[..., str]
) -> None:
    result = pipeline.run()
    assert result.success, failures(result)
    before = pipeline.files()

    pipeline.fleet_url = new_database()
    with psycopg.connect(pipeline.fleet_url) as connection:
        create_source_schema(connection, "newer")
    result = pipeline.run()
    assert not result.success
    assert "Table public.systems has no row. It had" in failures(result)
    assert check_results(result)["systems:not_empty_or_sharply_shrunk"] is False
    assert pipeline.files() == before


@pytest.mark.parametrize("table", [table.name for table in REQUIRED_TABLES])
def test_an_emptied_table_is_a_loss_whichever_it_is(
    table: str, pipeline: Pipeline, new_database: Callable[..., str]
) -> None:
    pipeline.fleet_url = create_fleet(new_database())
    result = pipeline.run()
    assert result.success, failures(result)
    before = pipeline.files()

    run_sql(pipeline.fleet_url, f"TRUNCATE {table} CASCADE")
    result = pipeline.run()

    assert not result.success
    assert f"Table public.{table} has no row. It had 1 at the last reading." in failures(result)
    assert check_results(result)[f"{table}:not_empty_or_sharply_shrunk"] is False
    assert pipeline.files() == before


def test_an_older_fleet_without_the_optional_tables_is_published_all_the_same(
    pipeline: Pipeline, new_database: Callable[..., str]
) -> None:
    spec = DemoFleet(
        until=dt.datetime.now(dt.UTC),
        systems=30,
        commits=60,
        generation="older",
        package_derivations=100,
    )
    pipeline.fleet_url = new_database()
    load_fleet(pipeline.fleet_url, generate_fleet(spec), spec.generation)
    with psycopg.connect(pipeline.fleet_url) as connection:
        connection.execute("DROP TABLE derivation_statuses, environments CASCADE")
    result = pipeline.run()
    assert result.success, failures(result)
    [(rows, behind, deployable, environments)] = query(
        """
        SELECT count(*), count(*) FILTER (deployment_status = 'behind'),
               count(commits_behind_deployable), count(environment)
        FROM s
        """,
        s=pipeline.published(SYSTEM_DEPLOYMENT_STATUS),
    )
    assert rows > 20
    assert behind > 0
    assert deployable == environments == 0


def test_closed_days_keep_what_the_source_has_forgotten(
    pipeline: Pipeline, new_database: Callable[..., str]
) -> None:
    spec = DemoFleet(until=dt.datetime.now(dt.UTC), systems=40, commits=60, package_derivations=10)
    pipeline.fleet_url = new_database()
    load_fleet(pipeline.fleet_url, generate_fleet(spec), spec.generation)
    first, last = days_ago(4), days_ago(1)
    result = pipeline.run(first, last)
    assert result.success, failures(result)
    before = pipeline.files()

    with psycopg.connect(pipeline.fleet_url) as connection:
        connection.execute(
            """
            DELETE FROM systems WHERE hostname IN (
                SELECT hostname FROM systems WHERE flake_id IS NOT NULL ORDER BY hostname LIMIT 3
            );
            TRUNCATE agent_heartbeats;
            DELETE FROM system_states WHERE timestamp < now() - interval '2 days'
            """
        )
    accepted = {"ops": {"read_fleet_database": {"config": {"accept_shrunk": True}}}}
    result = pipeline.run(first, last, run_config=accepted)
    assert result.success, failures(result)
    after = pipeline.files()
    for dataset in (
        SYSTEM_DEPLOYMENT_STATUS,
        FLAKE_DEPLOYMENT_STATUS,
        DEPLOYMENT_VELOCITY,
        COMMIT_ROLLOUTS,
    ):
        for day in (first, last):
            path = f"{dataset.name}/date={day}/data.parquet"
            assert after[path] == before[path], path


def test_another_fleets_database_is_refused(
    pipeline: Pipeline, new_database: Callable[..., str]
) -> None:
    source = [*(table.name for table in SOURCE_TABLES), QUARANTINE.name]
    assert pipeline.run(selection=source).success
    spec = DemoFleet(until=dt.datetime.now(dt.UTC), systems=60, commits=120, seed=7)
    pipeline.fleet_url = new_database()
    load_fleet(pipeline.fleet_url, generate_fleet(spec), spec.generation)
    with psycopg.connect(pipeline.fleet_url) as connection:
        connection.execute("UPDATE flakes SET repo_url = 'https://git.example/other/' || id")
    result = pipeline.run(selection=source)
    assert not result.success
    assert "this is another fleet" in failures(result)


def test_every_asset_says_what_it_is(pipeline: Pipeline) -> None:
    graph = pipeline.definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name != "default", key
        assert node.kinds, key
        assert node.owners, key
