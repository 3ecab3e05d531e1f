"""The runs that are under way, and those that only look so because their command was killed."""

import dagster as dg

COMMAND_TAG = "flakelag/command"
"""Marks the runs of our own commands: they live and die with a process that no daemon watches."""

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_runs_of_killed_commands(instance: dg.DagsterInstance) -> None:
    """Fails the runs of commands, and frees their places in the pools.

    Only for the sole command: it knows that no such run is alive but its own.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS)):
        if COMMAND_TAG in run.tags:
            instance.report_run_failed(run, "The command that started this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def fail_runs_of_killed_commands_unless_one_runs(instance: dg.DagsterInstance) -> None:
    """The same for the schedules, which would else wait for a dead run; leaves a live one alone."""
    # It brings both kinds of storage, of which a run needs one and the definitions none.
    from pipelines.instance.opening import command_lock  # noqa: PLC0415

    with command_lock(instance) as try_to_lock:
        if try_to_lock():
            fail_runs_of_killed_commands(instance)
