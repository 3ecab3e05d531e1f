"""How far each commit got among the systems of its flake, and when."""

from collections.abc import Iterator, Sequence
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
    take_text,
    translate,
)
from assets.compute.lead_times import PAIRS_AT_ONCE
from assets.compute.rollout_progress import NEVER, RolloutProgress
from assets.compute.running_commits import PIECES_AT_ONCE, RunningCommits
from assets.compute.status import judge
from assets.compute.timeline import FleetTimeline
from assets.compute.visible_commits import visible_ends

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
        One row a visible commit, by flake_name, flake_id (flakes without a name last), then the
        newest first. Columns as in `assets.schemas.COMMIT_ROLLOUTS`.
    """
    return next(
        rollouts_of_days(
            timeline, [snapshot_at], pairs_at_once=pairs_at_once, pieces_at_once=pieces_at_once
        )
    )


def rollouts_of_days(
    timeline: FleetTimeline,
    snapshots_at: Sequence[pd.Timestamp],
    *,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """`commit_rollouts` of many instants, in ascending order: each goes on where the last ended.

    Memory: at most 130 MB more than for one instant. To keep to it, everything is counted anew now
    and then, and a flake's rollouts also where a system leaves it.
    """
    running = RunningCommits.of(timeline)
    batch: list[_Systems] = []
    numbers_kept = 0
    for snapshot_at in snapshots_at:
        systems = _Systems.at(timeline, snapshot_at)
        numbers = systems.numbers_kept_after(batch[-1] if batch else None, timeline.commits)
        if batch and numbers_kept + numbers > _NUMBERS_KEPT:
            yield from _follow(timeline, running, batch, pairs_at_once, pieces_at_once)
            batch, numbers_kept = [], 0
        batch.append(systems)
        numbers_kept += numbers
    if batch:
        yield from _follow(timeline, running, batch, pairs_at_once, pieces_at_once)


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
    def at(cls, timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> "_Systems":
        """Judges all systems at an instant."""
        instant = instant_microseconds(snapshot_at)
        hosts, states, commits = timeline.hosts, timeline.states, timeline.commits
        last_states = states.last_states(instant)
        is_registered = hosts.registered_before(instant)
        standing = judge(
            timeline,
            paths=translate(states.runs(last_states), states.run_path),
            registered_flake=np.where(is_registered, hosts.registered_flake, NOTHING),
            instant=instant,
        )
        flake = np.where(hosts.is_deactivated, NOTHING, standing.flake)
        is_own = (flake != NOTHING) & (translate(standing.current, commits.flake) == flake)
        return cls(
            snapshot_at=snapshot_at,
            instant=instant,
            flake_by_host=flake,
            current_by_host=np.where(is_own, standing.current, NOTHING),
            eligible=np.bincount(flake[flake != NOTHING], minlength=len(commits.flake_ids)),
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
        return 2 * len(self.flake_by_host) + int((np.diff(commits.starts) * further_ranks).sum())


def _follow(
    timeline: FleetTimeline,
    running: RunningCommits,
    systems: list[_Systems],
    pairs_at_once: int,
    pieces_at_once: int,
) -> Iterator[pd.DataFrame]:
    commits = timeline.commits
    progress = RolloutProgress(
        commits, len(timeline.hosts.names), [ranks for each in systems for ranks in each.milestones]
    )
    first_run_at = running.first_starts(len(timeline.hosts.names))
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
                is_own = now.flake_by_host[pieces.host] == commits.flake[pieces.commit]
                progress.advance(pieces.where(is_own), pairs_at_once)
        reached, before = now.instant, now.flake_by_host
        yield _rows(timeline, now, progress)


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


def _rows(timeline: FleetTimeline, systems: _Systems, progress: RolloutProgress) -> pd.DataFrame:
    commits = timeline.commits
    codes = np.arange(len(commits.flake_ids))
    ends = visible_ends(commits, codes, np.full(len(codes), systems.instant))
    shown = np.flatnonzero(np.arange(len(commits.flake)) < ends[commits.flake])
    shown = shown[np.lexsort((-shown, _flake_ranks(timeline)[commits.flake[shown]]))]
    flake = commits.flake[shown]
    current = systems.current_by_host[systems.current_by_host != NOTHING]
    reached_at = [progress.reached_at(ranks[commits.flake])[shown] for ranks in systems.milestones]
    first, *percentages = (instants(each, each != NEVER) for each in reached_at)
    return pd.DataFrame(
        {
            "commit_id": commits.commit_ids[shown],
            "commit_hash": take_text(commits.hashes, shown),
            "commit_timestamp": instants(commits.timestamps[shown]),
            "flake_id": commits.flake_ids[flake],
            "flake_name": take_text(commits.flake_names, flake),
            "hosts_eligible": systems.eligible[flake],
            "hosts_reached": progress.counts[shown],
            "hosts_current": np.bincount(current, minlength=len(commits.flake))[shown],
            "first_deployed_at": first,
            **{
                f"reached_{percentage}_percent_at": reached
                for percentage, reached in zip(_PERCENTAGES, percentages, strict=True)
            },
        }
    ).assign(
        snapshot_date=(systems.snapshot_at - pd.Timedelta(1, "us")).date(),
        snapshot_at=systems.snapshot_at.as_unit("us"),
    )


def _flake_ranks(timeline: FleetTimeline) -> Integers:
    """By flake code, its place in the order of (name, id); flakes without a name come last."""
    codes = np.arange(len(timeline.commits.flake_ids))
    names = take_text(timeline.commits.flake_names, codes)
    in_order = pd.DataFrame({"name": names, "code": codes}).sort_values(["name", "code"])
    ranks = np.empty(len(codes), np.int64)
    ranks[in_order["code"].to_numpy()] = codes
    return ranks
