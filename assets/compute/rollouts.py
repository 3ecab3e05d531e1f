"""How far each commit got among the systems of its flake, and when."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    NOTHING,
    Booleans,
    Integers,
    instant_microseconds,
    instants,
    translate,
)
from assets.compute.lead_times import PAIRS_AT_ONCE
from assets.compute.rollout_progress import RolloutProgress
from assets.compute.running_commits import PIECES_AT_ONCE
from assets.compute.status import system_deployment_status, systems_by_host
from assets.compute.timeline import FleetTimeline

_PERCENTAGES = (50, 90, 100)
_NUMBERS_KEPT = 16_000_000


def commit_rollouts(
    timeline: FleetTimeline,
    snapshot_at: pd.Timestamp,
    *,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> pd.DataFrame:
    """How far each commit had got at `snapshot_at`.

    Memory: some 200 bytes a commit, host and deployment, and what the two bounds allow (some 150
    bytes a pair, 200 bytes a piece); none for the (host, commit) pairs beyond. Time grows with
    these pairs: some 3 s for 100 million.

    Args:
        timeline: the fleet.
        snapshot_at: T; only what lies before it is visible.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a visible commit on the branch, by flake_name, flake_id (flakes without a name
        last), then the newest first. Columns as in `assets.schemas.COMMIT_ROLLOUTS`.
    """
    return next(
        rollouts_of_days(
            timeline, [snapshot_at], pairs_at_once=pairs_at_once, pieces_at_once=pieces_at_once
        )
    )


def rollouts_of_days(
    timeline: FleetTimeline,
    snapshots_at: Sequence[pd.Timestamp],
    statuses: Iterable[pd.DataFrame] | None = None,
    *,
    newest: int | None = None,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """`commit_rollouts` of many instants, in ascending order: each goes on where the last ended.

    Memory: at most 130 MB more than for one instant. To keep to it, everything is counted anew now
    and then, and a flake's rollouts also where a system leaves it.

    Args:
        timeline: the fleet.
        snapshots_at: the instants.
        statuses: `system_deployment_status` at each of them, taken one by one; where there are
            none, the systems are judged here.
        newest: of how many commits of each flake, counted from its latest; None for all.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.
    """
    if statuses is None:
        statuses = (system_deployment_status(timeline, at, at) for at in snapshots_at)
    batch: list[_Systems] = []
    numbers_kept = 0
    for snapshot_at, status in zip(snapshots_at, statuses, strict=True):
        systems = _Systems.of(timeline, status, snapshot_at)
        numbers = systems.numbers_kept_after(batch[-1] if batch else None, timeline.commits)
        if batch and numbers_kept + numbers > _NUMBERS_KEPT:
            yield from _follow(timeline, batch, newest, pairs_at_once, pieces_at_once)
            batch, numbers_kept = [], 0
        batch.append(systems)
        numbers_kept += numbers
    if batch:
        yield from _follow(timeline, batch, newest, pairs_at_once, pieces_at_once)


def rollouts_by_environment(
    timeline: FleetTimeline,
    snapshots_at: Sequence[pd.Timestamp],
    statuses: Callable[[], Iterable[pd.DataFrame]],
    *,
    newest: int,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """The same of each environment, as if its systems were all.

    Memory: as `rollouts_of_days`, for each environment; time is that of one of them, as each system
    is of one environment.

    Args:
        timeline: the fleet.
        snapshots_at: the instants, ascending.
        statuses: begins to give `system_deployment_status` at each of them, one by one.
        newest: of how many commits of each flake, counted from its latest.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a commit and environment that has a system of the flake, in the order of
        `rollouts_of_days`, then by environment (null last). Columns as in
        `assets.schemas.COMMIT_ROLLOUTS_BY_ENVIRONMENT`.
    """
    names = {name for status in statuses() for name in status["environment"].unique()}
    # Text by code point, null last.
    environments = [*sorted(name for name in names if isinstance(name, str)), None]

    def of_environment(environment: str | None) -> Iterator[pd.DataFrame]:
        for status in statuses():
            named = status["environment"]
            chosen = named.isna() if environment is None else named.eq(environment)
            yield status[chosen].reset_index(drop=True)

    followed = [
        rollouts_of_days(
            timeline,
            snapshots_at,
            of_environment(environment),
            newest=newest,
            pairs_at_once=pairs_at_once,
            pieces_at_once=pieces_at_once,
        )
        for environment in environments
    ]
    for rollouts in zip(*followed, strict=True):
        told = [
            each.assign(environment=pd.Series(name, each.index, "str"))[each["hosts_eligible"] > 0]
            for name, each in zip(environments, rollouts, strict=True)
        ]
        # All tell of the same commits in the same order.
        yield pd.concat(told).sort_index(kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class _Systems:
    """The systems that have a status at T.

    Attributes:
        snapshot_at: T.
        instant: T in microseconds.
        flake_by_host: by host code, the associated flake's code, `NOTHING` where there is none.
        current_by_host: by host code, position of the current commit where it is of that flake.
        eligible: by flake code, how many systems are associated with it.
    """

    snapshot_at: pd.Timestamp
    instant: int
    flake_by_host: Integers
    current_by_host: Integers
    eligible: Integers

    @classmethod
    def of(
        cls, timeline: FleetTimeline, status: pd.DataFrame, snapshot_at: pd.Timestamp
    ) -> "_Systems":
        """Takes the systems of a snapshot."""
        systems = systems_by_host(timeline, status)
        flake, codes = systems["flake"], timeline.commits.flakes.index
        return cls(
            snapshot_at=snapshot_at,
            instant=instant_microseconds(snapshot_at),
            flake_by_host=flake.to_numpy(),
            current_by_host=systems["commit"].to_numpy(),
            eligible=np.asarray(flake.value_counts().reindex(codes, fill_value=0), np.int64),
        )

    @property
    def milestones(self) -> list[Integers]:
        """By flake code, the ranks of the first system and of the one that makes a percentage."""
        percentages = [-(-self.eligible * each // 100) for each in _PERCENTAGES]
        return [np.ones(len(self.eligible), np.int64), *percentages]

    def numbers_kept_after(self, before: "_Systems | None", commits: CommitOrder) -> int:
        """How many numbers have to be kept to tell of this instant too."""
        earlier = [0] * len(self.milestones) if before is None else before.milestones
        pairs = zip(self.milestones, earlier, strict=True)
        further_ranks = sum((ranks != known).astype(np.int64) for ranks, known in pairs)
        return 2 * len(self.flake_by_host) + int(further_ranks[commits.flake].sum())


def _follow(
    timeline: FleetTimeline,
    systems: list[_Systems],
    newest: int | None,
    pairs_at_once: int,
    pieces_at_once: int,
) -> Iterator[pd.DataFrame]:
    commits, host_count = timeline.commits, len(timeline.hosts)
    chosen = np.any([each.flake_by_host != NOTHING for each in systems], axis=0)
    running = timeline.running_by_branch.of_hosts(chosen)
    # What is told of at the first instant begins no later than at the others.
    progress = RolloutProgress(
        commits,
        host_count,
        [ranks for each in systems for ranks in each.milestones],
        _first_told(commits, systems[0].instant, newest),
    )
    first_run_at = running.first_starts(host_count)
    reached, before = running.earliest, systems[0].flake_by_host
    for now in systems:
        restarted = _flakes_to_restart(before, now, joined_late=first_run_at < reached)
        spans_of_time = [(running, reached, now.instant)]
        if restarted.any():
            hosts = (now.flake_by_host != NOTHING) & restarted[now.flake_by_host]
            progress.forget(restarted, hosts)
            spans_of_time.insert(0, (running.of_hosts(hosts), running.earliest, reached))
        for ran, since, until in spans_of_time:
            for pieces in ran.pieces(since, until, pieces_at_once):
                is_own = now.flake_by_host[pieces["host"]] == commits.flake[pieces["commit"]]
                progress.advance(pieces[is_own], pairs_at_once)
        reached, before = now.instant, now.flake_by_host
        yield _rows(timeline, now, progress, newest)


def _first_told(commits: CommitOrder, instant: int, newest: int | None) -> Integers:
    """By commit position, that of the first of its flake's newest on the branch at an instant."""
    if newest is None:
        return commits.starts
    place = translate(commits.latest(instant), np.maximum(commits.count_on_branch - newest, 0))
    first = translate(place, commits.on_branch)
    return np.maximum(commits.starts, first[commits.flake])


def _flakes_to_restart(before: Integers, now: _Systems, joined_late: Booleans) -> Booleans:
    """By flake code, whether its systems so far are not those of before and newcomers.

    A newcomer that ran something before it joined reached commits at instants already passed.
    """
    has_moved = before != now.flake_by_host
    left = before[has_moved & (before != NOTHING)]
    joined = now.flake_by_host[has_moved & (now.flake_by_host != NOTHING) & joined_late]
    restarted = np.zeros(len(now.eligible), np.bool_)
    restarted[left] = True
    restarted[joined] = True
    return restarted


def _rows(
    timeline: FleetTimeline, systems: _Systems, progress: RolloutProgress, newest: int | None
) -> pd.DataFrame:
    commits, flakes = timeline.commits, timeline.commits.flakes
    is_shown = commits.rows["is_on_branch"] & (
        commits.rows["commit_timestamp"] < systems.snapshot_at
    )
    is_shown &= commits.rows.index >= _first_told(commits, systems.instant, newest)
    shown = commits.rows[is_shown]
    # Flakes without a name come last.
    by_name = flakes.sort_values(["flake_name", "flake_id"]).index
    shown = shown.assign(rank=np.argsort(by_name)[shown["flake"]])
    shown = shown.sort_values(["rank", "place"], ascending=[True, False])
    current = pd.Series(systems.current_by_host).value_counts()
    reached_at = [
        instants(progress.reached_at(ranks[commits.flake])[shown.index])
        for ranks in systems.milestones
    ]
    return pd.DataFrame(
        {
            "commit_id": shown["commit_id"].array.to_numpy("int64"),
            "commit_hash": shown["commit_hash"].array,
            "commit_timestamp": shown["commit_timestamp"].array,
            "flake_id": flakes["flake_id"].loc[shown["flake"]].to_numpy("int64"),
            "flake_name": flakes["flake_name"].loc[shown["flake"]].array,
            "hosts_eligible": systems.eligible[shown["flake"]],
            "hosts_reached": progress.counts[shown.index],
            "hosts_current": current.reindex(shown.index, fill_value=0).to_numpy(),
            "first_deployed_at": reached_at[0],
            **{
                f"reached_{percentage}_percent_at": reached
                for percentage, reached in zip(_PERCENTAGES, reached_at[1:], strict=True)
            },
        }
    ).assign(
        snapshot_date=(systems.snapshot_at - pd.Timedelta(1, "us")).date(),
        snapshot_at=systems.snapshot_at.as_unit("us"),
    )
