"""How current each flake's systems were: the share of host time, every instant counted."""

import numpy as np
import pandas as pd

from assets.compute.commit_order import CommitOrder
from assets.compute.day_windows import DayWindows
from assets.compute.encoding import (
    MICROSECONDS_PER_HOUR,
    NEVER,
    NOTHING,
    Integers,
    microseconds,
)
from assets.compute.running_commits import PIECES_AT_ONCE
from assets.compute.timeline import FleetTimeline

WITHIN_COMMITS = (1, 5, 20)
WITHIN_HOURS = (24, 168)


class HostTime:
    """Host time by day and flake, summed over spans of any length; exact, in microseconds.

    A span adds to the days in which it begins and ends what they hold of it, and to those between
    them a whole day, so that it costs the same however many days it covers.
    """

    def __init__(self, windows: DayWindows, flake_count: int) -> None:
        self._starts = windows.starts
        self._ends = microseconds(windows.ends)
        # By day and flake; of `entered` one day more, for spans that end in the last.
        self._partial = np.zeros((len(windows.ends), flake_count), np.int64)
        self._entered = np.zeros((len(windows.ends) + 1, flake_count), np.int64)

    def add(self, flake: Integers, start: Integers, end: Integers) -> None:
        """Adds spans of host time; those that end before they start count as empty."""
        self._open(flake, start, 1)
        self._open(flake, np.maximum(start, end), -1)

    def _open(self, flake: Integers, instants: Integers, sign: int) -> None:
        day = np.searchsorted(self._ends, instants, side="right")
        inside = day < len(self._ends)
        day, flake, instants = day[inside], flake[inside], instants[inside]
        left_of_day = self._ends[day] - np.maximum(instants, self._starts[day])
        np.add.at(self._partial, (day, flake), sign * left_of_day)
        np.add.at(self._entered, (day + 1, flake), sign)

    @property
    def totals(self) -> Integers:
        """By day and flake, one after the other, in microseconds."""
        lengths = (self._ends - self._starts)[:, np.newaxis]
        return (np.cumsum(self._entered[:-1], axis=0) * lengths + self._partial).ravel()


def currency(
    timeline: FleetTimeline, windows: DayWindows, pieces_at_once: int = PIECES_AT_ONCE
) -> pd.DataFrame:
    """Measures how current the systems of each flake were on each day.

    At every instant a system stands as `system_deployment_status` taken at that instant says. A
    host that runs a commit is current from then until the commits after it are made, so that no
    instant between need be looked at.

    Args:
        timeline: the fleet.
        windows: the days.
        pieces_at_once: how many pieces of host time may be in memory together.

    Returns:
        One row a (day, flake code); microseconds of host time. total: of the systems associated
        with the flake; of it, up_to_date: as up_to_date; within_N_commits: with commits_behind at
        most each of `WITHIN_COMMITS`; within_N_hours: up_to_date, ahead, or behind for at most each
        of `WITHIN_HOURS`.
    """
    commits, running = timeline.commits, timeline.running
    names = ["total", "up_to_date", *(f"within_{count}_commits" for count in WITHIN_COMMITS)]
    names += [f"within_{hours}_hours" for hours in WITHIN_HOURS]
    spent = {name: HostTime(windows, len(commits.flakes)) for name in names}
    _add_registered(spent["total"], timeline)
    since = max(running.earliest, int(windows.starts[0]))
    until = int(microseconds(windows.ends)[-1])
    for pieces in running.pieces(since, until, pieces_at_once):
        flake = commits.flake[pieces["commit"]]
        stranger = pieces[~pieces["is_registered"]]
        spent["total"].add(
            commits.flake[stranger["commit"]],
            stranger["start"].to_numpy(),
            stranger["end"].to_numpy(),
        )
        # Of a flake whose own row can't be used, every system is unknown.
        _add_current(spent, commits, pieces[~np.isin(flake, timeline.unusable_flakes)])
    cells = [windows.ends.index, commits.flakes.index]
    return pd.DataFrame(
        {name: each.totals for name, each in spent.items()},
        pd.MultiIndex.from_product(cells, names=["day", "flake"]),
    )


def _add_registered(total: HostTime, timeline: FleetTimeline) -> None:
    hosts = timeline.hosts
    counted = hosts[(hosts["registered_flake"] != NOTHING) & ~hosts["is_deactivated"]]
    registered_at = microseconds(counted["registered_at"], missing=-NEVER)
    total.add(counted["registered_flake"].to_numpy(), registered_at, np.full(len(counted), NEVER))


def _add_current(spent: dict[str, HostTime], commits: CommitOrder, pieces: pd.DataFrame) -> None:
    commit, start, end = (pieces[c].to_numpy() for c in ("commit", "start", "end"))
    flake = commits.flake[commit]
    is_ahead = commits.timestamps[commit] > start
    # Until its first commit is visible a flake has no latest one to be ahead of.
    first_made_at = commits.timestamps[commits.starts[commit]]
    start = np.where(is_ahead, np.maximum(start, first_made_at), start)
    superseded_at = _made_after(commits, commit, 1)
    until = {
        **{f"within_{n}_commits": _made_after(commits, commit, 1 + n) for n in WITHIN_COMMITS},
        **{
            f"within_{n}_hours": np.minimum(superseded_at, NEVER - lag) + lag
            for n, lag in ((n, n * MICROSECONDS_PER_HOUR) for n in WITHIN_HOURS)
        },
    }
    for name, instants in until.items():
        spent[name].add(flake, start, np.minimum(end, np.where(is_ahead, NEVER, instants)))
    current_until = np.where(is_ahead, start, np.minimum(end, superseded_at))
    spent["up_to_date"].add(flake, start, current_until)


def _made_after(commits: CommitOrder, positions: Integers, distance: int) -> Integers:
    """When the commit so many places later in the flake was made, `NEVER` where there is none."""
    later = positions + distance
    exists = later < commits.ends[positions]
    return np.where(exists, commits.timestamps[np.where(exists, later, positions)], NEVER)
