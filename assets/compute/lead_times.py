"""How long commits took to become live on hosts, over all (host, commit) pairs of a day.

A large flake has more pairs than fit in memory: a host that skips a thousand commits makes a
thousand pairs in one deployment. So an upgrade's pairs are kept as the range of commits that they
span, and listed a bounded number at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assets.compute.day_windows import DayWindows
from assets.compute.deployments import UPGRADE, DeploymentEvents
from assets.compute.encoding import NOTHING, Booleans, Integers, ends_before
from assets.compute.quantiles import Numbers, interpolate, neighbours, quantiles_of_sorted
from assets.compute.ranges import bounded_slices, expand
from assets.compute.timeline import FleetTimeline
from assets.compute.visible_commits import visible_ends

PAIRS_AT_ONCE = 1_000_000
_GREATEST_KEY = 2**62


@dataclass(frozen=True)
class LivePairs:
    """The (host, commit) pairs that became live, as ranges: one element an upgrade.

    A group is a day and flake. Elements are in the order of their groups.

    Attributes:
        group: by upgrade.
        deployed_at: by upgrade, microseconds.
        first: by upgrade, position of the first commit that became live on the host.
        end: by upgrade, one after the last such commit that is not dated after the deployment.
        negative_counts: by group, the pairs whose commit is dated after the deployment.
        timestamps: of all commits, by position.
    """

    group: Integers
    deployed_at: Integers
    first: Integers
    end: Integers
    negative_counts: Integers
    timestamps: Integers

    @property
    def counts(self) -> Integers:
        """By group, the pairs that the quantiles stand on."""
        return _sum_by_group(self.group, self.end - self.first, len(self.negative_counts))

    def lead_time_quantiles(
        self, shares: Sequence[float], pairs_at_once: int = PAIRS_AT_ONCE
    ) -> list[Numbers]:
        """Interpolated quantiles of deployed_at - commit_timestamp, in microseconds.

        Exact, whatever the size of a group. Memory: some 80 bytes for each of `pairs_at_once`
        pairs, and some 200 bytes an upgrade; none for the pairs beyond. Groups of at most
        `pairs_at_once` pairs are listed and sorted, as many together as may be; the quantiles of a
        larger one are found by bisection, counting the pairs within a lead time without listing
        them.

        Args:
            shares: of the quantiles, such as 0.5 for the median.
            pairs_at_once: how many pairs may be listed in memory together.

        Returns:
            For each share, by group: the quantile, NaN for a group without a pair.
        """
        sizes = self.counts
        quantiles = [np.full(len(sizes), np.nan) for _ in shares]
        is_listed = sizes <= pairs_at_once
        self._of_groups(is_listed & (sizes > 0))._sort(shares, pairs_at_once, quantiles)
        self._of_groups(~is_listed)._bisect(shares, quantiles)
        return quantiles

    def _of_groups(self, is_chosen: Booleans) -> "LivePairs":
        chosen = is_chosen[self.group] & (self.first < self.end)
        return replace(
            self,
            group=self.group[chosen],
            deployed_at=self.deployed_at[chosen],
            first=self.first[chosen],
            end=self.end[chosen],
        )

    @property
    def _longest(self) -> int:
        return int((self.deployed_at - self.timestamps[self.first]).max(initial=0))

    def _sort(self, shares: Sequence[float], pairs_at_once: int, quantiles: list[Numbers]) -> None:
        groups, starts, owner = np.unique(self.group, return_index=True, return_inverse=True)
        ends = np.append(starts[1:], len(self.group))
        sizes = self.counts[groups]
        # Group and lead time share one integer, which sorts far faster than two columns.
        radix = self._longest + 1
        groups_at_once = max(_GREATEST_KEY // radix, 1)
        for part in bounded_slices(
            np.maximum(sizes, -(-pairs_at_once // groups_at_once)), pairs_at_once
        ):
            upgrades = slice(starts[part][0], ends[part][-1])
            first, group = self.first[upgrades], owner[upgrades] - owner[upgrades][0]
            pair, position = expand(first, self.end[upgrades] - first)
            keys = (group * radix + self.deployed_at[upgrades])[pair]
            keys -= self.timestamps[position]
            keys.sort()
            keys %= radix
            offsets = np.cumsum(sizes[part]) - sizes[part]
            for share, quantile in zip(shares, quantiles, strict=True):
                quantile[groups[part]] = quantiles_of_sorted(keys, offsets, sizes[part], share)

    def _bisect(self, shares: Sequence[float], quantiles: list[Numbers]) -> None:
        groups, owner = np.unique(self.group, return_inverse=True)
        sizes = self.counts[groups]
        for share, quantile in zip(shares, quantiles, strict=True):
            below, above, weight = neighbours(sizes, share)
            quantile[groups] = interpolate(
                self._select(owner, below), self._select(owner, above), weight
            )

    def _select(self, owner: Integers, ranks: Integers) -> Integers:
        low = np.zeros(len(ranks), np.int64)
        high = np.full(len(ranks), self._longest, np.int64)
        while (low < high).any():
            middle = (low + high) // 2
            earliest = self.deployed_at - middle[owner]
            first_within = ends_before(self.timestamps, self.first, self.end, earliest)
            suffices = _sum_by_group(owner, self.end - first_within, len(ranks)) > ranks
            low, high = np.where(suffices, low, middle + 1), np.where(suffices, middle, high)
        return low


def live_pairs(timeline: FleetTimeline, events: DeploymentEvents, windows: DayWindows) -> LivePairs:
    """Finds the pairs that became live in each window, by (day, flake).

    An upgrade's pairs are the commits of its flake later than all that the host had deployed before
    (its high-water mark, which a rollback does not lower and an initial deployment or a change of
    flake raises without a pair) and not later than its own.

    Args:
        timeline: the fleet.
        events: all its deployments.
        windows: the days.

    Returns:
        The pairs; the group of a day and flake is `day * number of flakes + flake code`.
    """
    states, commits = timeline.states, timeline.commits
    flake_count = len(commits.flake_ids)
    day = windows.containing(states.run_started_at)
    chosen = np.flatnonzero((events.kind == UPGRADE) & (day != NOTHING))
    flake = commits.flake[events.commit[chosen]]
    group = day[chosen] * flake_count + flake
    by_group = np.argsort(group, kind="stable")
    chosen, flake, group = chosen[by_group], flake[by_group], group[by_group]

    deployed_at = states.run_started_at[chosen]
    through = events.commit[chosen] + 1
    first = np.minimum(_high_water_marks(timeline, events)[chosen] + 1, through)
    end = np.clip(visible_ends(commits, flake, deployed_at + 1), first, through)
    known_end = np.clip(visible_ends(commits, flake, windows.ends[day[chosen]]), end, through)
    # A commit dated after T is known by then only if it is the deployed one.
    deployed_is_unknown = (known_end < through) & (first < through)
    return LivePairs(
        group=group,
        deployed_at=deployed_at,
        first=first,
        end=end,
        negative_counts=_sum_by_group(
            group, known_end - end + deployed_is_unknown, len(windows) * flake_count
        ),
        timestamps=commits.timestamps,
    )


def _high_water_marks(timeline: FleetTimeline, events: DeploymentEvents) -> Integers:
    """By event, the greatest commit of its flake that its host had deployed before it."""
    commits, host = timeline.commits, timeline.states.run_host
    traced = np.flatnonzero(events.commit != NOTHING)
    position = events.commit[traced]
    owner = host[traced] * len(commits.flake_ids) + commits.flake[position]
    # Events lie by (host, time), so that a stable sort leaves each owner's in order of time.
    order = np.argsort(owner, kind="stable")
    traced, position, owner = traced[order], position[order], owner[order]
    starts_owner = np.diff(owner, prepend=NOTHING) != 0
    # An owner's number leads the key, so that the maximum never reaches back to another owner's.
    radix = len(commits.commit_ids) + 1
    highest = np.maximum.accumulate(np.cumsum(starts_owner) * radix + position) % radix
    before = np.concatenate([[NOTHING], highest])[: len(highest)]
    marks = np.full(len(events.commit), NOTHING, np.int64)
    marks[traced] = np.where(starts_owner, NOTHING, before)
    return marks


def _sum_by_group(groups: Integers, values: Integers, group_count: int) -> Integers:
    sums = np.zeros(group_count, np.int64)
    np.add.at(sums, groups, values)
    return sums
