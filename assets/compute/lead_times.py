"""How long commits took to become live on hosts, over all (host, commit) pairs of a day.

A large flake has more pairs than fit in memory: a host that skips a thousand commits makes a
thousand pairs in one deployment. So an upgrade's pairs are kept as the range of commits that they
span, and listed a bounded number at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.day_windows import DayWindows
from assets.compute.encoding import Integers, microseconds
from assets.compute.quantiles import quantiles
from assets.compute.ranges import bounded_slices, ends_before, expand

PAIRS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class LivePairs:
    """The (host, commit) pairs that became live, as ranges of commits.

    Attributes:
        upgrades: one row an upgrade, by group. group: number of its day and flake; deployed_at:
            microseconds; first: position of the first commit that became live on the host; end: one
            after the last such commit that is not dated after the deployment; negative: how many
            are dated after it.
        groups: (day, flake) by group.
        timestamps: of all commits, by position, microseconds.
    """

    upgrades: pd.DataFrame
    groups: pd.MultiIndex
    timestamps: Integers

    @property
    def counts(self) -> pd.DataFrame:
        """By (day, flake): counted, the pairs that the quantiles stand on; and negative."""
        pairs = self.upgrades.assign(counted=self.upgrades["end"] - self.upgrades["first"])
        return pairs.groupby("group")[["counted", "negative"]].sum().set_axis(self.groups)

    def lead_time_quantiles(
        self, shares: Sequence[float], pairs_at_once: int = PAIRS_AT_ONCE
    ) -> pd.DataFrame:
        """Interpolated quantiles of deployed_at - commit_timestamp, in microseconds.

        Exact, whatever the size of a group. Memory: some 80 bytes for each of `pairs_at_once`
        pairs, and some 200 bytes an upgrade; none for the pairs beyond. Groups of at most
        `pairs_at_once` pairs are listed, as many together as may be; the quantiles of a larger one
        are found by bisection, counting the pairs within a lead time without listing them.

        Args:
            shares: of the quantiles, such as 0.5 for the median.
            pairs_at_once: how many pairs may be listed in memory together.

        Returns:
            By (day, flake), a column for each share; null for a group without a pair.
        """
        sizes = self.counts["counted"].to_numpy()
        found = pd.DataFrame(np.nan, range(len(sizes)), list(shares))
        group = self.upgrades["group"].to_numpy()
        listed = np.flatnonzero(sizes <= pairs_at_once)
        for part in bounded_slices(sizes[listed], pairs_at_once):
            upgrades = self.upgrades[np.isin(group, listed[part])]
            row, position = expand(
                upgrades["first"].to_numpy(), (upgrades["end"] - upgrades["first"]).to_numpy()
            )
            pairs = upgrades[["group", "deployed_at"]].iloc[row]
            lead_time = pairs["deployed_at"] - self.timestamps[position]
            of_groups = quantiles(lead_time.groupby(pairs["group"]), shares)
            found.loc[of_groups.index] = of_groups
        for number in np.flatnonzero(sizes > pairs_at_once):
            # One that brought nothing new can begin after the last commit of all.
            brings = self.upgrades["first"] < self.upgrades["end"]
            of_group = self.upgrades[(group == number) & brings]
            found.loc[number] = [self._bisect(of_group, sizes[number], s) for s in shares]
        return found.set_axis(self.groups)

    def _bisect(self, upgrades: pd.DataFrame, size: int, share: float) -> float:
        below, weight = divmod(share * (size - 1), 1)
        shorter = self._select(upgrades, int(below))
        # Where there is no longer one the weight is 0.
        longer = self._select(upgrades, int(below) + 1)
        return shorter + (longer - shorter) * weight

    def _select(self, upgrades: pd.DataFrame, rank: int) -> int:
        """The lead time of that rank, from 0, among the pairs."""
        deployed_at, first, end = (
            upgrades[name].to_numpy() for name in ("deployed_at", "first", "end")
        )
        low, high = 0, int((deployed_at - self.timestamps[first]).max())
        while low < high:
            middle = (low + high) // 2
            within = end - ends_before(self.timestamps, first, end, deployed_at - middle)
            low, high = (low, middle) if within.sum() > rank else (middle + 1, high)
        return low


def live_pairs(commits: CommitOrder, events: pd.DataFrame, windows: DayWindows) -> LivePairs:
    """Finds the pairs that became live in each window, by (day, flake).

    An upgrade's pairs are the commits of its flake later than all that the host had deployed before
    (its high-water mark, which a rollback does not lower and an initial deployment or a change of
    flake raises without a pair) and not later than its own.

    Args:
        commits: of every flake.
        events: as `before` gives them.
        windows: the days.
    """
    by_host_and_flake = [events["host"], events["flake"]]
    highest = events.groupby(by_host_and_flake)["commit"].cummax()
    events = events.assign(mark=highest.groupby(by_host_and_flake).shift())
    is_counted = (events["kind"] == "upgrade") & ~events["is_flapping"]
    upgrades = windows.containing(events[is_counted], "deployed_at")
    grouped = upgrades.groupby(["day", "flake"])
    cells = grouped.size().reset_index()[["day", "flake"]]
    upgrades = upgrades.assign(group=grouped.ngroup()).sort_values("group", kind="stable")

    flake, through = upgrades["flake"].to_numpy(), upgrades["commit"].to_numpy() + 1
    deployed_at = microseconds(upgrades["deployed_at"])
    first = np.minimum(upgrades["mark"].to_numpy(np.int64) + 1, through)
    end = np.clip(commits.last_before(flake, deployed_at + 1) + 1, first, through)
    day_ends_at = microseconds(upgrades["day_ends_at"])
    known_end = np.clip(commits.last_before(flake, day_ends_at) + 1, end, through)
    # A commit dated after T is known by then only if it is the deployed one.
    deployed_is_unknown = (known_end < through) & (first < through)
    ranges = pd.DataFrame(
        {
            "group": upgrades["group"].to_numpy(),
            "deployed_at": deployed_at,
            "first": first,
            "end": end,
            "negative": known_end - end + deployed_is_unknown,
        }
    )
    return LivePairs(ranges, pd.MultiIndex.from_frame(cells), commits.timestamps)
