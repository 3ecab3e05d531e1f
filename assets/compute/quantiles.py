"""Interpolated quantiles, as PostgreSQL's PERCENTILE_CONT, of many groups at once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from assets.compute.encoding import Integers

Numbers = npt.NDArray[np.float64]


def quantiles_by_group(
    groups: Integers, values: Integers, group_count: int, shares: Sequence[float]
) -> list[Numbers]:
    """The quantiles of each group's values.

    Args:
        groups: by value, its group in [0, group_count).
        values: whole numbers.
        group_count: how many groups there are.
        shares: of the quantiles, such as 0.5 for the median.

    Returns:
        For each share, by group: the quantile, NaN for a group without a value.
    """
    ascending = values[np.lexsort((values, groups))]
    sizes = np.bincount(groups, minlength=group_count)
    starts = np.cumsum(sizes) - sizes
    return [quantiles_of_sorted(ascending, starts, sizes, share) for share in shares]


def quantiles_of_sorted(
    ascending: Integers, starts: Integers, sizes: Integers, share: float
) -> Numbers:
    """One quantile of each group, where each group's values lie ascending from its start."""
    result = np.full(len(sizes), np.nan)
    filled = np.flatnonzero(sizes)
    below, above, weight = neighbours(sizes[filled], share)
    first = starts[filled]
    result[filled] = interpolate(ascending[first + below], ascending[first + above], weight)
    return result


def neighbours(sizes: Integers, share: float) -> tuple[Integers, Integers, Numbers]:
    """The ranks (from 0) that a quantile lies between, and how far it is from the lower one."""
    rank = share * (sizes - 1)
    below = np.floor(rank).astype(np.int64)
    return below, np.minimum(below + 1, sizes - 1), rank - below


def interpolate(below: Integers, above: Integers, weight: Numbers) -> Numbers:
    """The value at `weight` of the way from `below` to `above`."""
    result: Numbers = below + (above - below) * weight
    return result
