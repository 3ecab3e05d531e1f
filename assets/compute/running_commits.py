"""What each host ran, and for how long: its current commit at every instant.

A host's current commit changes when it is deployed, and also when a commit is made that has the
output which it runs already. In between it is constant, so that a span of time divides into pieces
of one current commit each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from assets.compute.encoding import NOTHING, Booleans, Integers, ends_before
from assets.compute.ranges import expand
from assets.compute.timeline import FleetTimeline

PIECES_AT_ONCE = 1_000_000
ALWAYS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pieces:
    """Spans of time in which a host has one current commit: one element a piece.

    They have the current commit of `system_deployment_status` taken at any instant in (start, end].

    Attributes:
        host: code.
        commit: position of the current commit.
        is_registered: whether the host is registered to a flake, which then is the commit's.
        start: microseconds.
        end: microseconds, later than `start`.
    """

    host: Integers
    commit: Integers
    is_registered: Booleans
    start: Integers
    end: Integers

    def where(self, chosen: Booleans) -> "Pieces":
        """The chosen pieces."""
        return Pieces(
            self.host[chosen],
            self.commit[chosen],
            self.is_registered[chosen],
            self.start[chosen],
            self.end[chosen],
        )


@dataclass(frozen=True)
class RunningCommits:
    """Every host's past as spans of one path and one registration: one element a span.

    Left out is what has no bearing on a flake: deactivated hosts, paths that match no commit, and
    while a host is registered to a flake, paths that match no commit of that flake.

    Attributes:
        host: by span, the host's code.
        is_registered: by span, whether the host is registered to a flake.
        start: by span, microseconds.
        end: by span, microseconds; `ALWAYS` while it lasts.
    """

    host: Integers
    is_registered: Booleans
    start: Integers
    end: Integers
    _first_match: Integers
    _end_match: Integers
    _matches: Integers
    _matches_made_at: Integers

    @classmethod
    def of(cls, timeline: FleetTimeline) -> "RunningCommits":
        """Divides the past of a fleet's hosts into spans."""
        states, hosts, paths = timeline.states, timeline.hosts, timeline.paths
        run_count = len(states.run_host)
        same_host = states.run_host[1:] == states.run_host[:-1]
        run_end = np.full(run_count, ALWAYS)
        run_end[:-1][same_host] = states.run_started_at[1:][same_host]
        flake = hosts.registered_flake[states.run_host]
        registered_from = np.where(flake == NOTHING, ALWAYS, hosts.registered_at[states.run_host])

        of_flake, of_any = paths.by_path_and_flake, paths.by_path
        groups = np.concatenate([of_any.groups, of_flake.groups + len(states.paths)])
        matches = np.concatenate([of_any.positions, of_flake.positions])
        # A host is first a stranger, known by what it runs alone, and later registered.
        group = np.concatenate(
            [
                states.run_path,
                len(states.paths) + states.run_path * paths.flake_count + flake,
            ]
        )
        host = np.tile(states.run_host, 2)
        is_registered = np.repeat([False, True], run_count)
        start = np.concatenate(
            [states.run_started_at, np.maximum(states.run_started_at, registered_from)]
        )
        end = np.concatenate([np.minimum(run_end, registered_from), run_end])
        first_match = np.searchsorted(groups, group, side="left")
        end_match = np.searchsorted(groups, group, side="right")
        kept = np.flatnonzero(
            (start < end) & (first_match < end_match) & ~hosts.is_deactivated[host]
        )
        return cls(
            host=host[kept],
            is_registered=is_registered[kept],
            start=start[kept],
            end=end[kept],
            _first_match=first_match[kept],
            _end_match=end_match[kept],
            _matches=matches,
            _matches_made_at=timeline.commits.timestamps[matches],
        )

    @property
    def earliest(self) -> int:
        """Before this instant no host ran anything."""
        return int(self.start.min(initial=ALWAYS))

    def first_starts(self, host_count: int) -> Integers:
        """By host code, the start of its first span; `ALWAYS` where it has none."""
        first = np.full(host_count, ALWAYS)
        np.minimum.at(first, self.host, self.start)
        return first

    def of_hosts(self, chosen: Booleans) -> "RunningCommits":
        """The spans of the hosts that are chosen by their code."""
        kept = chosen[self.host]
        return replace(
            self,
            host=self.host[kept],
            is_registered=self.is_registered[kept],
            start=self.start[kept],
            end=self.end[kept],
            _first_match=self._first_match[kept],
            _end_match=self._end_match[kept],
        )

    def pieces(
        self, since: int, until: int, pieces_at_once: int = PIECES_AT_ONCE
    ) -> Iterator[Pieces]:
        """The pieces of [since, until), a bounded number at a time, in consecutive spans of time.

        Memory: some 200 bytes a host, for each of `pieces_at_once` pieces and for each span of the
        `RunningCommits`. A piece that reaches over the border of two spans of time comes as two.
        """
        overlapping = np.flatnonzero((self.start < until) & (self.end > since))
        start = np.maximum(self.start[overlapping], since)
        end = np.minimum(self.end[overlapping], until)
        made = self._matches_made_before(overlapping, start + 1)
        counts = self._matches_made_before(overlapping, end) - made + 1
        # What a host runs at `since` is a piece however short the time.
        beginning_later = counts.sum() - (start == since).sum()
        if beginning_later > pieces_at_once and until - since > 1:
            middle = (since + until) // 2
            yield from self.pieces(since, middle, pieces_at_once)
            yield from self.pieces(middle, until, pieces_at_once)
        elif len(overlapping):
            yield self._divide(overlapping, start, end, made, counts)

    def _matches_made_before(self, spans: Integers, instants: Integers) -> Integers:
        return ends_before(
            self._matches_made_at, self._first_match[spans], self._end_match[spans], instants
        )

    def _divide(
        self, spans: Integers, start: Integers, end: Integers, made: Integers, counts: Integers
    ) -> Pieces:
        # Where no match was made yet, the contract takes the greatest of those to come.
        is_ahead = made == self._first_match[spans]
        first_current = np.where(is_ahead, self._end_match[spans], made) - 1
        owner, match = expand(made - 1, counts)
        is_first = np.diff(owner, prepend=NOTHING) != 0
        current = np.where(is_first, first_current[owner], match)
        begins = np.where(is_first, start[owner], self._matches_made_at[current])
        is_last = np.append(is_first[1:], True)
        ends = np.where(is_last, end[owner], np.append(begins[1:], ALWAYS))
        # Of matches made at the same instant only the greatest is ever current.
        kept = np.flatnonzero(begins < ends)
        chosen = spans[owner[kept]]
        return Pieces(
            host=self.host[chosen],
            commit=self._matches[current[kept]],
            is_registered=self.is_registered[chosen],
            start=begins[kept],
            end=ends[kept],
        )
