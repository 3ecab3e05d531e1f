"""Dividing what does not fit in memory at once."""

import numpy as np
import pytest

from assets.compute.ranges import bounded_slices


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([2, 2, 2, 2], [(0, 2), (2, 4)], id="to the full"),
        pytest.param([3, 2, 1, 4, 1], [(0, 1), (1, 3), (3, 4), (4, 5)], id="as many as fit"),
        pytest.param([1, 7, 9, 1, 1], [(0, 1), (1, 2), (2, 3), (3, 5)], id="too large alone"),
        pytest.param([0, 4, 0, 0, 1], [(0, 4), (4, 5)], id="of no size"),
    ],
)
def test_slices_hold_what_fits_in_four(sizes: list[int], slices: list[tuple[int, int]]) -> None:
    found = list(bounded_slices(np.array(sizes, np.int64), 4))

    assert [(each.start, each.stop) for each in found] == slices
