"""How many systems each commit has reached so far, and when it reached certain numbers of them.

Counted by index arithmetic: 196,000 systems have billions of (system, commit) pairs, which take
minutes, and a million of them is ranked in 0.01 s here and in 0.06 s by `groupby().cumcount()`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import NEVER, NOTHING, Booleans, Integers
from assets.compute.ranges import bounded_slices, expand


class RolloutProgress:
    """The commits' way through the systems of their flakes, told in order of time.

    Of the (system, commit) pairs only their number is kept, and the instants of the ranks that are
    asked for: the first system that a commit reaches has rank 1, the next 2.

    Attributes:
        counts: by commit position, how many systems it has reached.
    """

    def __init__(
        self,
        commits: CommitOrder,
        host_count: int,
        ranks: Sequence[Integers],
        first: Integers,
    ) -> None:
        """Begins before anything has happened.

        Args:
            commits: of all flakes.
            host_count: how many hosts there are.
            ranks: by flake code, ranks whose instants will be asked for, at least one; 0 is none.
                None of a flake's systems may have a greater rank than the greatest of these.
            first: by commit position, that of the first commit of its flake that is asked for;
                those before count as reached by none.
        """
        self._commits = commits
        self._first_asked_for = first
        rank_counts = np.max(ranks, axis=0) + 1
        self._first_rank = np.cumsum(rank_counts) - rank_counts
        is_kept = np.zeros(int(rank_counts.sum()), np.int64)
        for each in ranks:
            is_kept[(self._first_rank + each)[each > 0]] = 1
        kept_before = np.cumsum(is_kept) - is_kept
        kept_before -= np.repeat(kept_before[self._first_rank], rank_counts)
        self._slot_of_rank = np.where(is_kept == 1, kept_before, NOTHING)
        self._kept_of_commit = np.add.reduceat(is_kept, self._first_rank)[commits.flake]
        self._first_slot = np.cumsum(self._kept_of_commit) - self._kept_of_commit
        self._reached_at = np.full(int(self._kept_of_commit.sum()), NEVER, np.int64)
        self._greatest = np.full(host_count, NOTHING, np.int64)
        self.counts: Integers = np.zeros(len(commits.flake), np.int64)

    def reached_at(self, ranks: Integers) -> Integers:
        """When each commit reached its system of that rank.

        Args:
            ranks: by commit position; 0 for none.

        Returns:
            Microseconds by position, `NEVER` until it happens.
        """
        commits = np.flatnonzero(ranks > 0)
        slots, is_kept = self._slots(commits, ranks[commits])
        instants = np.full(len(ranks), NEVER, np.int64)
        instants[commits[is_kept]] = self._reached_at[slots[is_kept]]
        return instants

    def forget(self, flakes: Booleans, hosts: Booleans) -> None:
        """Goes back to the beginning, for these flakes and the hosts associated with them."""
        commits = np.flatnonzero(flakes[self._commits.flake])
        self.counts[commits] = 0
        _, slots = expand(self._first_slot[commits], self._kept_of_commit[commits])
        self._reached_at[slots] = NEVER
        self._greatest[hosts] = NOTHING

    def advance(self, pieces: pd.DataFrame, pairs_at_once: int) -> None:
        """Takes note of what hosts ran next, each a commit of its associated flake.

        Memory: some 150 bytes for each of `pairs_at_once` (host, commit) pairs.
        """
        for positions, instants in self._newly_reached(pieces, pairs_at_once):
            # Position and rank share one integer, which sorts far faster than an argsort would.
            radix = len(positions)
            keys = positions * radix + np.arange(radix)
            keys.sort()
            position, pair = keys // radix, keys % radix
            is_first = np.diff(position, prepend=NOTHING) != 0
            first = np.flatnonzero(is_first)
            rank = np.arange(radix) - first[np.cumsum(is_first) - 1] + 1 + self.counts[position]
            slots, is_kept = self._slots(position, rank)
            self._reached_at[slots[is_kept]] = instants[pair[is_kept]]
            self.counts[position[first]] += np.diff(first, append=radix)

    def _slots(self, positions: Integers, ranks: Integers) -> tuple[Integers, Booleans]:
        slots = self._slot_of_rank[self._first_rank[self._commits.flake[positions]] + ranks]
        return self._first_slot[positions] + slots, slots != NOTHING

    def _newly_reached(
        self, pieces: pd.DataFrame, pairs_at_once: int
    ) -> Iterator[tuple[Integers, Integers]]:
        """The (host, commit) pairs that begin in these pieces: positions, instants, by time."""
        pieces = pieces.sort_values("start", kind="stable")
        by_host = pieces.groupby("host")["commit"]
        highest = by_host.cummax()
        before = highest.groupby(pieces["host"]).shift(fill_value=NOTHING)
        commit, host = pieces["commit"].to_numpy(), pieces["host"].to_numpy()
        before = np.maximum(before.to_numpy(), self._greatest[host])
        before = np.maximum(before, self._first_asked_for[commit] - 1)
        np.maximum.at(self._greatest, host, commit)

        further = commit > before
        first, counts = before[further] + 1, (commit - before)[further]
        start = pieces["start"].to_numpy()[further]
        for part in bounded_slices(counts, pairs_at_once):
            owner, positions = expand(first[part], counts[part])
            yield positions, start[part][owner]
