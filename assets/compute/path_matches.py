"""Which commits a deployed path can stand for, and which of them it is taken to be."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    NOTHING,
    Booleans,
    Integers,
    find_text,
    integers,
    sorted_distinct,
    text_array,
)


@dataclass(frozen=True)
class _Candidates:
    """Matches grouped (by path, or by path and flake), each group in commit order."""

    groups: Integers
    positions: Integers
    _keys: Integers
    _order: CommitOrder

    @classmethod
    def of(cls, groups: Integers, positions: Integers, order: CommitOrder) -> "_Candidates":
        timestamps = order.timestamps[positions]
        by_commit_order = np.lexsort((order.commit_ids[positions], timestamps, groups))
        groups, positions = groups[by_commit_order], positions[by_commit_order]
        keys = groups * order.time_rank_count + order.time_ranks(order.timestamps[positions])
        return cls(groups, positions, keys, order)

    def best(self, groups: Integers, as_of: Integers) -> Integers:
        """Of each group, its greatest commit made before `as_of`, else its greatest at all."""
        if len(self.groups) == 0:
            return np.full(len(groups), NOTHING, np.int64)
        starts = np.searchsorted(self.groups, groups, side="left")
        ends = np.searchsorted(self.groups, groups, side="right")
        wanted = groups * self._order.time_rank_count + self._order.time_ranks(as_of)
        visible_ends = np.searchsorted(self._keys, wanted, side="left")
        chosen = np.where(visible_ends > starts, visible_ends, ends) - 1
        return np.where(ends > starts, self.positions[chosen], NOTHING)


@dataclass(frozen=True)
class PathMatches:
    """The commits that each deployed path matches; a path's *code* indexes the list it came with.

    Attributes:
        is_in_derivations: by path code, whether any derivation has the path, with a commit or not.
        commit_counts: by path code, how many distinct commits match.
    """

    is_in_derivations: Booleans
    commit_counts: Integers
    _by_path: _Candidates
    _by_path_and_flake: _Candidates
    _flake_count: int

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
        preferred_group = np.where(
            preferred_flakes == NOTHING, NOTHING, paths * self._flake_count + preferred_flakes
        )
        preferred = self._by_path_and_flake.best(preferred_group, as_of)
        return np.where(preferred == NOTHING, self._by_path.best(paths, as_of), preferred)


def match_paths(paths: pa.Array, derivations: pd.DataFrame, order: CommitOrder) -> PathMatches:
    """Matches deployed paths against `store_path` and `derivation_path` of all derivations."""
    commit_positions = order.positions(integers(derivations["commit_id"]))
    matched_paths, matched_positions = [], []
    for column in ("store_path", "derivation_path"):
        codes = find_text(text_array(derivations[column]), among=paths)
        found = codes != NOTHING
        matched_paths.append(codes[found])
        matched_positions.append(commit_positions[found])
    path_codes = np.concatenate(matched_paths)
    positions = np.concatenate(matched_positions)

    is_in_derivations = np.zeros(len(paths), np.bool_)
    is_in_derivations[path_codes] = True

    has_commit = positions != NOTHING
    commit_count = len(order.commit_ids) + 1
    distinct = sorted_distinct(path_codes[has_commit] * commit_count + positions[has_commit])
    path_codes, positions = distinct // commit_count, distinct % commit_count
    flake_count = len(order.flake_ids) + 1
    return PathMatches(
        is_in_derivations=is_in_derivations,
        commit_counts=np.bincount(path_codes, minlength=len(paths)).astype(np.int64),
        _by_path=_Candidates.of(path_codes, positions, order),
        _by_path_and_flake=_Candidates.of(
            path_codes * flake_count + order.flake[positions], positions, order
        ),
        _flake_count=flake_count,
    )
