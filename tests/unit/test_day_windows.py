"""Which day a snapshot stands for, and which snapshots can't be taken together."""

import pandas as pd
import pytest

from assets.compute.day_windows import DayWindows

MIDNIGHT = pd.Timestamp("2026-03-10T00:00:00Z")
A_MICROSECOND = pd.Timedelta(1, "us")
A_DAY = pd.Timedelta(1, "D")


@pytest.mark.parametrize(
    ("snapshot_at", "day"),
    [
        pytest.param(MIDNIGHT, MIDNIGHT - A_DAY, id="its end"),
        pytest.param(MIDNIGHT + A_MICROSECOND, MIDNIGHT, id="its first microsecond"),
        pytest.param(
            (MIDNIGHT + pd.Timedelta(12, "h")).tz_convert("Pacific/Auckland"),
            MIDNIGHT,
            id="told in another time zone",
        ),
    ],
)
def test_a_snapshot_stands_for_the_day_that_it_ends(
    snapshot_at: pd.Timestamp, day: pd.Timestamp
) -> None:
    ends = DayWindows.up_to([snapshot_at]).ends

    assert list(ends.index) == [day]
    assert list(ends) == [snapshot_at]


@pytest.mark.parametrize(
    "snapshots_at",
    [
        pytest.param([], id="none"),
        pytest.param([MIDNIGHT, MIDNIGHT - A_DAY], id="not in order"),
        pytest.param([MIDNIGHT + A_MICROSECOND, MIDNIGHT + A_DAY], id="two of one day"),
    ],
)
def test_snapshots_that_are_not_one_a_day_are_refused(snapshots_at: list[pd.Timestamp]) -> None:
    with pytest.raises(ValueError, match="one snapshot_at a day"):
        DayWindows.up_to(snapshots_at)


def test_what_happens_at_t_is_of_no_day_before() -> None:
    noon = MIDNIGHT + pd.Timedelta(12, "h")
    windows = DayWindows.up_to([MIDNIGHT, noon])
    instants = [MIDNIGHT - A_MICROSECOND, MIDNIGHT, noon - A_MICROSECOND, noon]

    inside = windows.containing(pd.DataFrame({"made_at": instants}), "made_at")

    assert inside.to_dict("records") == [
        {"made_at": instants[0], "day": MIDNIGHT - A_DAY, "day_ends_at": MIDNIGHT},
        {"made_at": instants[1], "day": MIDNIGHT, "day_ends_at": noon},
        {"made_at": instants[2], "day": MIDNIGHT, "day_ends_at": noon},
    ]
