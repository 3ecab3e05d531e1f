"""The days that a computation covers, each up to its T."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from assets.compute.encoding import Integers, microseconds


@dataclass(frozen=True)
class DayWindows:
    """Days (UTC) in order, each from 00:00 to its `snapshot_at`.

    Attributes:
        ends: T of each day, at most the next day's 00:00; the row label is the day's 00:00.
    """

    ends: "pd.Series[pd.Timestamp]"

    @classmethod
    def up_to(cls, snapshots_at: Sequence[pd.Timestamp]) -> "DayWindows":
        """The days that the snapshots stand for: a snapshot at 00:00 stands for the day before.

        Raises:
            ValueError: there is no snapshot, two are of one day, or they are not in order.
        """
        ends = pd.to_datetime(list(snapshots_at), utc=True).as_unit("us")
        starts = (ends - pd.Timedelta(1, "us")).floor("D")
        if not len(ends) or not starts.is_monotonic_increasing or not starts.is_unique:
            raise ValueError("Give one snapshot_at a day, in order, at least one.")
        return cls(pd.Series(ends, starts.rename("day")))

    @property
    def starts(self) -> Integers:
        """00:00 of each day, microseconds."""
        return microseconds(self.ends.index.to_series())

    def containing(self, rows: pd.DataFrame, instant: str) -> pd.DataFrame:
        """The rows whose instant, which is in this column, lies in one of the days.

        Two columns are added: day, its 00:00, and day_ends_at, its T.
        """
        day = rows[instant].dt.floor("D")
        day_ends_at = day.map(self.ends)
        dated = rows.assign(day=day, day_ends_at=day_ends_at)
        inside: pd.DataFrame = dated[dated[instant] < day_ends_at]
        return inside
