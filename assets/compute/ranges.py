"""Ranges of rows: which belong to each code, expanded a bounded number at a time, searched at once.

Only for what pandas would take more memory or more than half as long again for: see where they are
used.
"""

from collections.abc import Iterator
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


def expand(starts: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Lists the members of ranges.

    Args:
        starts: by range, its first member.
        counts: by range, how many members it has.

    Returns:
        For each member, in order: the index of its range, and the member itself.
    """
    owners = np.repeat(np.arange(len(starts)), counts)
    before = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) + (starts - before)[owners]


def bounded_slices(sizes: Integers, budget: int) -> Iterator[slice]:
    """Divides consecutive items into slices of at most `budget` in total size.

    An item that is larger than the budget gets a slice of its own.
    """
    totals = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        spent = totals[start - 1] if start else 0
        end = int(np.searchsorted(totals, spent + budget, side="right"))
        end = max(end, start + 1)
        yield slice(start, end)
        start = end


def ends_before(values: Integers, starts: Integers, ends: Integers, bounds: Integers) -> Integers:
    """Searches many ranges of one array at once, each of them ascending.

    Args:
        values: the array.
        starts: by search, where its range begins.
        ends: by search, one after the last of its range.
        bounds: by search, what to look for.

    Returns:
        By search, one after the last value of the range that is less than the bound; the start of
        the range where there is none.
    """
    # One binary search over (code, value) keys would look right through a large array for each of
    # many bounds in no order, which misses the processor's caches: five times slower.
    low, high = starts.copy(), ends.copy()
    undecided = np.flatnonzero(low < high)
    while len(undecided):
        middle = (low[undecided] + high[undecided]) // 2
        is_before = values[middle] < bounds[undecided]
        low[undecided] = np.where(is_before, middle + 1, low[undecided])
        high[undecided] = np.where(is_before, high[undecided], middle)
        undecided = undecided[low[undecided] < high[undecided]]
    return low
