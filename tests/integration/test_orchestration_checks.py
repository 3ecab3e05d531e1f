"""What a failing check keeps from being published, and what an operator may say to it."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.fleet import frame_from_arrow
from assets.publishing.checks import JudgedCheck, conformity_checks
from assets.publishing.daily_asset import daily_dataset
from assets.publishing.days import Day, days_as_of
from assets.publishing.interfaces import ReportStore
from assets.publishing.partitions import StepEvents, publish_days
from assets.schemas import QUARANTINE, SOURCE_TABLES, SYSTEM_DEPLOYMENT_STATUS
from tests.integration.fleet_support import create_fleet, run_sql
from tests.integration.pipeline import Pipeline, check_results, failures, quiet_instance, today
from tests.snapshots import status_row

STATUS = [*(t.name for t in SOURCE_TABLES), QUARANTINE.name, SYSTEM_DEPLOYMENT_STATUS.name]
SHRUNK = "not_empty_or_sharply_shrunk"

DAYS = ["2026-11-18", "2026-11-19", "2026-11-20"]
READ_AT = pd.Timestamp("2026-11-23 09:00", tz="UTC")


@pytest.fixture
def pipeline(new_database: Callable[..., str], tmp_path: Path) -> Iterator[Pipeline]:
    """Of a fleet with eight commits."""
    url = create_fleet(new_database())
    run_sql(
        url,
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " SELECT i, 1, 'c' || i, timestamptz '2026-01-03 00:00:00+00' FROM generate_series(2, 8) i",
    )
    with quiet_instance(tmp_path / "dagster") as instance:
        yield Pipeline(url, new_database(), tmp_path / "reports", instance)


def latest_check(instance: dg.DagsterInstance, asset: str, check: str) -> dg.AssetCheckEvaluation:
    """What the UI shows of a check."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


def status_of_day(day: Day, hostnames: Sequence[str]) -> pd.DataFrame:
    rows = [
        status_row(
            name, snapshot_date=day.date, snapshot_at=day.snapshot_at, extracted_at=day.extracted_at
        )
        for name in hostnames
    ]
    return frame_from_arrow(pa.Table.from_pylist(rows, SYSTEM_DEPLOYMENT_STATUS.arrow_schema))


def test_a_day_that_fails_its_check_is_not_published(pipeline: Pipeline) -> None:
    checks = conformity_checks(SYSTEM_DEPLOYMENT_STATUS)

    @daily_dataset(
        SYSTEM_DEPLOYMENT_STATUS, deps=[], group="status", kinds={"pandas"}, checks=checks
    )
    def system_deployment_status(
        context: dg.AssetExecutionContext, reports: dg.ResourceParam[ReportStore]
    ) -> StepEvents:
        def compute(day: Day) -> tuple[pd.DataFrame, Sequence[JudgedCheck]]:
            is_bad = day.date.isoformat() == DAYS[1]
            return status_of_day(day, ["web", "web"] if is_bad else ["db", "web"]), []

        days = days_as_of(context.partition_keys, READ_AT)
        yield from publish_days(context, SYSTEM_DEPLOYMENT_STATUS, days, reports, compute)

    @dg.asset(deps=[system_deployment_status])
    def downstream() -> None:
        """Must not follow from what was not published."""

    result = dg.materialize(
        [system_deployment_status, downstream],
        instance=pipeline.instance,
        resources={"reports": pipeline.reports},
        tags={
            "dagster/asset_partition_range_start": DAYS[0],
            "dagster/asset_partition_range_end": DAYS[-1],
        },
        raise_on_error=False,
    )

    assert not result.success
    assert f"system_deployment_status of {DAYS[1]} is not published." in failures(result)
    assert "system_deployment_status.hostname: 1 key occurs more than once" in failures(result)
    published = pipeline.reports.published_dates(SYSTEM_DEPLOYMENT_STATUS)
    assert published == [dt.date.fromisoformat(DAYS[0])]
    check = latest_check(pipeline.instance, SYSTEM_DEPLOYMENT_STATUS.name, checks[0].name)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert check.description is not None
    assert "hostname=web" in check.description
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert "downstream" not in {e.step_key for e in result.all_events if e.is_step_start}


def test_a_shrunk_table_stops_every_day_until_an_operator_accepts_it(pipeline: Pipeline) -> None:
    result = pipeline.run("2026-02-01", "2026-02-02", selection=STATUS)
    assert result.success, failures(result)
    before = pipeline.files()

    run_sql(pipeline.fleet_url, "DELETE FROM commits WHERE id > 3")
    refused = pipeline.run("2026-02-01", "2026-02-03", selection=STATUS)
    assert not refused.success
    assert "Table public.commits shrank from 8 to 3 rows." in failures(refused)
    assert "flakelag report --accept-shrunk" in failures(refused)
    assert pipeline.files() == before
    assert check_results(refused)[f"systems:{SHRUNK}"] is True
    stored = latest_check(pipeline.instance, "commits", SHRUNK)
    assert not stored.passed
    assert stored.metadata["rows"].value == 3
    assert stored.metadata["rows_before"].value == 8

    # It is measured against what was accepted last, however often it is refused.
    assert not pipeline.run(selection=STATUS).success

    said = {"ops": {"read_fleet_database": {"config": {"accept_shrunk": True}}}}
    accepted = pipeline.run(selection=STATUS, run_config=said)
    assert accepted.success, failures(accepted)
    assert latest_check(pipeline.instance, "commits", SHRUNK).passed
    assert today() in {
        date.isoformat() for date in pipeline.reports.published_dates(SYSTEM_DEPLOYMENT_STATUS)
    }

    usual = pipeline.run(selection=STATUS)
    assert usual.success, failures(usual)


def test_what_shows_the_newest_day_says_so_where_there_is_none(pipeline: Pipeline) -> None:
    read = [name for name in STATUS if name != SYSTEM_DEPLOYMENT_STATUS.name]
    assert pipeline.run(selection=read).success
    # The one depends on the other, so that it would not be tried in the same run.
    for selection in (
        ["fleet_report"],
        ["fleet_metrics"],
        ["view_system_deployment_status"],
    ):
        result = pipeline.run(selection=selection)
        assert not result.success
        assert "deployment_status is published yet. Materialize it first" in failures(result)


def test_an_empty_table_is_never_accepted(pipeline: Pipeline) -> None:
    run_sql(pipeline.fleet_url, "UPDATE system_states SET hostname = 'gone'", "DELETE FROM systems")
    said = {"ops": {"read_fleet_database": {"config": {"accept_shrunk": True}}}}
    result = pipeline.run(selection=STATUS, run_config=said)
    assert not result.success
    assert "Table public.systems has no row." in failures(result)
    assert pipeline.files() == {}


def test_a_warning_stops_nothing_and_is_seen_at_the_terminal(
    pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    # Fewer than one in a hundred, as more would be an error.
    run_sql(
        pipeline.fleet_url,
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " SELECT i, 1, 'c' || i, timestamptz '2026-01-04 00:00:00+00'"
        " FROM generate_series(9, 200) i",
        "INSERT INTO commits (id, flake_id, git_commit_hash, commit_timestamp)"
        " VALUES (201, 1, 'endless', 'infinity')",
    )
    result = pipeline.run(selection=STATUS)
    assert result.success, failures(result)
    check = latest_check(pipeline.instance, QUARANTINE.name, "nothing_quarantined")
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    told = "1 row of public.commits of flake infra can't be used. Its systems may be behind"
    assert told in (check.description or "")
    assert f"quarantine: {told}" in capfd.readouterr().err
    assert pipeline.published(SYSTEM_DEPLOYMENT_STATUS).num_rows == 1
