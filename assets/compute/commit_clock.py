"""How far a flake's commits had got, asked for many flakes and instants at once."""

from dataclasses import dataclass

import numpy as np

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import Integers


@dataclass(frozen=True)
class CommitClock:
    """The commits by (flake, commit_timestamp), for binary searches."""

    _order: CommitOrder
    _keys: Integers

    @classmethod
    def of(cls, order: CommitOrder) -> "CommitClock":
        """Reads the clock off a commit order."""
        keys = order.flake * order.time_rank_count + order.time_ranks(order.timestamps)
        return cls(order, keys)

    def ends_before(self, flakes: Integers, instants: Integers | np.int64) -> Integers:
        """One after the position of the last commit of each flake made before each instant.

        Where there is none it is the position of the flake's first commit, so that the commits
        visible at the instant are always those in [start of the flake, end).
        """
        ranks = self._order.time_ranks(np.asarray(instants))
        return np.searchsorted(self._keys, flakes * self._order.time_rank_count + ranks, "left")
