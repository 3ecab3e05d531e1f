"""The removal of old runs, in both storages: what goes, what stays, and what happens beside it."""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)

from assets.schemas import DAILY_DATASETS, SYSTEM_DEPLOYMENT_STATUS
from pipelines.definitions import defs
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance.old_runs import SHOWN_WHOLE, Removal, is_of_location, remove_old_runs
from pipelines.instance.runs import COMMAND_TAG, IN_PROGRESS
from pipelines.jobs import FLEET_STATUS_JOB, HOUSEKEEPING_JOB
from tests.integration.command_process import ROOT, environment, flakelag
from tests.run_copies import RunCopier, RunCopy, copies_of_a_day
from tests.waiting import wait_until

IS_FULL_SCALE = os.environ.get("FLAKELAG_TEST_SCALE") == "full"
DAYS = 365 if IS_FULL_SCALE else 4
EACH = dt.timedelta(minutes=15) if IS_FULL_SCALE else dt.timedelta(hours=3)
FAILED_KEPT = dt.timedelta(days=90)
TODAY = dt.datetime.now(dt.UTC).date()

REMOVING = """
import datetime as dt, sys
import dagster as dg
from pipelines.instance.old_runs import remove_old_runs

with dg.DagsterInstance.get() as instance:
    remove_old_runs(
        instance,
        lambda run: True,
        now=dt.datetime.fromisoformat(sys.argv[1]),
        failed_kept=dt.timedelta(days=90),
        patience=dt.timedelta(hours=1),
    )
"""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def home(
    request: pytest.FixtureRequest,
    demo_fleet_url: str,
    postgres_server: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """The folder of an instance with one real run of today."""
    folder = tmp_path_factory.mktemp(request.param)
    given = {
        "FLEET_DATABASE_URL": demo_fleet_url,
        "HISTORY_DATABASE_URL": postgres_server.ensure_database(f"old_runs_{request.param}"),
    }
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "postgres":
            given["DAGSTER_POSTGRES_URL"] = postgres_server.ensure_database("dagster_old_runs")
            patched.setenv("DAGSTER_POSTGRES_URL", given["DAGSTER_POSTGRES_URL"])
        reported = flakelag(folder, "report", **given)
        assert reported.returncode == 0, reported.stderr
        yield folder / "var" / "dagster"


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def add_days(instance: dg.DagsterInstance, first: dt.date, days: int) -> list[list[RunCopy]]:
    """The runs of so many days, each of which ends with a failed one and the closing of the day."""
    copier = RunCopier(instance)
    added = []
    for number in range(days):
        copies = copies_of_a_day(first + dt.timedelta(days=number), each=EACH, failed=1)
        copier.add(copies)
        added.append(copies)
    return added


def remove(
    instance: dg.DagsterInstance, now: dt.datetime, patience: dt.timedelta = dt.timedelta(hours=9)
) -> Removal:
    return remove_old_runs(
        instance, lambda _: True, now=now, failed_kept=FAILED_KEPT, patience=patience
    )


def newest(instance: dg.DagsterInstance) -> dict[object, str]:
    """The run that holds what Dagster shows for each asset and day, and for each check."""
    found: dict[object, str] = {}
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        for day in instance.get_materialized_partitions(key) or [None]:
            of_it = dg.AssetRecordsFilter(key, None if day is None else [day])
            [record] = instance.fetch_materializations(of_it, limit=1).records
            found[key, day] = record.run_id
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        list(graph.asset_check_keys)
    )
    assert len(latest) == len(graph.asset_check_keys)
    return found | {key: execution.run_id for key, execution in latest.items()}


def runs_on_record(instance: dg.DagsterInstance) -> set[str]:
    """Every run that any table or file of the storage has something of."""
    events = instance.event_log_storage
    assert isinstance(events, SqlEventLogStorage)
    with events.index_connection() as connection:
        rows = [
            *connection.execute(sa.select(SqlEventLogStorageTable.c.run_id).distinct()),
            *connection.execute(sa.select(AssetCheckExecutionsTable.c.run_id).distinct()),
        ]
        tagged = sa.select(AssetEventTagsTable.c.event_id)
        untagged = tagged.where(
            AssetEventTagsTable.c.event_id.not_in(sa.select(SqlEventLogStorageTable.c.id))
        )
        assert connection.execute(untagged).all() == []
    found = {str(run_id) for (run_id,) in rows}
    if isinstance(events, SqliteEventLogStorage):
        found.update(events.get_all_run_ids())
    return found


def test_what_was_replaced_goes_and_the_newest_stays(instance: dg.DagsterInstance) -> None:
    days = add_days(instance, TODAY - dt.timedelta(days=DAYS), DAYS)
    shown = newest(instance)
    now = days[-1][-1].ended_at + dt.timedelta(minutes=1)

    assert remove(instance, now).is_complete

    left = set(instance.get_run_ids())
    copies = [copy for day in days for copy in day]
    expected = {
        copy.run_id
        for copy in copies
        if now - copy.ended_at < (FAILED_KEPT if copy.failed else SHOWN_WHOLE)
    }
    closing = {day[-1].run_id for day in days}
    assert left & {copy.run_id for copy in copies} == expected | closing
    assert newest(instance) == shown
    key = dg.AssetKey(SYSTEM_DEPLOYMENT_STATUS.name)
    assert instance.get_materialized_partitions(key) >= {str(day[0].day) for day in days}
    assert runs_on_record(instance) == left

    # When nothing is recent any more, one run a day is left, and what is the newest of a check.
    remove(instance, now + FAILED_KEPT + SHOWN_WHOLE)
    assert set(instance.get_run_ids()) == set(shown.values())
    assert newest(instance) == shown
    assert runs_on_record(instance) == set(shown.values())


def test_runs_under_way_and_those_of_others_stay(instance: dg.DagsterInstance) -> None:
    def origin(location: str) -> RemoteJobOrigin:
        code = RegisteredCodeLocationOrigin(location)
        return RemoteJobOrigin(RemoteRepositoryOrigin(code, "__repository__"), FLEET_STATUS_JOB)

    def add(status: dg.DagsterRunStatus, name: str | None, **tags: str) -> str:
        run = dg.DagsterRun(
            FLEET_STATUS_JOB,
            status=status,
            remote_job_origin=None if name is None else origin(name),
            tags=tags,
        )
        return instance.add_run(run).run_id

    failed = dg.DagsterRunStatus.FAILURE
    stay = {
        *(add(status, "flakelag") for status in IN_PROGRESS),
        add(failed, "another"),
        add(failed, None),
    }
    go = {
        add(failed, "flakelag"),
        add(failed, None, **{COMMAND_TAG: FLEET_STATUS_JOB}),
    }
    remove_old_runs(
        instance,
        lambda run: is_of_location(run, "flakelag"),
        now=dt.datetime.now(dt.UTC) + FAILED_KEPT + SHOWN_WHOLE,
        failed_kept=FAILED_KEPT,
        patience=dt.timedelta(hours=1),
    )
    assert set(instance.get_run_ids()) & (stay | go) == stay
    for run_id in stay:
        instance.run_storage.delete_run(run_id)


def test_when_the_time_is_over_the_rest_is_for_the_next_time(instance: dg.DagsterInstance) -> None:
    [day] = add_days(instance, TODAY - dt.timedelta(days=2), 1)
    before = set(instance.get_run_ids())

    stopped = remove(instance, day[-1].ended_at + dt.timedelta(days=2), dt.timedelta(0))

    assert stopped == Removal(removed=0, kept=0, is_complete=False)
    assert set(instance.get_run_ids()) == before
    assert remove(instance, day[-1].ended_at + dt.timedelta(days=2)).removed > 0


def test_a_removal_that_was_killed_is_finished_by_the_next(
    instance: dg.DagsterInstance, home: Path, tmp_path: Path
) -> None:
    [day] = add_days(instance, TODAY - dt.timedelta(days=1), 1)
    shown = newest(instance)
    now = day[-1].ended_at + FAILED_KEPT + SHOWN_WHOLE
    before = len(instance.get_run_ids())
    settings = {"DAGSTER_HOME": str(home)}
    if url := os.environ.get("DAGSTER_POSTGRES_URL"):
        settings["DAGSTER_POSTGRES_URL"] = url
    process = subprocess.Popen(
        [sys.executable, "-c", REMOVING, now.isoformat()],
        cwd=ROOT,
        env=environment(tmp_path / "home", **settings),
    )
    wait_until(lambda: len(instance.get_run_ids()) < before or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()

    remove(instance, now)

    left = set(instance.get_run_ids())
    assert left == set(shown.values())
    assert newest(instance) == shown
    assert runs_on_record(instance) == left


def test_the_job_removes_what_the_setting_lets_go(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    [day] = add_days(instance, TODAY - dt.timedelta(days=9), 1)
    failed = {copy.run_id for copy in day if copy.failed}
    job = defs.resolve_job_def(HOUSEKEEPING_JOB)

    assert job.execute_in_process(instance=instance).success
    assert set(instance.get_run_ids()) & {copy.run_id for copy in day} == {
        day[-1].run_id,
        *failed,
    }
    monkeypatch.setenv("FAILED_RUNS_KEPT_DAYS", "7")
    assert job.execute_in_process(instance=instance).success
    assert set(instance.get_run_ids()) & {copy.run_id for copy in day} == {day[-1].run_id}


def test_a_run_says_nothing_twice(instance: dg.DagsterInstance) -> None:
    """What is told of an asset is in its materialization, not in the output of the step, too."""
    run_id = newest(instance)[dg.AssetKey(DAILY_DATASETS[0].name), TODAY.isoformat()]
    told = [
        entry.get_dagster_event().step_output_data
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
    ]
    assert told
    assert [data.output_name for data in told if "preview" in data.metadata] == []
