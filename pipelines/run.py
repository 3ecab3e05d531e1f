"""Running the job from the command line, on the same instance that the UI and the daemon use."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from filelock import FileLock

from pipelines.definitions import defs
from pipelines.instance import prepare_instance
from pipelines.jobs import BACKFILL_JOB, FLEET_STATUS_JOB
from pipelines.progress import show_progress_outside_of_steps
from pipelines.schedules import IN_PROGRESS
from pipelines.settings import Settings

COMMAND_TAG = "flakelag/command"
# Dagster's own, as its backfills set them.
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


class RunFailed(Exception):
    """The job failed; the message has the reasons, one a line."""


@contextmanager
def command_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, for one command at a time.

    A command that was killed leaves its run in progress and its places in the pools taken. Whoever
    holds the lock knows that no such run is alive, and clears up after it.
    """
    show_progress_outside_of_steps()
    folder = prepare_instance(settings)
    os.environ["DAGSTER_HOME"] = str(folder)
    with FileLock(folder / "flakelag-command.lock"), dg.DagsterInstance.get() as instance:
        _fail_runs_of_killed_commands(instance)
        yield instance


def run_days(
    instance: dg.DagsterInstance,
    first_day: str,
    last_day: str,
    *,
    accept_shrunk: bool = False,
) -> None:
    """Runs the job for a range of days in one go.

    Raises:
        RunFailed: a step failed.
    """
    is_one_day = first_day == last_day
    job = defs.resolve_job_def(FLEET_STATUS_JOB if is_one_day else BACKFILL_JOB)
    range_tags = {RANGE_START_TAG: first_day, RANGE_END_TAG: last_day}
    result = job.execute_in_process(
        instance=instance,
        run_config={
            "loggers": {"progress": {}},
            "ops": {"read_fleet_database": {"config": {"accept_shrunk": accept_shrunk}}},
        },
        partition_key=first_day if is_one_day else None,
        tags={COMMAND_TAG: job.name} | ({} if is_one_day else range_tags),
        raise_on_error=False,
    )
    if not result.success:
        raise RunFailed("\n".join(_reasons(result.all_events)))


def _reasons(events: Sequence[dg.DagsterEvent]) -> list[str]:
    reasons = []
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            user_failure = failure.user_failure_data
            if user_failure is not None and user_failure.description:
                reasons.append(f"{event.step_key}: {user_failure.description}")
            elif failure.error is not None:
                cause = failure.error.cause or failure.error
                reasons.append(f"{event.step_key}: {cause.message.strip()}")
    return reasons or ["The run failed before its first step; see the Dagster UI (`make ui`)."]


def _fail_runs_of_killed_commands(instance: dg.DagsterInstance) -> None:
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS)):
        if COMMAND_TAG in run.tags:
            instance.report_run_failed(run, "The command that started this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
