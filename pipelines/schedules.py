"""When the job runs: every quarter of an hour for today, and once after midnight for yesterday."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from assets.publishing.days import end_of
from pipelines.instance.runs import (
    IN_PROGRESS,
    fail_runs_of_killed_commands_unless_one_runs,
)
from pipelines.instance.tags import PARTITION_TAG
from pipelines.jobs import FLEET_STATUS_JOB

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


def days_to_close(yesterday: dt.date, was_closed: Mapping[dt.date, bool]) -> list[dt.date]:
    """Which days to publish as of their end: yesterday, and those before it that were missed.

    Dagster evaluates only the last of the ticks that the daemon slept through. So a day before
    yesterday may still be published as of some quarter of an hour, or not at all.

    Args:
        yesterday: the day before the tick.
        was_closed: of the days looked back on for which the job ever ran, whether it succeeded
            after the day had ended. Days before the first of them are a matter of a backfill.

    Returns:
        The days, ascending; yesterday is always the last.
    """
    first = min(was_closed, default=yesterday)
    days = [first + dt.timedelta(days=number) for number in range((yesterday - first).days)]
    return [day for day in days if not was_closed.get(day, False)] + [yesterday]


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
    cron_schedule="5 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Publishes yesterday as of its end, shortly after midnight UTC; and the days before it "
        "that were not, because the daemon was down or their run failed."
    ),
)
def close_yesterday(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Requests the day before the tick, however late it is evaluated, and what was missed."""
    tick_day = context.scheduled_execution_time.astimezone(dt.UTC).date()
    yesterday = tick_day - dt.timedelta(days=1)
    was_closed = {}
    for number in range(1, DAYS_CAUGHT_UP):
        day = yesterday - dt.timedelta(days=number)
        closed = _was_closed(context, day)
        if closed is not None:
            was_closed[day] = closed
    return [
        dg.RunRequest(run_key=f"close-{day}", partition_key=day.isoformat())
        for day in days_to_close(yesterday, was_closed)
    ]


def _days_in_progress(context: dg.ScheduleEvaluationContext) -> list[str]:
    runs = context.instance.get_runs(dg.RunsFilter(job_name=FLEET_STATUS_JOB, statuses=IN_PROGRESS))
    return [run.tags.get(PARTITION_TAG, "") for run in runs]


def _was_closed(context: dg.ScheduleEvaluationContext, day: dt.date) -> bool | None:
    """Whether the job succeeded for a day after its end; None where it never ran for it."""
    tags = {PARTITION_TAG: day.isoformat()}
    of_day = dg.RunsFilter(job_name=FLEET_STATUS_JOB, tags=tags)
    if not context.instance.get_runs(of_day, limit=1):
        return None
    after_its_end = dg.RunsFilter(
        job_name=FLEET_STATUS_JOB,
        tags=tags,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        created_after=end_of(day).to_pydatetime(),
    )
    return bool(context.instance.get_runs(after_its_end, limit=1))
