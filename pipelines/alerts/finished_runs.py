"""How runs ended, read from Dagster's event log in order.

Not through `run_failure_sensor`: Dagster moves its cursor on when the function raises, so a message
that the webhook did not take would be lost. And it sees no check results, which a run that succeeds
can have too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import dagster as dg
from dagster import DagsterEventType
from dagster_shared.error import SerializableErrorInfo

from pipelines.alerts.conditions import CheckOutcome, DaySpan, FailedStep, RunOutcome
from pipelines.instance.tags import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

RUNS_AT_ONCE = 100

_Ending = Literal[
    DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED
]
_Status = Literal["succeeded", "failed", "canceled"]

_STATUSES: dict[_Ending, _Status] = {
    DagsterEventType.RUN_SUCCESS: "succeeded",
    DagsterEventType.RUN_FAILURE: "failed",
    DagsterEventType.RUN_CANCELED: "canceled",
}

_EVENTS_READ = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
}

# An exception's message begins with the module of its class.
_OWN_PACKAGES = ("assets.", "pipelines.")

# What Dagster wraps around the exception that a step raised.
_WRAPPER = "DagsterExecutionStepExecutionError"


@dataclass(frozen=True)
class FinishedRuns:
    """Runs in the order in which they ended, and the position in the event log behind them."""

    outcomes: Sequence[RunOutcome]
    position: int


def end_of_log(instance: dg.DagsterInstance) -> int:
    """The position behind every run that has ended."""
    latest = [
        record.storage_id
        for event_type in _STATUSES
        for record in instance.fetch_run_status_changes(event_type, limit=1).records
    ]
    return max(latest, default=0)


def runs_finished_after(
    instance: dg.DagsterInstance, position: int, is_ours: Callable[[dg.DagsterRun], bool]
) -> FinishedRuns:
    """Reads how the next runs ended, `RUNS_AT_ONCE` of each status at most.

    Args:
        instance: keeps the event log.
        position: behind the runs that were read before. A position beyond the end of the log is
            that of another log: then this one is read from its beginning.
        is_ours: whether a run is worth reading.
    """
    if position > end_of_log(instance):
        position = 0
    endings: list[tuple[int, str, _Status]] = []
    horizon = math.inf
    for event_type, status in _STATUSES.items():
        records = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type, after_storage_id=position),
            limit=RUNS_AT_ONCE,
            ascending=True,
        ).records
        endings.extend((record.storage_id, record.run_id, status) for record in records)
        if len(records) == RUNS_AT_ONCE:
            # Later runs of the other statuses may follow ones of this status not read yet.
            horizon = min(horizon, records[-1].storage_id)
    endings = sorted(ending for ending in endings if ending[0] <= horizon)
    outcomes = []
    for _, run_id, status in endings:
        run = instance.get_run_by_id(run_id)
        # None for a run that was deleted since.
        if run is not None and is_ours(run):
            outcomes.append(_outcome(instance, run, status))
    return FinishedRuns(outcomes, endings[-1][0] if endings else position)


def _outcome(instance: dg.DagsterInstance, run: dg.DagsterRun, status: _Status) -> RunOutcome:
    days = _days_of(run)
    steps: list[FailedStep] = []
    checks: list[CheckOutcome] = []
    with_partitions: set[dg.AssetKey] = set()
    reason = None
    for entry in instance.all_logs(run.run_id, of_type=_EVENTS_READ):
        event = entry.get_dagster_event()
        match event.event_type:
            case DagsterEventType.STEP_FAILURE:
                steps.append(_failed_step(event))
            case DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                planned = event.asset_materialization_planned_data
                if planned.partition is not None or planned.partitions_subset is not None:
                    with_partitions.add(planned.asset_key)
            case DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.asset_check_evaluation_data
                # Dagster names no partition in an evaluation, only in the run.
                checked = days if evaluation.asset_key in with_partitions else None
                checks.append(_check_outcome(evaluation, checked))
            case _:
                reason = _reason_of_run(event)
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    return RunOutcome(
        run.run_id, run.job_name, status, steps, checks, days, assets, None if steps else reason
    )


def _days_of(run: dg.DagsterRun) -> DaySpan | None:
    day = run.tags.get(PARTITION_TAG)
    first = run.tags.get(RANGE_START_TAG, day)
    last = run.tags.get(RANGE_END_TAG, day)
    return None if first is None or last is None else DaySpan(first, last)


def _failed_step(event: dg.DagsterEvent) -> FailedStep:
    data = event.step_failure_data
    error = data.error
    if error is not None and error.cls_name == _WRAPPER and error.cause is not None:
        error = error.cause
    name = error.cls_name if error is not None else None
    # Only flakelag raises `dagster.Failure`.
    of_failure = data.user_failure_data.description if data.user_failure_data else None
    return FailedStep(
        event.step_key or "?", name or "unknown error", of_failure or _own_words(error)
    )


def _reason_of_run(event: dg.DagsterEvent) -> str | None:
    """Why a run failed outside of its steps, in words of flakelag, else of Dagster."""
    # Without data where something else than the run itself has failed it.
    error = None if event.event_specific_data is None else event.job_failure_data.error
    own_words = _own_words(error.cause or error) if error is not None else None
    # Below its first line Dagster may quote what the system logged.
    return own_words or (event.message or "").partition("\n")[0] or None


def _own_words(error: SerializableErrorInfo | None) -> str | None:
    """The message of an exception of flakelag, which is written for people and holds no secret."""
    if error is None or not error.message.startswith(_OWN_PACKAGES):
        return None
    return error.message.partition(": ")[2].strip() or None


def _check_outcome(evaluation: dg.AssetCheckEvaluation, days: DaySpan | None) -> CheckOutcome:
    return CheckOutcome(
        asset=evaluation.asset_key.to_user_string(),
        check=evaluation.check_name,
        passed=evaluation.passed,
        severity=evaluation.severity.value,
        description=evaluation.description,
        days=days,
    )
