"""How current each flake's systems were: the share of host time, every instant counted."""

from dataclasses import dataclass

import numpy as np

from assets.compute.commit_order import CommitOrder
from assets.compute.day_windows import DayWindows
from assets.compute.encoding import NOTHING, Integers
from assets.compute.running_commits import ALWAYS, PIECES_AT_ONCE, Pieces, RunningCommits
from assets.compute.timeline import FleetTimeline

WITHIN_COMMITS = (1, 5, 20)
WITHIN_HOURS = (24, 168)
_MICROSECONDS_PER_HOUR = 3_600_000_000


class HostTime:
    """Host time by day and flake, summed over spans of any length; exact, in microseconds.

    A span adds to the days in which it begins and ends what they hold of it, and to those between
    them a whole day, so that it costs the same however many days it covers.
    """

    def __init__(self, windows: DayWindows, flake_count: int) -> None:
        self._windows = windows
        self._flake_count = flake_count
        cells = len(windows) * flake_count
        self._partial = np.zeros(cells, np.int64)
        self._entered = np.zeros(cells + flake_count, np.int64)

    def add(self, flake: Integers, start: Integers, end: Integers) -> None:
        """Adds spans of host time; those that end before they start count as empty."""
        self._open(flake, start, 1)
        self._open(flake, np.maximum(start, end), -1)

    def _open(self, flake: Integers, instants: Integers, sign: int) -> None:
        windows = self._windows
        day = np.searchsorted(windows.ends, instants, side="right")
        inside = day < len(windows)
        day, flake, instants = day[inside], flake[inside], instants[inside]
        cell = day * self._flake_count + flake
        left_of_day = windows.ends[day] - np.maximum(instants, windows.starts[day])
        np.add.at(self._partial, cell, sign * left_of_day)
        np.add.at(self._entered, cell + self._flake_count, sign)

    @property
    def totals(self) -> Integers:
        """By `day * flake_count + flake`, in microseconds."""
        windows = self._windows
        entered = self._entered.reshape(len(windows) + 1, self._flake_count)[:-1]
        lengths = (windows.ends - windows.starts)[:, np.newaxis]
        return (np.cumsum(entered, axis=0) * lengths).ravel() + self._partial


@dataclass(frozen=True)
class Currency:
    """Host time by `day * number of flakes + flake code`, in microseconds.

    Attributes:
        total: of the systems associated with the flake.
        up_to_date: of it, as up_to_date.
        within_commits: of it, with commits_behind at most each of `WITHIN_COMMITS`.
        within_hours: of it, up_to_date, ahead, or behind for at most each of `WITHIN_HOURS`.
    """

    total: Integers
    up_to_date: Integers
    within_commits: tuple[Integers, ...]
    within_hours: tuple[Integers, ...]


def currency(
    timeline: FleetTimeline, windows: DayWindows, pieces_at_once: int = PIECES_AT_ONCE
) -> Currency:
    """Measures how current the systems of each flake were on each day.

    At every instant a system stands as `system_deployment_status` taken at that instant says. A
    host that runs a commit is current from then until the commits after it are made, so that no
    instant between need be looked at.

    Args:
        timeline: the fleet.
        windows: the days.
        pieces_at_once: how many pieces of host time may be in memory together.
    """
    flake_count = len(timeline.commits.flake_ids)
    total, up_to_date, *within = (
        HostTime(windows, flake_count) for _ in range(2 + len(WITHIN_COMMITS) + len(WITHIN_HOURS))
    )
    _add_registered(total, timeline)
    running = RunningCommits.of(timeline)
    since = max(running.earliest, int(windows.starts[0]))
    for pieces in running.pieces(since, int(windows.ends[-1]), pieces_at_once):
        flake = timeline.commits.flake[pieces.commit]
        stranger = ~pieces.is_registered
        total.add(flake[stranger], pieces.start[stranger], pieces.end[stranger])
        _add_current(up_to_date, within, timeline.commits, pieces)
    middle = len(WITHIN_COMMITS)
    return Currency(
        total=total.totals,
        up_to_date=up_to_date.totals,
        within_commits=tuple(each.totals for each in within[:middle]),
        within_hours=tuple(each.totals for each in within[middle:]),
    )


def _add_registered(total: HostTime, timeline: FleetTimeline) -> None:
    hosts = timeline.hosts
    counted = np.flatnonzero((hosts.registered_flake != NOTHING) & ~hosts.is_deactivated)
    total.add(
        hosts.registered_flake[counted],
        hosts.registered_at[counted],
        np.full(len(counted), ALWAYS),
    )


def _add_current(
    up_to_date: HostTime, within: list[HostTime], commits: CommitOrder, pieces: Pieces
) -> None:
    flake = commits.flake[pieces.commit]
    is_ahead = commits.timestamps[pieces.commit] > pieces.start
    # Until its first commit is visible a flake has no latest one to be ahead of.
    start = np.where(
        is_ahead,
        np.maximum(pieces.start, commits.timestamps[commits.starts[flake]]),
        pieces.start,
    )
    superseded_at = _made_after(commits, pieces.commit, 1)
    up_to_date.add(
        flake[~is_ahead], start[~is_ahead], np.minimum(pieces.end, superseded_at)[~is_ahead]
    )
    until = [
        *(_made_after(commits, pieces.commit, 1 + behind) for behind in WITHIN_COMMITS),
        *(
            np.minimum(superseded_at, ALWAYS - lag) + lag
            for lag in (hours * _MICROSECONDS_PER_HOUR for hours in WITHIN_HOURS)
        ),
    ]
    for host_time, instants in zip(within, until, strict=True):
        host_time.add(flake, start, np.minimum(pieces.end, np.where(is_ahead, ALWAYS, instants)))


def _made_after(commits: CommitOrder, positions: Integers, distance: int) -> Integers:
    """When the commit so many places later in the flake was made, `ALWAYS` where there is none."""
    later = positions + distance
    exists = later < commits.starts[commits.flake[positions] + 1]
    return np.where(exists, commits.timestamps[np.where(exists, later, positions)], ALWAYS)
