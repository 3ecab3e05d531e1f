"""Which commits a deployed path can stand for, and which of them it is taken to be."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    NOTHING,
    TEXT,
    Booleans,
    Integers,
    ends_before,
    find_text,
    integers,
    sorted_distinct,
    text_chunks,
)
from assets.compute.segments import Segments


@dataclass(frozen=True)
class Candidates:
    """Matches grouped (by path, or by path and flake), each group in commit order.

    Both ways of grouping give each path the same range of candidates.
    """

    groups: Integers
    positions: Integers
    _timestamps: Integers

    @classmethod
    def of(cls, groups: Integers, positions: Integers, order: CommitOrder) -> "Candidates":
        """Sorts matches, given as the group and the commit position of each."""
        timestamps = order.timestamps[positions]
        by_commit_order = np.lexsort((order.commit_ids[positions], timestamps, groups))
        return cls(groups[by_commit_order], positions[by_commit_order], timestamps[by_commit_order])

    def best(self, starts: Integers, ends: Integers, as_of: Integers) -> Integers:
        """Of the candidates [start, end) of one group, the last made before `as_of`, else the last.

        `NOTHING` where there is no candidate.
        """
        if len(self.positions) == 0:
            return np.full(len(starts), NOTHING, np.int64)
        visible_ends = ends_before(self._timestamps, starts, ends, as_of)
        chosen = np.where(visible_ends > starts, visible_ends, ends) - 1
        return np.where(ends > starts, self.positions[chosen], NOTHING)


@dataclass(frozen=True)
class PathMatches:
    """The commits that each deployed path matches; a path's *code* indexes the list it came with.

    Attributes:
        is_in_derivations: by path code, whether any derivation has the path, with a commit or not.
        by_path: the matches, grouped by path code.
        by_path_and_flake: the matches, grouped by path code * `flake_count` + flake code.
        flake_count: one more than the greatest flake code.
    """

    is_in_derivations: Booleans
    _segments: Segments
    by_path: Candidates
    by_path_and_flake: Candidates
    flake_count: int

    @property
    def commit_counts(self) -> Integers:
        """By path code, how many distinct commits match."""
        return self._segments.counts

    def resolve(self, paths: Integers, preferred_flakes: Integers, as_of: Integers) -> Integers:
        """The commit that each path stands for, as a position in the commit order.

        Of the commits that match: the preferred flake's before others, then those made before
        `as_of`, then the greatest in commit order.

        Args:
            paths: path codes.
            preferred_flakes: flake codes, `NOTHING` for no preference.
            as_of: microseconds, one for each path.

        Returns:
            Positions, `NOTHING` where no commit matches.
        """
        starts, ends = self._segments.starts[paths], self._segments.ends[paths]
        group = paths * self.flake_count + preferred_flakes
        groups = self.by_path_and_flake.groups
        preferred_starts = ends_before(groups, starts, ends, group)
        preferred_ends = ends_before(groups, preferred_starts, ends, group + 1)
        preferred = self.by_path_and_flake.best(preferred_starts, preferred_ends, as_of)
        return np.where(preferred == NOTHING, self.by_path.best(starts, ends, as_of), preferred)


def match_paths(paths: pa.Array, derivations: pd.DataFrame, order: CommitOrder) -> PathMatches:
    """Matches deployed paths against `store_path` and `derivation_path` of all derivations."""
    commit_positions = order.positions(integers(derivations["commit_id"]))
    columns = (derivations["store_path"], derivations["derivation_path"])
    chunks = [chunk for column in columns for chunk in text_chunks(column).chunks]
    # Looked up together, so that the deployed paths are hashed only once.
    path_codes = find_text(pa.chunked_array(chunks, TEXT), among=paths)
    found = np.flatnonzero(path_codes != NOTHING)
    path_codes, positions = path_codes[found], commit_positions[found % len(derivations)]

    is_in_derivations = np.zeros(len(paths), np.bool_)
    is_in_derivations[path_codes] = True

    has_commit = positions != NOTHING
    commit_count = len(order.commit_ids) + 1
    distinct = sorted_distinct(path_codes[has_commit] * commit_count + positions[has_commit])
    path_codes, positions = distinct // commit_count, distinct % commit_count
    flake_count = len(order.flake_ids) + 1
    return PathMatches(
        is_in_derivations=is_in_derivations,
        _segments=Segments.of(path_codes, len(paths)),
        by_path=Candidates.of(path_codes, positions, order),
        by_path_and_flake=Candidates.of(
            path_codes * flake_count + order.flake[positions], positions, order
        ),
        flake_count=flake_count,
    )
