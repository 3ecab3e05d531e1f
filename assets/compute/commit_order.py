"""The commits of every flake in their order: what is latest, what precedes what."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.compute.encoding import (
    NOTHING,
    Integers,
    ends_before,
    integers,
    microseconds,
    sorted_distinct,
    text_array,
)


@dataclass(frozen=True)
class CommitOrder:
    """All commits, sorted by (flake, commit_timestamp, id).

    A commit's *position* is its index in these arrays, so that the commits of one flake are
    adjacent and counting commits between two of them is a subtraction. A flake's *code* is its
    index in `flake_ids`.

    Attributes:
        flake_ids: every flake id that occurs anywhere, ascending.
        flake_names: of the flakes, by code; null where the flake has no row.
        commit_ids: by position.
        hashes: by position.
        timestamps: by position, microseconds.
        flake: by position, the flake's code.
        starts: by flake code, the position of its first commit; one more at the end.
    """

    flake_ids: Integers
    flake_names: pa.Array
    commit_ids: Integers
    hashes: pa.Array
    timestamps: Integers
    flake: Integers
    starts: Integers
    _ids_ascending: Integers
    _positions_by_id: Integers

    def flake_codes(self, flake_ids: Integers) -> Integers:
        """The code of each flake id, `NOTHING` where it does not occur."""
        return _find_sorted(self.flake_ids, flake_ids)

    def positions(self, commit_ids: Integers) -> Integers:
        """The position of each commit, `NOTHING` where there is no such commit."""
        found = _find_sorted(self._ids_ascending, commit_ids)
        if len(self._positions_by_id) == 0:
            return found
        return np.where(found == NOTHING, NOTHING, self._positions_by_id[found])

    def latest_positions(self, instant: int) -> Integers:
        """By flake code, the last commit made before the instant; `NOTHING` where there is none."""
        starts = self.starts[:-1]
        bounds = np.full(len(starts), instant)
        ends = ends_before(self.timestamps, starts, self.starts[1:], bounds)
        return np.where(ends > starts, ends - 1, NOTHING)


def order_commits(
    commits: pd.DataFrame, flakes: pd.DataFrame, registered_flake_ids: Integers
) -> CommitOrder:
    """Sorts the commits; `registered_flake_ids` adds flakes that only systems refer to."""
    ids = integers(commits["id"])
    flake_ids = integers(commits["flake_id"])
    timestamps = microseconds(commits["commit_timestamp"])
    order = np.lexsort((ids, timestamps, flake_ids))
    ids, flake_ids, timestamps = ids[order], flake_ids[order], timestamps[order]

    listed_ids = integers(flakes["id"])
    known_ids = sorted_distinct(
        np.concatenate(
            [listed_ids, flake_ids, registered_flake_ids[registered_flake_ids != NOTHING]]
        )
    )
    listed_order = np.argsort(listed_ids)
    name_positions = _find_sorted(listed_ids[listed_order], known_ids)
    names = text_array(flakes["name"]).take(pa.array(listed_order))
    by_id = np.argsort(ids)
    flake = np.searchsorted(known_ids, flake_ids)
    return CommitOrder(
        flake_ids=known_ids,
        flake_names=names.take(pa.array(name_positions, mask=name_positions == NOTHING)),
        commit_ids=ids,
        hashes=text_array(commits["git_commit_hash"]).take(pa.array(order)),
        timestamps=timestamps,
        flake=flake,
        starts=np.searchsorted(flake, np.arange(len(known_ids) + 1), side="left"),
        _ids_ascending=ids[by_id],
        _positions_by_id=by_id,
    )


def _find_sorted(ascending: Integers, wanted: Integers) -> Integers:
    if len(ascending) == 0:
        return np.full(len(wanted), NOTHING, np.int64)
    candidates = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[candidates] == wanted, candidates, NOTHING)
