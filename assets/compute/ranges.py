"""Ranges of positions, expanded a bounded number at a time."""

from collections.abc import Iterator

import numpy as np

from assets.compute.encoding import Integers


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
