"""Running the job from the command line, on the same instance that the UI and the daemon use."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dagster as dg
from dagster._core.events import RunFailureReason

from assets.publishing.days import FIRST_DAY
from assets.publishing.display import display_sentence
from pipelines.definitions import defs
from pipelines.instance.opening import (
    STORAGE_FAILURES,
    describe_storage_failure,
    opened_instance,
    sole_command,
)
from pipelines.instance.runs import COMMAND_TAG, fail_runs_of_killed_commands
from pipelines.instance.tags import RANGE_END_TAG, RANGE_START_TAG
from pipelines.jobs import BACKFILL_JOB, FLEET_STATUS_JOB, PAGES_JOB
from pipelines.progress import show_progress_outside_of_steps
from pipelines.settings import Settings


class RunFailed(Exception):
    """The job failed; the message has the reasons, one a line."""


@contextmanager
def command_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, for one command at a time.

    A command that was killed leaves its run in progress and its places in the pools taken. Whoever
    is the sole command knows that no such run is alive, and clears up after it.

    Raises:
        InstanceUnusableError: its folder, its `dagster.yaml` or its storage can't be used.
    """
    show_progress_outside_of_steps()
    with opened_instance(settings) as instance, sole_command(instance):
        fail_runs_of_killed_commands(instance)
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
        RunFailed: there is no such day, or a step failed.
        KeyboardInterrupt: the run was interrupted.
    """
    reading = {"read_fleet_database": {"config": {"accept_shrunk": accept_shrunk}}}
    if first_day == last_day:
        _execute(instance, FLEET_STATUS_JOB, {"ops": reading}, partition_key=first_day)
        return
    range_tags = {RANGE_START_TAG: first_day, RANGE_END_TAG: last_day}
    _execute(instance, BACKFILL_JOB, {"ops": reading}, tags=range_tags)


def render_pages(instance: dg.DagsterInstance, day: str) -> None:
    """Renders the page of a published day anew, from what is published.

    Raises:
        RunFailed: a step failed.
        KeyboardInterrupt: the run was interrupted.
    """
    _execute(instance, PAGES_JOB, {}, partition_key=day)


def _execute(
    instance: dg.DagsterInstance,
    job_name: str,
    run_config: Mapping[str, object],
    *,
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    try:
        result = defs.resolve_job_def(job_name).execute_in_process(
            instance=instance,
            run_config={"loggers": {"progress": {}}, **run_config},
            partition_key=partition_key,
            tags={COMMAND_TAG: job_name, **(tags or {})},
            raise_on_error=False,
        )
    except dg.DagsterUnknownPartitionError:
        problem = (
            f"{partition_key} can't be published: only the days from {FIRST_DAY} to today can."
        )
    except STORAGE_FAILURES as error:
        problem = f"Dagster's storage failed during the run: {describe_storage_failure(error)}"
    else:
        if result.success:
            return
        if _was_interrupted(result.all_events):
            raise KeyboardInterrupt
        problem = "\n".join(_reasons(result.all_events))
    raise RunFailed(problem)


def _was_interrupted(events: Sequence[dg.DagsterEvent]) -> bool:
    return any(
        event.is_job_failure
        and event.job_failure_data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION
        for event in events
    )


def _reasons(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """Why a run failed: each reason once, with the steps that gave it."""
    steps: dict[str, list[str]] = {}
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            said = failure.user_failure_data
            reason = said.description if said is not None else None
            if reason is None and failure.error is not None:
                cause = failure.error.cause or failure.error
                reason = _words(cause.message)
            steps.setdefault(reason or "It does not say why.", []).append(str(event.step_key))
    reasons = [f"{', '.join(failed)}: {reason}" for reason, failed in steps.items()]
    if reasons:
        return reasons
    errors = [event.job_failure_data.error for event in events if event.is_job_failure]
    causes = [error.cause or error for error in errors if error is not None]
    return [_words(cause.message) for cause in causes] or [
        "The run failed before its first step; see the Dagster UI (`make ui`)."
    ]


def _words(message: str) -> str:
    message = message.strip()
    # Our own exceptions speak for themselves; their class says nothing to whoever typed a command.
    is_ours = message.startswith(("assets.", "pipelines."))
    return message.partition(": ")[2] if is_ours else display_sentence(message)
