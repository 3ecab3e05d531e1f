"""What was measured, as lines of text."""

from collections.abc import Iterable, Iterator, Mapping

from assets.schemas import DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS
from tests.benchmark import computation, handwritten
from tests.benchmark.backfill import Backfill
from tests.benchmark.comparison import Comparison
from tests.benchmark.heartbeats import WITH, WITHOUT, Heartbeats
from tests.benchmark.years import Years

_MEGABYTE = 1_000_000
_STATUS, _EVENTS = SYSTEM_DEPLOYMENT_STATUS.name, DEPLOYMENTS.name


def comparison_lines(measured: Comparison) -> Iterator[str]:
    """The times of both ways, and the ratios between them."""
    tables = ("systems", "flakes", "commits", "derivations", "system_states")
    yield ", ".join(f"{measured.rows[name]:,} {name}" for name in tables)
    yield ""
    seconds = measured.computation.seconds
    if measured.reading is not None:
        yield _line("extraction to staged Parquet", measured.reading.seconds)
    for part, taken in seconds.items():
        yield _line(part, taken)
    yield f"peak memory of the computation {measured.computation.peak_memory // _MEGABYTE:,} MB"
    if measured.reading is not None:
        yield f"peak memory of the extraction {measured.reading.peak_memory // _MEGABYTE:,} MB"
    if measured.sql is None:
        return
    yield ""
    for name, taken in measured.sql.seconds.items():
        yield _line(f"{name} by SQL", taken)
    with_indexes = dict(measured.sql.seconds_with_indexes)
    yield _line(handwritten.INDEXES, with_indexes.pop(handwritten.INDEXES))
    for name, taken in with_indexes.items():
        yield _line(f"{name} with them", taken)
    yield ""
    yield from _ratios(measured)
    yield ""
    yield from measured.sql.differences or ["Both ways give the same rows."]


def _ratios(measured: Comparison) -> Iterator[str]:
    ours = measured.computation.seconds
    if measured.sql is None or measured.reading is None:
        return
    indexed = ours[computation.READ] + ours[computation.INDEX]
    whole = measured.reading.seconds + indexed
    for label, sql in (
        ("SQL", measured.sql.seconds),
        ("SQL with the two indexes", measured.sql.seconds_with_indexes),
    ):
        yield f"{label} takes so many times as long as we do:"
        yield _ratio("status, with reading the database", sql[_STATUS], whole + ours[_OF[_STATUS]])
        yield _ratio("status, from staged tables", sql[_STATUS], indexed + ours[_OF[_STATUS]])
        yield _ratio("status of each further instant", sql[_STATUS], ours[_OF[_STATUS]])
        both = ours[_OF[_STATUS]] + ours[_OF[_EVENTS]]
        yield _ratio(
            "status and deployments, with reading", sql[_STATUS] + sql[_EVENTS], whole + both
        )


_OF = {_STATUS: computation.STATUS, _EVENTS: computation.EVENTS}


def backfill_lines(measured: Backfill) -> Iterator[str]:
    """The time of a backfill, by asset."""
    for step, taken in measured.step_seconds.items():
        yield _line(step, taken)
    yield _line(f"{measured.days} days in all", measured.seconds)
    yield _line("processor time", measured.processor_seconds)
    yield (
        f"peak memory {measured.peak_memory // _MEGABYTE:,} MB; "
        f"{measured.files:,} files of {measured.bytes // _MEGABYTE:,} MB"
    )


def heartbeat_lines(measured: Heartbeats) -> Iterator[str]:
    """The times with and without heartbeats, the ratio, and how they are looked up."""
    yield (
        f"{measured.beats:,} heartbeats of {measured.hosts:,} hosts, "
        f"{measured.bytes // _MEGABYTE:,} MB; {measured.states:,} states"
    )
    for label, taken in measured.seconds.items():
        yield _line(label, taken)
    more = measured.seconds[WITH] / measured.seconds[WITHOUT] - 1
    yield f"{'with them it takes longer by':<44}{more:9.1%}"
    yield from ["", *measured.plan]


def years_lines(measured: Iterable[Years]) -> Iterator[str]:
    """How Dagster's storage grew, and what opening its pages took on the first and the last day."""
    for years in measured:
        yield f"Dagster's records in {years.storage}"
        yield "    day      runs     kept   before removal   after    removal"
        last = years.days[-1].day
        for day in years.days:
            if day.day in (1, 2, last) or day.day % 30 == 0:
                yield (
                    f"  {day.day:5}{day.runs:10,}{day.kept:9,}{day.before / _MEGABYTE:14,.0f} MB"
                    f"{day.after / _MEGABYTE:6,.0f} MB{day.removal_seconds:9.1f} s"
                )
        for page, seconds in years.last_pages.items():
            first = years.first_pages[page]
            yield (
                f"  opening {page:<16}{first:6.2f} s at first, {seconds:6.2f} s at last "
                f"({seconds / first:.2f} x)"
            )
        yield ""


def start_lines(processor_seconds: Mapping[str, float]) -> Iterator[str]:
    """What starting takes, and how often the first of them."""
    base = next(iter(processor_seconds.values()))
    for name, seconds in processor_seconds.items():
        yield f"{_line(name, seconds)}{seconds / base:8.2f} x"
    yield ""


def _line(label: str, seconds: float) -> str:
    return f"{label:<44}{seconds:9.2f} s"


def _ratio(label: str, sql: float, ours: float) -> str:
    return f"  {label:<42}{sql / ours:9.1f} x"
