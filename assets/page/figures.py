"""The figures of the page: each chart with its title, summary, key and numbers.

Belongs here: which chart shows which values, and how they read as text. Does not belong here: how
a chart is drawn, how a figure is laid out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from assets.page.adoption import CommitAdoption, FlakeAdoption
from assets.page.charts import (
    SERIES_STYLES,
    STATUS_STYLES,
    Drawing,
    Style,
    curves,
    daily_counts,
    daily_shares,
    daily_spans,
    stacked_areas,
)
from assets.page.movement import (
    COMMIT_SHARES,
    HOUR_SHARES,
    LEAD_TIMES,
    Day,
    FlakeLeadTimes,
    charted,
)
from assets.page.wording import (
    NOT_KNOWN,
    STATUS_LABELS,
    counted,
    grouped,
    percentage,
    short_hash,
    span,
)

_SHARE_LABELS = {
    "up_to_date_share": "Up to date",
    "within_1_commit_share": "Within 1 commit",
    "within_5_commits_share": "Within 5 commits",
    "within_20_commits_share": "Within 20 commits",
    "within_24_hours_share": "Within 24 hours",
    "within_168_hours_share": "Within 7 days",
}
# The good at the bottom, what needs attention above it.
_STACKING_ORDER = ("up_to_date", "ahead", "behind", "unknown", "no_deployment")


@dataclass(frozen=True)
class KeyEntry:
    """What one series of a chart is.

    Attributes:
        style: how it is drawn.
        kind: drawn as an area, as a line or as points.
        label: its name.
        value: its latest value.
        url: where there is more about it, None where that is not known.
    """

    style: Style
    kind: Literal["area", "line", "point"]
    label: str
    value: str
    url: str | None = None


@dataclass(frozen=True)
class Numbers:
    """A chart's numbers as a table; the first cell of a row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A chart with all that belongs to it.

    Attributes:
        topic: what the figures of its group show, empty where the title says it all.
        title: what it shows.
        summary: what there is to see, in a sentence.
        chart: the drawing.
        key: its series.
        numbers: everything it shows.
    """

    topic: str
    title: str
    summary: str
    chart: Drawing
    key: tuple[KeyEntry, ...]
    numbers: Numbers


def movement_figures(days: Sequence[Day], of_old_reading: Mapping[str, int]) -> tuple[Figure, ...]:
    """How the whole fleet moved, day by day; nothing before there are two days to compare.

    Args:
        days: every day of the window.
        of_old_reading: by status, of the last day's systems those that are in it only as far as
            their repository was read; empty where that is not known of it.
    """
    if len(days) < 2:
        return ()
    return (
        _statuses(days, of_old_reading),
        _shares(days, "How current systems were, in commits", COMMIT_SHARES),
        _shares(days, "How current systems were, in hours", HOUR_SHARES),
        _activity(days, "Deployments a day", "host_deployments", "deployment", SERIES_STYLES[0]),
        _activity(days, "Rollbacks a day", "rollbacks", "rollback", SERIES_STYLES[1]),
        _activity(days, "New commits a day", "new_commits", "commit", SERIES_STYLES[0]),
    )


def lead_time_figures(flakes: Sequence[FlakeLeadTimes]) -> tuple[Figure, ...]:
    """Lead times day by day, a figure a flake; nothing before there are two days to compare."""
    flakes = [flake for flake in flakes if len(flake.days) > 1]
    spans = [
        value
        for flake in flakes
        for name in LEAD_TIMES
        for value in charted(flake.days, name)
        if value is not None
    ]
    # The same bounds for all of them, so that the flakes can be compared.
    lowest, highest = max(min(spans, default=0) / 1.5, 60), max(spans, default=0) * 1.5
    bounds = (lowest, max(highest, 60 * lowest))
    return tuple(_lead_times(flake, bounds) for flake in flakes)


def adoption_figures(flakes: Sequence[FlakeAdoption]) -> tuple[Figure, ...]:
    """How far the newest commits have got, a figure a flake."""
    return tuple(_adoption(flake) for flake in flakes)


def _statuses(days: Sequence[Day], of_old_reading: Mapping[str, int]) -> Figure:
    names = {status: f"systems_{status}" for status in _STACKING_ORDER}
    known = [day for day in days if None not in (day.measures[name] for name in names.values())]

    def up_to_date(day: Day) -> str:
        total = sum(day.measures[name] or 0 for name in names.values())
        return f"{grouped(day.measures['systems_up_to_date'] or 0)} of {grouped(total)}"

    def now(status: str) -> str:
        old = of_old_reading.get(status, 0)
        latest = _latest(days, names[status], grouped)
        return f"{latest}, {grouped(old)} of these as of an old reading" if old else latest

    old = of_old_reading.get("up_to_date", 0)
    return Figure(
        "",
        "Systems by status",
        f"Up to date: {up_to_date(known[0])} on {known[0].day}, "
        f"{up_to_date(known[-1])} on {known[-1].day}"
        + (f", {grouped(old)} of these as of an old reading of their repository." if old else ".")
        if known
        else "No day has been computed.",
        stacked_areas(
            _dates(days),
            [(STATUS_STYLES[status], charted(days, name)) for status, name in names.items()],
        ),
        tuple(
            KeyEntry(STATUS_STYLES[status], "area", STATUS_LABELS[status], now(status))
            for status in reversed(names)
        ),
        _daily_numbers(
            days, {name: STATUS_LABELS[status] for status, name in names.items()}, grouped
        ),
    )


def _shares(days: Sequence[Day], title: str, names: Sequence[str]) -> Figure:
    styles = dict(zip(names, SERIES_STYLES, strict=False))
    known = [
        f"{percentage(share)} of host time on {day.day}"
        for day in days
        if (share := day.measures[names[0]]) is not None
    ]
    return Figure(
        "",
        title,
        f"{_SHARE_LABELS[names[0]]}: {known[0]}, {known[-1]}." if known else "No host time.",
        daily_shares(
            _dates(days), [(style, charted(days, name)) for name, style in styles.items()]
        ),
        tuple(
            KeyEntry(style, "line", _SHARE_LABELS[name], _latest(days, name, percentage))
            for name, style in styles.items()
        ),
        _daily_numbers(days, {name: _SHARE_LABELS[name] for name in names}, percentage),
    )


def _activity(days: Sequence[Day], title: str, name: str, noun: str, style: Style) -> Figure:
    values = charted(days, name)
    known = [value for value in values if value is not None]
    busiest = max(days, key=lambda day: day.measures[name] or 0)
    total = counted(sum(known), noun)
    summary = (
        f"{total} in {counted(len(known), 'day')}; most on {busiest.day}: "
        f"{grouped(busiest.measures[name] or 0)}."
        if any(known)
        else f"{total} in {counted(len(known), 'day')}."
    )
    return Figure(
        "",
        title,
        summary,
        daily_counts(_dates(days), style, values),
        (),
        _daily_numbers(days, {name: title.removesuffix(" a day")}, grouped),
    )


def _lead_times(flake: FlakeLeadTimes, bounds: tuple[float, float]) -> Figure:
    styles = dict(zip(LEAD_TIMES, SERIES_STYLES, strict=False))
    labels = dict(zip(LEAD_TIMES, ("Median", "90th percentile"), strict=True))
    numbers = _daily_numbers(flake.days, labels, span)
    pairs = charted(flake.days, "change_lead_time_count")
    return Figure(
        "Lead time",
        flake.flake,
        f"{counted(flake.pairs, 'commit arrival')} on hosts.",
        daily_spans(
            _dates(flake.days),
            [(style, charted(flake.days, name)) for name, style in styles.items()],
            bounds,
        ),
        tuple(
            KeyEntry(style, "point", labels[name], f"latest {_latest(flake.days, name, span)}")
            for name, style in styles.items()
        ),
        Numbers(
            (*numbers.columns, "Arrivals"),
            tuple(
                (*row, NOT_KNOWN if count is None else grouped(count))
                for row, count in zip(numbers.rows, reversed(pairs), strict=True)
                if count
            ),
        ),
    )


def _adoption(flake: FlakeAdoption) -> Figure:
    styled = list(zip(SERIES_STYLES, flake.commits, strict=False))
    newest = flake.commits[0]
    return Figure(
        "Newest commits",
        flake.flake,
        f"{counted(flake.hosts, 'system')}; the newest commit"
        + (f" known ({flake.reading})" if flake.reading else "")
        + f" has reached {percentage(newest.share)} in {span(newest.age_seconds)}.",
        curves([(style, commit.curve) for style, commit in styled]),
        tuple(
            KeyEntry(
                style,
                "line",
                short_hash(commit.commit_hash),
                f"{span(commit.age_seconds)} old: {commit.reached:,} of {commit.eligible:,}",
                commit.url,
            )
            for style, commit in styled
        ),
        Numbers(
            (
                "Commit",
                "Age",
                "Reached",
                "Running it now",
                "First host after",
                *(f"{percent} % after" for percent in (50, 90, 100)),
            ),
            tuple(_adoption_row(commit) for commit in flake.commits),
        ),
    )


def _adoption_row(commit: CommitAdoption) -> tuple[str, ...]:
    return (
        short_hash(commit.commit_hash),
        span(commit.age_seconds),
        f"{commit.reached:,} of {commit.eligible:,} ({percentage(commit.share)})",
        f"{commit.current:,}",
        *(NOT_KNOWN if seconds is None else span(seconds) for seconds in commit.seconds_to),
    )


def _dates(days: Sequence[Day]) -> list[str]:
    return [day.day.isoformat() for day in days]


def _latest(days: Sequence[Day], name: str, wording: Callable[[float], str]) -> str:
    known = [day.measures[name] for day in days if day.measures[name] is not None]
    return wording(known[-1]) if known and known[-1] is not None else NOT_KNOWN


def _daily_numbers(
    days: Sequence[Day], columns: dict[str, str], wording: Callable[[float], str]
) -> Numbers:
    def cell(value: float | None) -> str:
        return NOT_KNOWN if value is None else wording(value)

    return Numbers(
        ("Day (UTC)", *columns.values()),
        tuple(
            (day.day.isoformat(), *(cell(day.measures[name]) for name in columns))
            for day in reversed(days)
        ),
    )
