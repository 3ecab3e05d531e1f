"""The charts, drawn by Vega-Lite into static SVG.

Belongs here: what a chart looks like. Does not belong here: what it shows, and any text of the
fleet's: names and hashes stand in the HTML around a chart, where they are escaped and wrap.

vl-convert runs the Vega-Lite of its own wheel: no network, no browser, no fonts from elsewhere.
Colours are the page's CSS variables, so that a chart follows light, dark and print.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, NewType

import vl_convert

from assets.compute.vocabulary import DEPLOYMENT_STATUSES

_WIDTH, _HEIGHT = 360, 190
# More labels of days than this would touch each other at that width.
_DAY_LABELS = 5
_ALONE = "alone"

Spec = dict[str, Any]
Drawing = NewType("Drawing", str)
"""An `svg` element made of numbers and our own words alone, so that a page may show it as it is."""


@dataclass(frozen=True)
class Style:
    """How one series is told from the others without its colour.

    Attributes:
        paint: a CSS colour, or the url of one of the page's patterns.
        dash: lengths of strokes and gaps, empty for an unbroken line.
        shape: of the points.
    """

    paint: str
    dash: tuple[int, ...] = ()
    shape: str = "circle"

    @property
    def dash_array(self) -> str:
        """The dash as an SVG attribute."""
        return " ".join(map(str, self.dash))


STATUS_STYLES = {status: Style(f"url(#fill-{status})") for status in DEPLOYMENT_STATUSES}
# From the most to the least prominent.
SERIES_STYLES = (
    Style("var(--series-1)", (), "circle"),
    Style("var(--series-2)", (7, 3), "square"),
    Style("var(--series-3)", (2, 2)),
    Style("var(--series-4)", (9, 3, 2, 3)),
    Style("var(--series-5)", (4, 2)),
)

_CONFIG: Spec = {
    "aria": False,
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 11,
        "gridColor": "var(--rule)",
        "domainColor": "var(--rule)",
        "tickColor": "var(--rule)",
        "tickSize": 4,
        "title": None,
    },
    "axisX": {"grid": False, "labelFlush": 8},
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6, "minExtent": 30},
}

_SHARE_AXIS: Spec = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}
_COUNT_AXIS: Spec = {"format": ",d", "tickMinStep": 1, "tickCount": 4}
# Days between two labels: weeks as soon as days are too many.
_DAY_STEPS = (1, 2, 3, 7, 14, 21, 28)
# The spans that people name, so that an axis can show minutes beside weeks.
_SPANS = {60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h", 86_400: "1 d"} | {
    days * 86_400: f"{days} d" for days in (3, 7, 30, 90)
}
_AGES = {0: "0", 3600: "1 h", 21_600: "6 h"} | {
    days * 86_400: f"{days} d" for days in (1, 3, 7, 14, 30, 60, 120, 240, 480)
}


def stacked_areas(
    days: Sequence[str], layers: Sequence[tuple[Style, Sequence[float | None]]]
) -> Drawing:
    """Counts that add up by day (YYYY-MM-DD), the first at the bottom; a gap where one is None."""
    rows: list[Spec] = [{"day": day} for day in days]
    stacks = list(zip(*(values for _, values in layers), strict=True))
    for row, values in zip(rows, stacks, strict=True):
        if None not in values:
            row |= {
                f"top{position}": top
                for position, top in enumerate(accumulate(value or 0 for value in values))
            }
    for row, alone in zip(rows, _alone([None not in values for values in stacks]), strict=True):
        row[_ALONE] = alone
    drawn: list[Spec] = []
    for position, (style, _) in enumerate(layers):
        paint: Spec = {"fill": style.paint, "stroke": "var(--surface)", "strokeWidth": 0.75}
        encoding = {
            "y": _quantity(f"top{position}", _COUNT_AXIS),
            "y2": {"field": f"top{position - 1}"} if position else {"datum": 0},
        }
        drawn.append({"mark": paint | {"type": "area"}, "encoding": encoding})
        # An area between a day and itself has no width.
        if any(row[_ALONE] for row in rows):
            drawn.append(
                {
                    "transform": [{"filter": f"datum.{_ALONE}"}],
                    "mark": paint | {"type": "bar", "width": 5},
                    "encoding": encoding,
                }
            )
    return _draw(rows, drawn, _day_axis(days))


def daily_shares(
    days: Sequence[str], lines: Sequence[tuple[Style, Sequence[float | None]]]
) -> Drawing:
    """Shares from 0 to 100 %, a line each."""
    rows = _rows(days, lines)
    layers: list[Spec] = []
    for position, (style, values) in enumerate(lines):
        y = _quantity(f"line{position}", _SHARE_AXIS, top=1)
        layers.append(_line(style, f"line{position}", y))
        # A line from a day to itself has no length.
        alone = _alone([value is not None for value in values])
        if any(alone):
            for row, is_alone in zip(rows, alone, strict=True):
                row[f"{_ALONE}{position}"] = is_alone
            point = {"type": "point", "shape": style.shape, "size": 22, "opacity": 1}
            layers.append(
                {
                    "transform": [{"filter": f"datum.{_ALONE}{position}"}],
                    "mark": point | {"fill": style.paint, "strokeWidth": 0},
                    "encoding": {"y": y},
                }
            )
    return _draw(rows, layers, _day_axis(days))


def daily_counts(days: Sequence[str], style: Style, values: Sequence[float | None]) -> Drawing:
    """A count a day, as bars."""
    mark = {"type": "bar", "fill": style.paint, "width": {"band": 0.8}}
    encoding = {"y": _quantity("line0", _COUNT_AXIS, top=max(4, *(value or 0 for value in values)))}
    # A bar takes up its whole day, so that the axis has to end with the last day.
    day_axis = _day_axis(days, ends_after=1, hour=12) | {"timeUnit": "utcyearmonthdate"}
    return _draw(_rows(days, [(style, values)]), [{"mark": mark, "encoding": encoding}], day_axis)


def daily_spans(
    days: Sequence[str],
    lines: Sequence[tuple[Style, Sequence[float | None]]],
    bounds: tuple[float, float],
) -> Drawing:
    """Spans of time in seconds, as points, on a logarithmic axis between the bounds.

    A day's first and last series are joined by a line. What lies outside the bounds, such as zero,
    is drawn at the edge.
    """
    lowest, highest = bounds
    named = {seconds: name for seconds, name in _SPANS.items() if lowest <= seconds <= highest}
    y: Spec = {
        "field": "line0",
        "type": "quantitative",
        "axis": _named_ticks(named),
        "scale": {"type": "log", "domain": [lowest, highest], "clamp": True},
    }
    span_of_a_day: Spec = {
        "mark": {"type": "rule", "stroke": "var(--muted)", "opacity": 0.5},
        "encoding": {"y": y, "y2": {"field": f"line{len(lines) - 1}"}},
    }
    points: list[Spec] = [
        {
            "mark": {
                "type": "point",
                "shape": style.shape,
                "size": 22,
                "opacity": 1,
                "fill": style.paint,
                "stroke": "var(--surface)",
                "strokeWidth": 0.5,
            },
            "encoding": {"y": y | {"field": f"line{position}"}},
        }
        for position, (style, _) in enumerate(lines)
    ]
    return _draw(_rows(days, lines), [span_of_a_day, *points], _day_axis(days))


def curves(lines: Sequence[tuple[Style, Sequence[tuple[float, float]]]]) -> Drawing:
    """Shares reached (0 to 1), in steps, by seconds since a start; the first line is foremost."""
    longest = max((points[-1][0] for _, points in lines), default=0.0)
    ticks = {seconds: name for seconds, name in _AGES.items() if seconds <= longest}
    # Most of a rollout happens in its first hours, and its stragglers take weeks.
    axis = {
        "field": "after",
        "type": "quantitative",
        "scale": {"type": "pow", "exponent": 0.4, "domain": [0, longest]},
        "axis": _named_ticks(ticks),
    }
    rows = []
    layers = []
    for position, (style, points) in reversed(list(enumerate(lines))):
        name = f"line{position}"
        rows += [{"after": seconds, name: share} for seconds, share in points]
        layers.append(_line(style, name, _quantity(name, _SHARE_AXIS, top=1), stepped=True))
    return _draw(rows, layers, axis)


def _rows(days: Sequence[str], lines: Sequence[tuple[Style, Sequence[float | None]]]) -> list[Spec]:
    rows: list[Spec] = [{"day": day} for day in days]
    for position, (_, values) in enumerate(lines):
        for row, value in zip(rows, values, strict=True):
            row[f"line{position}"] = value
    return rows


def _alone(known: Sequence[bool]) -> list[bool]:
    """Which days are known while neither the day before nor the day after is."""
    around = [False, *known, False]
    return [
        day and not before and not after
        for before, day, after in zip(around, known, around[2:], strict=False)
    ]


def _line(style: Style, field: str, y: Spec, *, stepped: bool = False) -> Spec:
    mark: Spec = {"type": "line", "stroke": style.paint, "strokeWidth": 2, "clip": False}
    if style.dash:
        mark["strokeDash"] = list(style.dash)
    if stepped:
        mark["interpolate"] = "step-after"
    return {
        "transform": [{"filter": f"isDefined(datum.{field})"}],
        "mark": mark,
        "encoding": {"y": y},
    }


def _quantity(field: str, axis: Spec, *, top: float | None = None) -> Spec:
    scale: Spec = {"zero": True, "nice": top is None}
    if top is not None:
        scale |= {"domain": [0, top]}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": scale}


def _named_ticks(names: Mapping[int, str]) -> Spec:
    """An axis with ticks at the given values, called by their names."""
    by_text = json.dumps({str(value): name for value, name in names.items()})
    return {"values": list(names), "labelExpr": f"{by_text}[datum.value]"}


def _day_axis(days: Sequence[str], *, ends_after: int = 0, hour: int = 0) -> Spec:
    """All days, also those at the edges that have no value.

    Args:
        days: YYYY-MM-DD, every day.
        ends_after: how many days after the last one the axis ends.
        hour: of a day, above its label.
    """
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    domain = [_vega_instant(first), _vega_instant(last + timedelta(days=ends_after))]
    return {
        "field": "day",
        "type": "temporal",
        "scale": {"type": "utc", "domain": domain},
        "axis": {
            "format": "%-d %b",
            "values": [_vega_instant(day, hour) for day in _labelled_days(first, last)],
            "labelOverlap": False,
        },
    }


def _labelled_days(first: date, last: date) -> list[date]:
    """The newest day and days before it, evenly apart, as many as there is room to name."""
    span = (last - first).days
    step = next((step for step in _DAY_STEPS if span < _DAY_LABELS * step), span)
    return [last - timedelta(days=back) for back in range(0, span + 1, step)][::-1]


def _vega_instant(day: date, hour: int = 0) -> Spec:
    return {"year": day.year, "month": day.month, "date": day.day, "hours": hour, "utc": True}


def _draw(rows: list[Spec], layers: list[Spec], x: Spec) -> Drawing:
    spec = {
        "width": _WIDTH,
        "height": _HEIGHT,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 4,
        "config": _CONFIG,
        "data": {"values": rows, "format": {"parse": {"day": "utc:'%Y-%m-%d'"}}},
        "encoding": {"x": x},
        "layer": layers,
    }
    return _inline(vl_convert.vegalite_to_svg(spec))


def _inline(svg: str) -> Drawing:
    """Makes Vega's file a part of the page: it scales, and its caption speaks for it."""
    # The caption and the table beside it say all of it in words; roles on every group would
    # only make a screen reader walk through them.
    svg = re.sub(r' (?:role|aria-[a-z]+|class|pointer-events)="[^"]*"', "", svg)
    return Drawing(
        re.sub(
            r'^<svg [^>]*?width="[\d.]+" height="[\d.]+" (viewBox="[^"]+")>',
            r'<svg class="chart" aria-hidden="true" focusable="false" \1>',
            svg,
        )
    )
