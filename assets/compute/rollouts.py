"""How far each commit got among the systems of its flake, and when."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.compute.commit_clock import CommitClock
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
from assets.compute.ranges import bounded_slices, expand
from assets.compute.running_commits import PIECES_AT_ONCE, Pieces, RunningCommits
from assets.compute.status import judge
from assets.compute.timeline import FleetTimeline

NEVER = np.iinfo(np.int64).max
PERCENTAGES = (50, 90, 100)


def commit_rollouts(
    timeline: FleetTimeline,
    snapshot_at: pd.Timestamp,
    *,
    pairs_at_once: int = PAIRS_AT_ONCE,
    pieces_at_once: int = PIECES_AT_ONCE,
) -> pd.DataFrame:
    """How far each commit had got at `snapshot_at`.

    Memory: some 300 bytes a commit and deployment, and what the two bounds allow (100 bytes a pair
    or piece); none for the (host, commit) pairs beyond. Time grows with these pairs, some 50 ns
    each.

    Args:
        timeline: the fleet.
        snapshot_at: T; only what lies before it is visible.
        pairs_at_once: how many (host, commit) pairs may be listed in memory together.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a visible commit, by flake_name, flake_id, then the newest first. Columns as in
        `assets.schemas.COMMIT_ROLLOUTS`.
    """
    commits = timeline.commits
    instant = instant_microseconds(snapshot_at)
    systems = _systems_at(timeline, instant)
    eligible = np.bincount(
        systems.flake[systems.flake != NOTHING], minlength=len(commits.flake_ids)
    ).astype(np.int64)
    milestones = [np.ones(len(eligible), np.int64)]
    milestones += [-(-eligible * percentage // 100) for percentage in PERCENTAGES]
    progress = _Progress.none_yet(milestones, commits.flake)
    marks = np.full(len(timeline.hosts.names), NOTHING, np.int64)
    running = RunningCommits.of(timeline)
    for pieces in running.pieces(running.earliest, instant, pieces_at_once):
        own = systems.flake_by_host[pieces.host] == commits.flake[pieces.commit]
        for positions, reached_at in _newly_reached(timeline, pieces, own, marks, pairs_at_once):
            progress.advance(positions, reached_at)
    return _rows(timeline, snapshot_at, systems, eligible, progress)


@dataclass(frozen=True)
class _Systems:
    """The systems that have a status at T: one element a system.

    Attributes:
        flake: code of the associated flake, `NOTHING` where there is none.
        current: position of the current commit, `NOTHING` where there is none.
        flake_by_host: by host code, the same as `flake`; `NOTHING` also for hosts without a status.
    """

    flake: Integers
    current: Integers
    flake_by_host: Integers


def _systems_at(timeline: FleetTimeline, instant: int) -> _Systems:
    hosts = timeline.hosts
    last_states = timeline.states.last_states(instant)
    is_registered = hosts.registered_before(instant)
    with_status = np.flatnonzero((is_registered | (last_states != NOTHING)) & ~hosts.is_deactivated)
    standing = judge(
        timeline,
        paths=translate(timeline.states.runs(last_states[with_status]), timeline.states.run_path),
        registered_flake=np.where(
            is_registered[with_status], hosts.registered_flake[with_status], NOTHING
        ),
        instant=instant,
    )
    flake_by_host = np.full(len(hosts.names), NOTHING, np.int64)
    flake_by_host[with_status] = standing.flake
    return _Systems(standing.flake, standing.current, flake_by_host)


@dataclass(frozen=True)
class _Progress:
    """How many systems each commit has reached, and when it reached its milestones.

    Attributes:
        counts: by position, how many systems it has reached so far.
        milestones: by milestone and position, the number of systems that makes it.
        reached_at: by milestone and position, microseconds; `NEVER` until it happens.
    """

    counts: Integers
    milestones: list[Integers]
    reached_at: list[Integers]

    @classmethod
    def none_yet(cls, milestones_by_flake: list[Integers], flake: Integers) -> "_Progress":
        milestones = [by_flake[flake] for by_flake in milestones_by_flake]
        return cls(
            np.zeros(len(flake), np.int64),
            milestones,
            [np.full(len(flake), NEVER) for _ in milestones],
        )

    def advance(self, positions: Integers, reached_at: Integers) -> None:
        """Takes note of further (system, commit) pairs; none is earlier than those before."""
        # Position and rank share one integer, which sorts far faster than an argsort would.
        radix = len(positions)
        keys = positions * radix + np.arange(radix)
        keys.sort()
        position, pair = keys // radix, keys % radix
        is_first = np.diff(position, prepend=NOTHING) != 0
        first = np.flatnonzero(is_first)
        number = np.arange(radix) - first[np.cumsum(is_first) - 1] + 1 + self.counts[position]
        for milestone, instant in zip(self.milestones, self.reached_at, strict=True):
            made = number == milestone[position]
            instant[position[made]] = reached_at[pair[made]]
        self.counts[position[first]] += np.diff(first, append=radix)


def _newly_reached(
    timeline: FleetTimeline,
    pieces: Pieces,
    own: Booleans,
    marks: Integers,
    pairs_at_once: int,
) -> Iterator[tuple[Integers, Integers]]:
    """The commits that reach a system in these pieces: positions and instants, in order of time.

    `marks` holds the greatest commit that each host has reached, and is moved on.
    """
    order = np.flatnonzero(own)
    order = order[np.lexsort((pieces.start[order], pieces.host[order]))]
    host, commit, start = pieces.host[order], pieces.commit[order], pieces.start[order]
    flake_start = timeline.commits.starts[timeline.commits.flake[commit]]
    before = np.maximum(_reached_before(host, commit, marks), flake_start - 1)
    np.maximum.at(marks, host, commit)

    advancing = np.flatnonzero(commit > before)
    advancing = advancing[np.argsort(start[advancing], kind="stable")]
    first = before[advancing] + 1
    counts = commit[advancing] - before[advancing]
    for part in bounded_slices(counts, pairs_at_once):
        owner, positions = expand(first[part], counts[part])
        yield positions, start[advancing[part]][owner]


def _reached_before(host: Integers, commit: Integers, marks: Integers) -> Integers:
    """By piece, the greatest commit that its host had reached before; pieces lie by host."""
    starts_host = np.diff(host, prepend=NOTHING) != 0
    # A host's number leads the key, so that the maximum never reaches back to another host's.
    radix = int(commit.max(initial=0)) + 1
    highest = np.maximum.accumulate(np.cumsum(starts_host) * radix + commit) % radix
    before = np.concatenate([[NOTHING], highest])[: len(highest)]
    return np.maximum(np.where(starts_host, NOTHING, before), marks[host])


def _rows(
    timeline: FleetTimeline,
    snapshot_at: pd.Timestamp,
    systems: _Systems,
    eligible: Integers,
    progress: _Progress,
) -> pd.DataFrame:
    commits = timeline.commits
    codes = np.arange(len(commits.flake_ids))
    flake_rank = _flake_ranks(timeline)
    visible_ends = CommitClock.of(commits).ends_before(
        codes, np.full(len(codes), instant_microseconds(snapshot_at))
    )
    shown = np.flatnonzero(np.arange(len(commits.flake)) < visible_ends[commits.flake])
    shown = shown[np.lexsort((-shown, flake_rank[commits.flake[shown]]))]
    flake = commits.flake[shown]
    runs_own = (systems.current != NOTHING) & (
        translate(systems.current, commits.flake) == systems.flake
    )
    current = np.bincount(systems.current[runs_own], minlength=len(commits.flake))
    times = {
        name: instants(reached_at[shown], reached_at[shown] != NEVER)
        for name, reached_at in zip(
            ("first_deployed_at", *(f"reached_{each}_percent_at" for each in PERCENTAGES)),
            progress.reached_at,
            strict=True,
        )
    }
    return pd.DataFrame(
        {
            "commit_id": commits.commit_ids[shown],
            "commit_hash": take_text(commits.hashes, shown),
            "commit_timestamp": instants(commits.timestamps[shown]),
            "flake_id": commits.flake_ids[flake],
            "flake_name": take_text(commits.flake_names, flake),
            "hosts_eligible": eligible[flake],
            "hosts_reached": progress.counts[shown],
            "hosts_current": current[shown],
            **times,
        }
    ).assign(
        snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
        snapshot_at=snapshot_at.as_unit("us"),
    )


def _flake_ranks(timeline: FleetTimeline) -> Integers:
    """By flake code, its place in the order of (name, id); flakes without a name come last."""
    codes = np.arange(len(timeline.commits.flake_ids))
    names = take_text(timeline.commits.flake_names, codes)
    in_order = pd.DataFrame({"name": names, "code": codes}).sort_values(["name", "code"])
    ranks = np.empty(len(codes), np.int64)
    ranks[in_order["code"].to_numpy()] = codes
    return ranks
