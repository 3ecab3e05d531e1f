"""Which run a schedule's tick asks for, given the runs that an instance knows."""

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from assets.schemas import DAILY_DATASETS, Dataset
from pipelines.instance.opening import sole_command
from pipelines.instance.runs import COMMAND_TAG, IN_PROGRESS
from pipelines.jobs import BACKFILL_JOB, FLEET_STATUS_JOB
from pipelines.schedules import (
    DAYS_CAUGHT_UP,
    close_yesterday,
    days_to_close,
    reason_to_skip,
    refresh_today,
)
from pipelines.store.report_store import ReportStore

DAY = dt.timedelta(days=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    quiet = {"telemetry": {"enabled": False}}
    home = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
        yield instance


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """One that knows no run."""
    shared_instance.run_storage.wipe()
    return shared_instance


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def add_run(
    instance: dg.DagsterInstance,
    day: dt.date,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
    job: str = FLEET_STATUS_JOB,
    tags: Mapping[str, str] | None = None,
) -> None:
    location = RegisteredCodeLocationOrigin("flakelag")
    run = dg.DagsterRun(
        job_name=job,
        run_id=str(uuid.uuid4()),
        status=status,
        tags={"dagster/partition": day.isoformat(), **(tags or {})},
        # Dagster puts no run in the queue of which it does not know where it comes from.
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job),
    )
    instance.run_storage.add_run(run)


def refresh(instance: dg.DagsterInstance, at: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    answer = refresh_today(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def publish(
    reports: ReportStore,
    day: dt.date,
    snapshot_at: dt.datetime | None = None,
    datasets: Sequence[Dataset] = DAILY_DATASETS,
) -> None:
    """Publishes a day of no system, as of an instant; by default its end."""
    at = snapshot_at or dt.datetime.combine(day + DAY, dt.time(), dt.UTC)
    for dataset in datasets:
        reports.publish(
            dataset,
            day,
            dataset.arrow_schema.empty_table(),
            snapshot_at=at,
            extracted_at=at,
            run_id="test",
        )


def close(
    instance: dg.DagsterInstance, reports: ReportStore, at: dt.datetime
) -> list[dg.RunRequest] | dg.SkipReason:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    answer = close_yesterday(context, reports=reports)
    assert isinstance(answer, list | dg.SkipReason)
    return answer


def days_closed(
    instance: dg.DagsterInstance, reports: ReportStore, at: dt.datetime
) -> list[str | None]:
    answer = close(instance, reports, at)
    return [] if isinstance(answer, dg.SkipReason) else [each.partition_key for each in answer]


@pytest.fixture
def reports(tmp_path: Path) -> ReportStore:
    """One in which nothing is published."""
    return ReportStore(tmp_path / "reports")


def midnight_tick(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(0, 5), dt.UTC)


def test_they_run_from_the_start_in_utc() -> None:
    for schedule in (refresh_today, close_yesterday):
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        assert schedule.execution_timezone == "UTC"
        assert schedule.job_name == FLEET_STATUS_JOB
    assert refresh_today.cron_schedule == "2-59/15 * * * *"
    assert close_yesterday.cron_schedule == "5-59/15 * * * *"


def test_a_tick_asks_for_its_day(instance: dg.DagsterInstance) -> None:
    tick = now()
    request = refresh(instance, tick)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == f"{tick:%Y-%m-%d}"
    # Every tick is a run of its own.
    assert request.run_key is None


def test_the_day_is_that_of_utc(instance: dg.DagsterInstance) -> None:
    tick = now()
    for hours in (-11, 13):
        elsewhere = tick.astimezone(dt.timezone(dt.timedelta(hours=hours)))
        request = refresh(instance, elsewhere)
        assert isinstance(request, dg.RunRequest)
        assert request.partition_key == f"{tick:%Y-%m-%d}"


@pytest.mark.parametrize("status", IN_PROGRESS, ids=lambda status: status.value)
def test_a_tick_is_skipped_while_a_run_of_its_day_is_in_progress(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    add_run(instance, now().date(), status)
    answer = refresh(instance, now())
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    assert "still in progress" in answer.skip_message


def test_the_run_of_a_killed_command_is_in_nobodys_way(instance: dg.DagsterInstance) -> None:
    started = dg.DagsterRunStatus.STARTED
    add_run(instance, now().date(), started, tags={COMMAND_TAG: FLEET_STATUS_JOB})
    assert isinstance(refresh(instance, now()), dg.RunRequest)
    [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_the_run_of_a_living_command_is_waited_for(instance: dg.DagsterInstance) -> None:
    started = dg.DagsterRunStatus.STARTED
    add_run(instance, now().date(), started, tags={COMMAND_TAG: FLEET_STATUS_JOB})
    with sole_command(instance):
        assert isinstance(refresh(instance, now()), dg.SkipReason)
    [run] = instance.get_runs()
    assert run.status is started


def test_runs_that_ended_or_are_of_another_day_or_job_are_in_nobodys_way(
    instance: dg.DagsterInstance,
) -> None:
    today = now().date()
    for status in set(dg.DagsterRunStatus) - set(IN_PROGRESS):
        add_run(instance, today, status)
    add_run(instance, today - DAY, dg.DagsterRunStatus.STARTED)
    add_run(instance, today, dg.DagsterRunStatus.STARTED, job="somebody_elses")
    assert isinstance(refresh(instance, now()), dg.RunRequest)


def test_a_tick_that_a_newer_one_follows_is_skipped(instance: dg.DagsterInstance) -> None:
    assert isinstance(refresh(instance, now() - 16 * MINUTE), dg.SkipReason)


@pytest.mark.parametrize(
    ("late_by", "is_skipped"), [(0 * MINUTE, False), (14 * MINUTE, False), (15 * MINUTE, True)]
)
def test_how_late_a_tick_may_be(late_by: dt.timedelta, *, is_skipped: bool) -> None:
    tick = dt.datetime(2026, 11, 22, 23, 45, tzinfo=dt.UTC)
    reason = reason_to_skip(tick, tick + late_by, "2026-11-22", [])
    assert (reason is not None) is is_skipped


@pytest.mark.parametrize("late_by", [dt.timedelta(0), 9 * dt.timedelta(hours=1), 5 * DAY])
def test_the_day_before_the_tick_is_closed_however_late(
    instance: dg.DagsterInstance, reports: ReportStore, late_by: dt.timedelta
) -> None:
    tick = midnight_tick(now().date()) - late_by
    first, again = close(instance, reports, tick), close(instance, reports, tick)
    assert isinstance(first, list)
    assert isinstance(again, list)
    [request], [repeated] = first, again
    yesterday = (tick - DAY).date()
    assert request.partition_key == yesterday.isoformat()
    # So that a tick that is evaluated twice, as after a crash, starts one run.
    assert request.run_key == repeated.run_key is not None


def test_a_day_is_asked_for_until_the_files_say_that_it_is_closed(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    yesterday = today - DAY
    midnight = dt.datetime.combine(today, dt.time(), dt.UTC)
    tick = midnight_tick(today)
    # The fleet database's clock had not reached midnight, though the scheduler's had.
    publish(reports, yesterday, midnight - 2 * MINUTE)
    add_run(instance, yesterday)
    asked = []
    for _ in range(2):
        answer = close(instance, reports, tick)
        assert isinstance(answer, list)
        [request] = answer
        assert request.partition_key == yesterday.isoformat()
        asked.append(request.run_key)
        tick += 15 * MINUTE
    assert len(set(asked)) == 2
    publish(reports, yesterday)
    assert days_closed(instance, reports, tick) == []


@pytest.mark.parametrize("open_dataset", DAILY_DATASETS, ids=lambda dataset: dataset.name)
def test_a_day_is_closed_once_all_of_its_datasets_are(
    instance: dg.DagsterInstance, reports: ReportStore, open_dataset: Dataset
) -> None:
    today = now().date()
    yesterday = today - DAY
    publish(reports, yesterday, datasets=[each for each in DAILY_DATASETS if each != open_dataset])
    assert days_closed(instance, reports, midnight_tick(today)) == [yesterday.isoformat()]
    publish(reports, yesterday, datasets=[open_dataset])
    assert days_closed(instance, reports, midnight_tick(today)) == []


def test_a_day_whose_file_is_damaged_is_not_closed(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    yesterday = today - DAY
    publish(reports, yesterday)
    reports.describe(DAILY_DATASETS[0], yesterday).path.write_bytes(b"PAR1")
    assert days_closed(instance, reports, midnight_tick(today)) == [yesterday.isoformat()]


def test_days_that_were_missed_are_closed_too(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    # The day before today was closed today; today was published, but it is not over yet. The daemon
    # then sleeps until the third midnight from now.
    publish(reports, today - DAY)
    publish(reports, today, midnight_tick(today))
    requested = days_closed(instance, reports, midnight_tick(today + 3 * DAY))
    assert requested == [(today + number * DAY).isoformat() for number in (0, 1, 2)]


def test_a_day_whose_last_run_failed_is_run_again(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    # Its files are closed, but the history database was down.
    publish(reports, today - 2 * DAY)
    publish(reports, today - DAY)
    add_run(instance, today - 2 * DAY, dg.DagsterRunStatus.FAILURE)
    tick = midnight_tick(today)
    assert days_closed(instance, reports, tick) == [(today - 2 * DAY).isoformat()]
    add_run(instance, today - 2 * DAY)
    assert days_closed(instance, reports, tick) == []


@pytest.mark.parametrize("status", IN_PROGRESS, ids=lambda status: status.value)
def test_a_day_that_a_run_is_closing_is_not_asked_for_twice(
    instance: dg.DagsterInstance, reports: ReportStore, status: dg.DagsterRunStatus
) -> None:
    today = now().date()
    add_run(instance, today - DAY, status)
    assert isinstance(close(instance, reports, midnight_tick(today)), dg.SkipReason)


def test_runs_that_succeeded_close_no_day(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    publish(reports, today - 2 * DAY, midnight_tick(today - 2 * DAY))
    for job in (FLEET_STATUS_JOB, BACKFILL_JOB):
        add_run(instance, today - 2 * DAY, job=job)
    assert days_closed(instance, reports, midnight_tick(today)) == [
        (today - 2 * DAY).isoformat(),
        (today - DAY).isoformat(),
    ]


def test_long_ago_is_a_matter_of_a_backfill(
    instance: dg.DagsterInstance, reports: ReportStore
) -> None:
    today = now().date()
    publish(reports, today, midnight_tick(today))
    tick = midnight_tick(today + (DAYS_CAUGHT_UP + 1) * DAY)
    assert len(days_closed(instance, reports, tick)) == 1
    assert len(days_closed(instance, reports, tick - DAY)) == DAYS_CAUGHT_UP


def days(*numbers: int) -> list[dt.date]:
    return [dt.date(2026, 11, number) for number in numbers]


@pytest.mark.parametrize(
    ("is_closed", "expected"),
    [
        ({}, days(22)),
        ({22: True}, []),
        ({22: False}, days(22)),
        ({21: True, 20: True}, days(22)),
        ({21: False, 20: True, 22: True}, days(21)),
        ({20: False}, days(20, 21, 22)),
        ({20: True}, days(21, 22)),
        ({16: True, 17: True, 18: False, 20: True, 21: True}, days(18, 19, 22)),
    ],
)
def test_which_days_are_open(is_closed: dict[int, bool], expected: list[dt.date]) -> None:
    known = {dt.date(2026, 11, number): closed for number, closed in is_closed.items()}
    assert days_to_close(dt.date(2026, 11, 22), known) == expected
