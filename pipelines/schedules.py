"""When the job runs: every quarter of an hour for today, and once after midnight for yesterday."""

import datetime as dt

import dagster as dg

from pipelines.jobs import FLEET_STATUS_JOB

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

QUARTER_OF_AN_HOUR = dt.timedelta(minutes=15)


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


@dg.schedule(
    name="refresh_today",
    job_name=FLEET_STATUS_JOB,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Publishes today as of now, every 15 minutes, unless a run is still at it.",
)
def refresh_today(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Requests today's partition."""
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
    description="Publishes yesterday as of its end, shortly after midnight UTC.",
)
def close_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Requests the partition of the day before the tick, however late the tick is evaluated."""
    yesterday = context.scheduled_execution_time.astimezone(dt.UTC) - dt.timedelta(days=1)
    day = f"{yesterday:%Y-%m-%d}"
    return dg.RunRequest(run_key=f"close-{day}", partition_key=day)


def _days_in_progress(context: dg.ScheduleEvaluationContext) -> list[str]:
    runs = context.instance.get_runs(dg.RunsFilter(job_name=FLEET_STATUS_JOB, statuses=IN_PROGRESS))
    return [run.tags.get("dagster/partition", "") for run in runs]
