"""The days that a computation covers, each up to its T."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.compute.encoding import NOTHING, Integers, instant_microseconds

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class DayWindows:
    """Days (UTC) in order, each from 00:00 to its `snapshot_at`; microseconds since 1970.

    Attributes:
        starts: 00:00 of each day.
        ends: T of each day: at most the next day's 00:00.
    """

    starts: Integers
    ends: Integers

    @classmethod
    def up_to(cls, snapshots_at: Sequence[pd.Timestamp]) -> "DayWindows":
        """The days that the snapshots stand for: a snapshot at 00:00 stands for the day before.

        Raises:
            ValueError: there is no snapshot, two are of one day, or they are not in order.
        """
        ends = np.array([instant_microseconds(at) for at in snapshots_at], np.int64)
        starts = (ends - 1) // MICROSECONDS_PER_DAY * MICROSECONDS_PER_DAY
        if len(ends) == 0 or (np.diff(starts) <= 0).any():
            raise ValueError("Give one snapshot_at a day, in order, at least one.")
        return cls(starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def containing(self, instants: Integers) -> Integers:
        """The day that each instant falls in before its T, `NOTHING` where there is none."""
        day = np.searchsorted(self.starts, instants, side="right") - 1
        return np.where((day != NOTHING) & (instants < self.ends[day]), day, NOTHING)
