"""What the charts draw of a few days: asked of the SVG, mark by mark."""

import re

import pytest

from assets.page.charts import (
    SERIES_STYLES,
    STATUS_STYLES,
    daily_counts,
    daily_shares,
    stacked_areas,
)

DAYS = [f"2026-11-{day:02}" for day in range(2, 10)]
LINE, DASHED = SERIES_STYLES[:2]


def marks(drawing: str, paint: str) -> list[str]:
    """The outlines that are drawn in a paint."""
    outlines = re.findall(r"<path [^>]*>", drawing)
    return [outline for outline in outlines if f'"{paint}"' in outline]


@pytest.mark.parametrize(("alone", "joined"), [(0, (3, 4)), (4, (0, 1)), (7, (0, 1))])
def test_a_day_between_gaps_is_a_point_of_its_line(alone: int, joined: tuple[int, int]) -> None:
    values = [0.5 if day in {alone, *joined} else None for day in range(8)]

    drawing = daily_shares(DAYS, [(LINE, values), (DASHED, [0.25] * 8)])

    points = [mark for mark in marks(drawing, LINE.paint) if f'fill="{LINE.paint}"' in mark]
    assert len(points) == 1
    assert not [mark for mark in marks(drawing, DASHED.paint) if f'fill="{DASHED.paint}"' in mark]


def test_a_day_between_gaps_is_a_bar_of_its_areas() -> None:
    paints = [STATUS_STYLES["up_to_date"], STATUS_STYLES["behind"]]
    values = [3.0, 3.0, 3.0, None, None, None, None, 3.0]

    drawing = stacked_areas(DAYS, [(style, values) for style in paints])

    for style in paints:
        bars = [mark for mark in marks(drawing, style.paint) if re.search(r'd="M[^"]*h5v', mark)]
        assert len(bars) == 1


def test_days_that_join_need_no_further_mark() -> None:
    drawing = stacked_areas(DAYS, [(STATUS_STYLES["behind"], [2.0] * 8)])

    assert len(marks(drawing, STATUS_STYLES["behind"].paint)) == 1


@pytest.mark.parametrize("days", [2, 5, 8])
def test_bars_share_the_width_of_the_chart(days: int) -> None:
    drawing = daily_counts(DAYS[:days], LINE, [3.0] * days)

    widths = [float(re.findall(r"h([\d.]+)v", mark)[0]) for mark in marks(drawing, LINE.paint)]

    assert widths == pytest.approx([widths[0]] * days)
    assert 230 < sum(widths) < 360
