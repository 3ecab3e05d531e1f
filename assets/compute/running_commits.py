"""What each host ran, and for how long: its current commit at every instant.

A host's current commit changes when it is deployed, and also when a commit is made that has the
output which it runs already. In between it is constant, so that a span of time divides into pieces
of one current commit each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assets.compute.encoding import NEVER, NOTHING, Booleans, Integers, microseconds
from assets.compute.host_states import HostStates
from assets.compute.path_matches import PathMatches
from assets.compute.ranges import ends_before, expand

PIECES_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class RunningCommits:
    """Every host's past as spans of one path and one registration.

    Left out is what has no bearing on a flake: hosts that are deactivated or whose registration
    can't be used, paths that match no commit, and
    while a host is registered to a flake, paths that match no commit of that flake.

    Attributes:
        spans: one row a span. host: code; is_registered: whether the host is registered to a flake;
            start and end: microseconds, `NEVER` while it lasts; first_match and end_match: where
            the commits that its path can stand for are in the two arrays.
        positions: of these commits.
        made_at: when these were made, microseconds; ascending within a span's.
    """

    spans: pd.DataFrame
    positions: Integers
    made_at: Integers

    @classmethod
    def of(cls, states: HostStates, hosts: pd.DataFrame, paths: PathMatches) -> "RunningCommits":
        """Divides the past of a fleet's hosts into spans."""
        runs = states.runs.join(hosts, on="host")
        path, flake = runs["path"].to_numpy(), runs["registered_flake"].to_numpy()
        start = microseconds(runs["deployed_at"])
        end = microseconds(runs.groupby("host")["deployed_at"].shift(-1))
        registered_at = microseconds(runs["registered_at"], missing=-NEVER)
        registered_at = np.where(flake == NOTHING, NEVER, registered_at)

        is_counted = ~runs["is_deactivated"] & ~runs["is_unusable"]

        def spans(
            start: Integers, end: Integers, matches: tuple[Integers, Integers]
        ) -> pd.DataFrame:
            bounds = {
                "start": start,
                "end": end,
                "first_match": matches[0],
                "end_match": matches[1],
            }
            return pd.DataFrame({"host": runs["host"], **bounds})[is_counted]

        # A host is first a stranger, known by what it runs alone, and later registered.
        stranger = spans(start, np.minimum(end, registered_at), paths.of_any_flake(path))
        registered = spans(np.maximum(start, registered_at), end, paths.of_flake(path, flake))
        both = pd.concat(
            [stranger.assign(is_registered=False), registered.assign(is_registered=True)],
            ignore_index=True,
        )
        kept = (both["start"] < both["end"]) & (both["first_match"] < both["end_match"])
        return cls(both[kept], paths.positions, paths.made_at)

    def by_branch(self, is_on_branch: Booleans) -> "RunningCommits":
        """What the hosts run where commits on the branch go before those rewritten away.

        Args:
            is_on_branch: by commit position.
        """
        kept = is_on_branch[self.positions]
        if kept.all():
            return self
        # In front those on the branch, then all, for paths that match none on it.
        kept_before = np.append(0, np.cumsum(kept))
        count = int(kept_before[-1])
        first, end = self.spans["first_match"].to_numpy(), self.spans["end_match"].to_numpy()
        has_any = kept_before[first] < kept_before[end]
        return RunningCommits(
            self.spans.assign(
                first_match=np.where(has_any, kept_before[first], first + count),
                end_match=np.where(has_any, kept_before[end], end + count),
            ),
            np.append(self.positions[kept], self.positions),
            np.append(self.made_at[kept], self.made_at),
        )

    @property
    def earliest(self) -> int:
        """Before this instant no host ran anything."""
        return int(self.spans["start"].min()) if len(self.spans) else NEVER

    def first_starts(self, host_count: int) -> Integers:
        """By host code, the start of its first span; `NEVER` where it has none."""
        first = self.spans.groupby("host")["start"].min()
        return first.reindex(range(host_count), fill_value=NEVER).to_numpy()

    def of_hosts(self, chosen: Booleans) -> "RunningCommits":
        """The spans of the hosts that are chosen by their code."""
        return replace(self, spans=self.spans[chosen[self.spans["host"]]])

    def pieces(
        self, since: int, until: int, pieces_at_once: int = PIECES_AT_ONCE
    ) -> Iterator[pd.DataFrame]:
        """The pieces of [since, until), a bounded number at a time, in consecutive spans of time.

        Memory: some 200 bytes a host, for each of `pieces_at_once` pieces and for each span of the
        `RunningCommits`. A piece that reaches over the border of two spans of time comes as two.

        Yields:
            One row a piece: host (code); commit: position of the current commit at any instant in
            (start, end], by branch that of `system_deployment_status` taken then; is_registered:
            whether the host is registered to a flake, which then is the commit's; start; end, later
            than start: microseconds.
        """
        spans = self.spans[(self.spans["start"] < until) & (self.spans["end"] > since)]
        spans = spans.assign(
            start=np.maximum(spans["start"], since), end=np.minimum(spans["end"], until)
        )
        made = self._matches_made_before(spans, spans["start"].to_numpy() + 1)
        counts = self._matches_made_before(spans, spans["end"].to_numpy()) - made + 1
        # What a host runs at `since` is a piece however short the time.
        beginning_later = counts.sum() - (spans["start"] == since).sum()
        if beginning_later > pieces_at_once:
            middle = (since + until) // 2
            yield from self.pieces(since, middle, pieces_at_once)
            yield from self.pieces(middle, until, pieces_at_once)
        elif len(spans):
            yield self._divide(spans, made, counts)

    def _matches_made_before(self, spans: pd.DataFrame, instants: Integers) -> Integers:
        first, end = spans["first_match"].to_numpy(), spans["end_match"].to_numpy()
        return ends_before(self.made_at, first, end, instants)

    def _divide(self, spans: pd.DataFrame, made: Integers, counts: Integers) -> pd.DataFrame:
        # Where no match was made yet, the contract takes the greatest of those to come.
        is_ahead = made == spans["first_match"]
        first_current = np.where(is_ahead, spans["end_match"], made) - 1
        owner, match = expand(made - 1, counts)
        is_first = np.diff(owner, prepend=NOTHING) != 0
        current = np.where(is_first, first_current[owner], match)
        begins = np.where(is_first, spans["start"].to_numpy()[owner], self.made_at[current])
        is_last = np.append(is_first[1:], True)
        ends = np.where(is_last, spans["end"].to_numpy()[owner], np.append(begins[1:], NEVER))
        # Of matches made at the same instant only the greatest is ever current.
        kept = np.flatnonzero(begins < ends)
        pieces = spans[["host", "is_registered"]].iloc[owner[kept]]
        return pieces.assign(
            commit=self.positions[current[kept]], start=begins[kept], end=ends[kept]
        )
