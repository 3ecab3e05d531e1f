"""When the jobs run: each quarter of an hour for today and for yesterday, daily to keep house."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from assets.publishing.days import end_of
from assets.schemas import DAILY_DATASETS
from pipelines.instance.runs import (
    IN_PROGRESS,
    fail_runs_of_killed_commands_unless_one_runs,
)
from pipelines.instance.tags import PARTITION_TAG
from pipelines.jobs import FLEET_STATUS_JOB, HOUSEKEEPING_JOB
from pipelines.store.atomic_files import ReportStoreError
from pipelines.store.report_store import ReportStore

QUARTER_OF_AN_HOUR = dt.timedelta(minutes=15)

DAYS_CAUGHT_UP = 7
"""How many days are closed by themselves after the daemon was down; the rest is a backfill."""


def reason_to_skip(
    scheduled_at: dt.datetime, now: dt.datetime, day: str, days_in_progress: list[str]
) -> str | None:
    """Why a tick should start no run, None if it should.

    Args:
        scheduled_at: when the tick was due.
        now: when it is evaluated; later if the daemon was down.
        day: the partition that the tick would publish.
        days_in_progress: the partitions of the runs that are queued or running.
    """
    if now - scheduled_at >= QUARTER_OF_AN_HOUR:
        return f"A newer tick follows the one of {scheduled_at:%H:%M} UTC."
    if day in days_in_progress:
        return f"A run for {day} is still in progress."
    return None


def days_to_close(yesterday: dt.date, is_closed: Mapping[dt.date, bool]) -> list[dt.date]:
    """Which days to publish as of their end: yesterday, and those before it that were missed.

    A day stays open where the daemon was down, a run failed, or the fleet database's clock had not
    reached the day's end when it was read.

    Args:
        yesterday: the day before the tick.
        is_closed: of the days looked back on for which anything is published, whether all of it
            stands for the whole day. Days before the first of them are a matter of a backfill.

    Returns:
        The days, ascending.
    """
    first = min(is_closed, default=yesterday)
    days = [first + dt.timedelta(days=number) for number in range((yesterday - first).days + 1)]
    return [day for day in days if not is_closed.get(day, False)]


@dg.schedule(
    name="refresh_today",
    job_name=FLEET_STATUS_JOB,
    # Not on the hour: at midnight the database's clock may still be in the day before.
    cron_schedule="2-59/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Publishes today as of now, every 15 minutes, unless a run is still at it.",
)
def refresh_today(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Requests today's partition."""
    fail_runs_of_killed_commands_unless_one_runs(context.instance)
    scheduled_at = context.scheduled_execution_time
    day = f"{scheduled_at.astimezone(dt.UTC):%Y-%m-%d}"
    reason = reason_to_skip(scheduled_at, dt.datetime.now(dt.UTC), day, _days_in_progress(context))
    if reason is not None:
        return dg.SkipReason(reason)
    return dg.RunRequest(run_key=None, partition_key=day)


@dg.schedule(
    name="close_yesterday",
    job_name=FLEET_STATUS_JOB,
    # Again and again until the day is closed, between two ticks of the other schedule.
    cron_schedule="5-59/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Publishes yesterday as of its end, shortly after midnight UTC; and the days before it "
        "that are not closed yet, because the daemon was down, a run failed or the fleet "
        "database's clock was late. Asks again every 15 minutes until what is published says that "
        "the day is closed."
    ),
)
def close_yesterday(
    context: dg.ScheduleEvaluationContext, reports: dg.ResourceParam[ReportStore]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Requests the day before the tick, however late it is evaluated, and what was missed."""
    fail_runs_of_killed_commands_unless_one_runs(context.instance)
    tick = context.scheduled_execution_time.astimezone(dt.UTC)
    yesterday = tick.date() - dt.timedelta(days=1)
    looked_back_on = [yesterday - dt.timedelta(days=number) for number in range(DAYS_CAUGHT_UP)]
    is_closed = {
        day: _is_closed(reports, day) and not _failed_last(context, day)
        for day in looked_back_on
        if _is_published(reports, day)
    }
    in_progress = _days_in_progress(context)
    requests = [
        # Unique to the tick, so that one that is evaluated twice, as after a crash, starts one run.
        dg.RunRequest(run_key=f"close-{day}-{tick:%Y-%m-%dT%H:%M}", partition_key=day.isoformat())
        for day in days_to_close(yesterday, is_closed)
        if day.isoformat() not in in_progress
    ]
    return requests or dg.SkipReason("Every day is closed, or a run is at it.")


remove_old_runs = dg.ScheduleDefinition(
    name="remove_old_runs",
    job_name=HOUSEKEEPING_JOB,
    # Between two ticks of the others.
    cron_schedule="10 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes Dagster's records of the runs that later ones have replaced, once a day.",
)


def _days_in_progress(context: dg.ScheduleEvaluationContext) -> list[str]:
    runs = context.instance.get_runs(dg.RunsFilter(job_name=FLEET_STATUS_JOB, statuses=IN_PROGRESS))
    return [run.tags.get(PARTITION_TAG, "") for run in runs]


def _is_published(reports: ReportStore, day: dt.date) -> bool:
    return any(reports.has(dataset, day) for dataset in DAILY_DATASETS)


def _is_closed(reports: ReportStore, day: dt.date) -> bool:
    """Whether what is published for a day stands for the whole of it.

    Only the files are asked, whose instants are those of the fleet database's clock: not Dagster,
    which knows when a run was made by a clock and in a time zone of its own.
    """
    try:
        snapshots_at = [reports.describe(dataset, day).snapshot_at for dataset in DAILY_DATASETS]
    except ReportStoreError:
        return False
    return all(snapshot_at == end_of(day) for snapshot_at in snapshots_at)


def _failed_last(context: dg.ScheduleEvaluationContext, day: dt.date) -> bool:
    """Whether the newest run for a day failed: then the history may lack what the files have."""
    of_day = dg.RunsFilter(job_name=FLEET_STATUS_JOB, tags={PARTITION_TAG: day.isoformat()})
    return any(
        run.status is dg.DagsterRunStatus.FAILURE
        for run in context.instance.get_runs(of_day, limit=1)
    )
