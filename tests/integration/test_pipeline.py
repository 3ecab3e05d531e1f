"""The main job, end to end: a real fleet database, real files, a real Dagster instance."""

import datetime as dt

import dagster as dg
import pandas as pd
import psycopg
import pytest

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.schemas import (
    DEPLOYMENT_HISTORY,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    QUARANTINE,
    SOURCE_TABLES,
    SYSTEM_DEPLOYMENT_STATUS,
)
from tests.integration.pipeline import Pipeline, check_results, failures, query, today


def days_ago(days: int) -> str:
    return (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)).isoformat()


@pytest.fixture
def pipeline(demo_fleet_url, new_database, tmp_path):
    home = tmp_path / "dagster"
    home.mkdir()
    quiet = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
        yield Pipeline(demo_fleet_url, new_database(), tmp_path / "reports", instance)


def test_one_run_publishes_everything(pipeline):
    result = pipeline.run()
    assert result.success, failures(result)

    status = pipeline.published(SYSTEM_DEPLOYMENT_STATUS)
    [(hosts, rows)] = query("SELECT count(DISTINCT hostname), count(*) FROM s", s=status)
    assert hosts == rows > 0
    [(statuses,)] = query("SELECT list(DISTINCT deployment_status) FROM s", s=status)
    assert set(statuses) == set(DEPLOYMENT_STATUSES)
    assert status.schema.equals(SYSTEM_DEPLOYMENT_STATUS.arrow_schema)

    flakes = pipeline.published(FLAKE_DEPLOYMENT_STATUS)
    assert query("SELECT sum(systems_total) FROM f", f=flakes) == query(
        "SELECT count(*) FROM s WHERE flake_id IS NOT NULL", s=status
    )
    assert pipeline.published(QUARANTINE).num_rows == 0
    assert all(check_results(result).values())


def test_the_snapshot_agrees_with_the_source(pipeline):
    assert pipeline.run().success
    status = pipeline.published(SYSTEM_DEPLOYMENT_STATUS)
    with psycopg.connect(pipeline.fleet_url) as connection:
        expected = connection.execute(
            """
            SELECT hostname FROM systems WHERE is_active IS NOT FALSE
            UNION
            SELECT hostname FROM system_states
            WHERE hostname NOT IN (SELECT hostname FROM systems)
            ORDER BY hostname COLLATE "C"
            """
        ).fetchall()
    assert query("SELECT hostname FROM s ORDER BY hostname", s=status) == expected


def test_a_second_run_of_a_past_day_changes_no_byte(pipeline):
    day = days_ago(3)
    assert pipeline.run(day).success
    before = pipeline.files()
    assert pipeline.run(day).success
    after = pipeline.files()
    today_only = {f"quarantine/date={today()}/data.parquet"}
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} <= today_only


def test_a_past_day_is_as_of_its_end(pipeline):
    day = days_ago(10)
    assert pipeline.run(day).success
    end = dt.datetime.fromisoformat(f"{days_ago(9)}T00:00:00+00:00")
    [(snapshot_at, last_commit, last_report, extracted_at)] = query(
        """
        SELECT max(snapshot_at), max(latest_commit_timestamp), max(last_reported_at),
               max(extracted_at)
        FROM s
        """,
        s=pipeline.published(SYSTEM_DEPLOYMENT_STATUS, day),
    )
    assert snapshot_at == end
    assert last_commit < end
    assert last_report < end
    assert extracted_at > end


def test_a_range_of_days_is_one_run_from_one_reading(pipeline):
    first, last = days_ago(5), days_ago(1)
    result = pipeline.run(first, last)
    assert result.success, failures(result)
    [(count,)] = [
        (len(list(result.get_asset_materialization_events())),),
    ]
    assert count >= 5
    extracted = set()
    for day in range(1, 6):
        table = pipeline.published(SYSTEM_DEPLOYMENT_STATUS, days_ago(day))
        extracted |= set(table["extracted_at"].to_pylist())
    assert len(extracted) == 1


def test_tomorrow_is_refused(pipeline):
    result = pipeline.run(selection=[table.name for table in SOURCE_TABLES] + [QUARANTINE.name])
    assert result.success, failures(result)
    tomorrow = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)).isoformat()
    with pytest.raises(dg.DagsterUnknownPartitionError):
        pipeline.run(tomorrow)


def test_deployments_are_kept_once_however_often_the_days_are_run(pipeline):
    for _ in range(2):
        result = pipeline.run(days_ago(6), today())
        assert result.success, failures(result)
    published = sum(pipeline.published(DEPLOYMENTS, days_ago(day)).num_rows for day in range(7))
    with psycopg.connect(pipeline.history_url) as connection:
        [(kept, distinct)] = connection.execute(
            """
            SELECT count(*), count(DISTINCT (deployed_at, hostname, system_state_id))
            FROM flakelag.deployment_history
            """
        ).fetchall()
    assert kept == distinct == published > 0


def test_the_view_holds_the_newest_snapshot(pipeline):
    assert pipeline.run().success
    assert pipeline.run(days_ago(20)).success
    status = pipeline.published(SYSTEM_DEPLOYMENT_STATUS)
    with psycopg.connect(pipeline.history_url) as connection:
        kept = connection.execute(
            """
            SELECT hostname, deployment_status, commits_behind
            FROM flakelag.view_system_deployment_status
            """
        ).fetchall()
    assert kept == query("SELECT hostname, deployment_status, commits_behind FROM s", s=status)


def test_an_emptied_table_blocks_before_anything_is_published(pipeline, new_database):
    empty = Pipeline(
        pipeline.fleet_url, pipeline.history_url, pipeline.reports_dir, pipeline.instance
    )
    assert empty.run().success
    before = empty.files()

    from pipelines.demo.source_schema import create_source_schema

    empty.fleet_url = new_database()
    with psycopg.connect(empty.fleet_url) as connection:
        create_source_schema(connection, "newer")
    result = empty.run()
    assert not result.success
    assert "Table public.systems has no usable row" in failures(result)
    assert check_results(result)["systems:not_empty_or_sharply_shrunk"] is False
    assert empty.files() == before


def test_what_the_ui_shows_of_a_snapshot(pipeline):
    result = pipeline.run()
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(SYSTEM_DEPLOYMENT_STATUS.name)
    ]
    metadata = event.materialization.metadata
    status = pipeline.published(SYSTEM_DEPLOYMENT_STATUS)
    assert metadata["dagster/row_count"].value == status.num_rows
    for value in DEPLOYMENT_STATUSES:
        [(count,)] = query(f"SELECT count(*) FROM s WHERE deployment_status = '{value}'", s=status)
        assert metadata[f"deployment_status/{value}"].value == count
    assert str(metadata["path"].value).endswith(
        f"system_deployment_status/date={today()}/data.parquet"
    )
    assert metadata["preview"].records[0].data["hostname"]
    lineage = metadata["dagster/column_lineage"].value.deps_by_column
    assert {dep.asset_key.to_user_string() for dep in lineage["commits_behind"]} == {"commits"}


def test_every_asset_says_what_it_is(pipeline):
    graph = pipeline.definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name != "default", key
        assert node.kinds, key
        assert node.owners, key


def test_column_lineage_names_columns_that_exist(pipeline):
    datasets = {
        dataset.name: dataset for dataset in (*SOURCE_TABLES, SYSTEM_DEPLOYMENT_STATUS, DEPLOYMENTS)
    }
    for dataset in (
        SYSTEM_DEPLOYMENT_STATUS,
        FLAKE_DEPLOYMENT_STATUS,
        DEPLOYMENTS,
        DEPLOYMENT_HISTORY,
    ):
        for column in dataset.columns:
            for source in column.derived_from:
                asset, name = source.split(".")
                assert name in datasets[asset].column_names, (dataset.name, column.name, source)


def test_pandas_reads_what_was_published(pipeline):
    assert pipeline.run().success
    frame = pd.read_parquet(pipeline.reports_dir / SYSTEM_DEPLOYMENT_STATUS.name)
    assert set(frame["deployment_status"]) == set(DEPLOYMENT_STATUSES)
