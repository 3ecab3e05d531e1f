"""How the newest generation of a demo fleet got its commits: feeds, branches, rewritten history.

Belongs here: the state of each flake's feed, its branch as it was last read, which commits are off
it, and how far each was evaluated. Does not belong here: making commits.
"""

import numpy as np
import pyarrow as pa

from pipelines.demo.commits import Commits, Flags, FlakePlan
from pipelines.demo.spec import DemoFleet
from pipelines.demo.stories import Stories, Story
from pipelines.demo.tables import seconds
from pipelines.units import DAY, HOUR, MICROSECONDS

_BRANCH = "main"
_SNAPSHOT_LENGTH = 500
_SHARE_OFF_THE_BRANCH = 0.02
_ERROR = (
    "fatal: unable to access the repository: Could not resolve host: gitlab.example.org; the last "
    "known commit is not among the newest 500 of origin/main"
)
_EVALUATION = ("pending", "in_progress", "complete", "failed")
_PENDING, _IN_PROGRESS, _COMPLETE, _FAILED = range(4)


def with_feeds(spec: DemoFleet, plan: FlakePlan, flakes: pa.Table) -> pa.Table:
    """The table `flakes` with what the server wrote down when it read each repository last."""
    until = spec.until_us // MICROSECONDS
    rng = np.random.default_rng([spec.seed, 10])
    rows = spec.flakes
    status = np.full(rows, "synced", dtype=object)
    began = until - rng.integers(60, 10 * 60, rows)
    error = np.full(rows, None, dtype=object)
    if rows > 1:
        status[1], began[1] = "syncing", until - 40
    if plan.new is not None:
        # An attempt that died.
        status[plan.new], began[plan.new] = "syncing", until - 9 * HOUR
    deleted = np.zeros(rows, dtype=np.bool_)
    if plan.deleted is not None:
        deleted[plan.deleted] = True
        began[plan.deleted] = _deleted_at(until) - 5 * 60
    failing = _failing(plan)
    if failing is not None:
        status[failing], error[failing] = "error", _ERROR
    has_snapshot = np.ones(rows, dtype=np.bool_)
    if plan.undeployed is not None:
        has_snapshot[plan.undeployed] = False
    ready = np.full(rows, until - spec.days * DAY)
    return pa.table(
        {
            **{name: flakes[name] for name in flakes.column_names},
            "branch": pa.array([_BRANCH] * rows, pa.string()),
            "deleted_at": seconds(np.full(rows, _deleted_at(until)), known=deleted),
            "sync_status": pa.array(status, pa.string()),
            "last_sync_at": seconds(began),
            "last_sync_error": pa.array(error, pa.string()),
            "snapshot_ready_at": seconds(ready, known=has_snapshot),
        }
    )


def with_evaluations(
    spec: DemoFleet, plan: FlakePlan, commits: Commits, stories: Stories, table: pa.Table
) -> pa.Table:
    """The table `commits` with how far each was evaluated, and whether it is off the branch."""
    status = np.where(commits.evaluated, _COMPLETE, _FAILED)
    known = np.ones(len(status), dtype=np.bool_)
    until = spec.until_us // MICROSECONDS
    if plan.undeployed is not None:
        first, end = commits.first[plan.undeployed], commits.end[plan.undeployed]
        for back, what in enumerate((_IN_PROGRESS, _PENDING, _FAILED), 1):
            if end - back > first:
                status[end - back] = what
    head = None if plan.rewritten is None else commits.newest_visible(plan.rewritten, until)
    if head is not None:
        known[head] = False
    by_id = np.argsort(commits.id)
    codes = pa.array(status[by_id], mask=~known[by_id])
    archived = off_the_branch(spec, plan, commits, stories)[by_id]
    return table.append_column(
        "evaluation_status", pa.array(_EVALUATION, pa.string()).take(codes)
    ).append_column("source_archived", pa.array(archived))


def branch_snapshot_table(
    spec: DemoFleet, plan: FlakePlan, commits: Commits, stories: Stories
) -> pa.Table:
    """The table `flake_branch_commit_snapshot`: each branch as it was when last read well."""
    until = spec.until_us // MICROSECONDS
    observed = np.full(spec.flakes, until - 11 * 60)
    if plan.new is not None:
        observed[plan.new] = until - 10 * HOUR
    failing = _failing(plan)
    if failing is not None:
        observed[failing] = until - 3 * DAY
    on_branch = ~off_the_branch(spec, plan, commits, stories)
    chosen = np.flatnonzero(on_branch & (commits.pushed < observed[commits.flake]))
    chosen = chosen[::-1]
    flake = commits.flake[chosen]
    edges = np.searchsorted(-flake, -np.arange(spec.flakes))
    position = np.arange(len(chosen)) - edges[flake]
    chosen, position = (values[position < _SNAPSHOT_LENGTH] for values in (chosen, position))
    return pa.table(
        {
            "flake_id": commits.flake[chosen] + 1,
            "commit_id": commits.id[chosen],
            "position": position,
            "observed_at": seconds(observed[commits.flake[chosen]]),
        }
    )


def off_the_branch(spec: DemoFleet, plan: FlakePlan, commits: Commits, stories: Stories) -> Flags:
    """By commit, whether the history was rewritten without it."""
    rng = np.random.default_rng([spec.seed, 11])
    position = np.arange(len(commits.id)) - commits.first[commits.flake]
    from_end = commits.end[commits.flake] - np.arange(len(commits.id))
    # Never the first commits, nor those that something else is told of.
    usual = (position > 3) & (from_end > 10) & (commits.flake != plan.undeployed)
    off: Flags = commits.rewritten | (usual & (rng.random(len(position)) < _SHARE_OFF_THE_BRANCH))
    off[stories.commit[stories.story == Story.LEFT_BEHIND]] = True
    return off


def _failing(plan: FlakePlan) -> int | None:
    """The flake whose feed fails: one that hosts follow, where there are enough of them."""
    return 2 if plan.ordinary > 2 else plan.undeployed


def _deleted_at(until: int) -> int:
    return until - HOUR
