"""Which rows of an array that is ordered by code belong to each code."""

from dataclasses import dataclass

import numpy as np

from assets.compute.encoding import Integers


@dataclass(frozen=True)
class Segments:
    """The rows of each code in an array that is ordered by code.

    Attributes:
        starts: by code, its first row; one more, so that `NOTHING` has an empty range at the end.
        ends: by code, one after its last row; one more.
    """

    starts: Integers
    ends: Integers

    @classmethod
    def of(cls, codes: Integers, code_count: int) -> "Segments":
        """The ranges of codes that ascend, all of them less than `code_count`."""
        bounds = np.searchsorted(codes, np.arange(code_count + 1), side="left")
        return cls(starts=bounds, ends=np.append(bounds[1:], bounds[-1]))

    @property
    def counts(self) -> Integers:
        """By code, how many rows it has."""
        return (self.ends - self.starts)[:-1]
