"""What was built for each host's configuration: which commits change it, which can be deployed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import (
    NOTHING,
    Booleans,
    Integers,
    ends_before,
    find_text,
    integers,
    sorted_distinct,
    text_chunks,
    text_codes,
)
from assets.compute.segments import Segments


@dataclass(frozen=True)
class HostBuilds:
    """The `nixos` derivations by (configuration name, commit); a name's code indexes `names`.

    Attributes:
        names: the distinct configuration names.
    """

    names: pa.Array
    _outputs: "_BuiltCommits"
    _changes_up_to: Integers
    _successes: "_BuiltCommits | None"

    @property
    def records_success(self) -> bool:
        """Whether the fleet records build results at all."""
        return self._successes is not None

    def name_codes(self, names: pa.Array) -> Integers:
        """The code of each configuration name, `NOTHING` where nothing was ever built for it."""
        return find_text(names, among=self.names)

    def changes_between(
        self, names: Integers, current: Integers, latest: Integers
    ) -> tuple[Integers, Booleans]:
        """How many commits in (current, latest] have another output than the commit before.

        Args:
            names: configuration codes.
            current: positions in the commit order.
            latest: positions of the same flake, not before `current`.

        Returns:
            The counts, and whether each is known: every commit in [current, latest] must have a
            derivation of that configuration.
        """
        first = self._outputs.rows_before(names, current)
        end = self._outputs.rows_before(names, latest + 1)
        known = end - first == latest - current + 1
        changes = np.zeros(len(names), np.int64)
        changes[known] = self._changes_up_to[end[known] - 1] - self._changes_up_to[first[known]]
        return changes, known

    def deployable_between(self, names: Integers, after: Integers, through: Integers) -> Integers:
        """How many commits in (after, through] were built successfully for the configuration."""
        if self._successes is None:
            return np.zeros(len(names), np.int64)
        ends = self._successes.rows_before(names, through + 1)
        counts: Integers = ends - self._successes.rows_before(names, after + 1)
        return np.maximum(counts, 0)

    def latest_deployable(self, names: Integers, first: Integers, latest: Integers) -> Integers:
        """The last commit in [first, latest] that was built successfully, `NOTHING` if none."""
        found = np.full(len(names), NOTHING, np.int64)
        if self._successes is not None:
            end = self._successes.rows_before(names, latest + 1)
            exists = end > self._successes.rows_before(names, first)
            found[exists] = self._successes.positions[end[exists] - 1]
        return found


@dataclass(frozen=True)
class _BuiltCommits:
    """The commits that were built for each configuration, in commit order."""

    positions: Integers
    _by_name: Segments

    @classmethod
    def of(cls, keys: Integers, radix: int, name_count: int) -> "_BuiltCommits":
        """From distinct ascending keys: configuration code times `radix` plus position."""
        name_codes, positions = np.divmod(keys, radix)
        return cls(positions, Segments.of(name_codes, name_count))

    def rows_before(self, names: Integers, positions: Integers) -> Integers:
        """One after the row of each configuration's last commit before the position."""
        starts, ends = self._by_name.starts[names], self._by_name.ends[names]
        return ends_before(self.positions, starts, ends, positions)


def index_host_builds(
    derivations: pd.DataFrame, statuses: pd.DataFrame | None, order: CommitOrder
) -> HostBuilds:
    """Indexes the `nixos` derivations; without `statuses`, build results are not recorded."""
    positions = order.positions(integers(derivations["commit_id"]))
    is_nixos = (derivations["derivation_type"] == "nixos").to_numpy(np.bool_, na_value=False)
    name_codes, names = text_codes(derivations["derivation_name"])
    radix = len(order.commit_ids) + 1
    keys = name_codes * radix + positions
    rows = np.flatnonzero(is_nixos & (positions != NOTHING))
    rows = rows[np.lexsort((integers(derivations["id"])[rows], keys[rows]))]

    # Left out before the last one is taken: an evaluation without a path hides no output.
    outputs = _outputs(derivations)
    with_output = rows[pc.is_valid(outputs).to_numpy()[rows]]
    with_output = with_output[np.diff(keys[with_output], append=NOTHING) != 0]
    output_keys = keys[with_output]
    follows = np.diff(output_keys, prepend=NOTHING) == 1
    differs = _differs_from_previous(outputs.take(pa.array(with_output)))
    successes = None
    if statuses is not None:
        successful = rows[_is_success(derivations, statuses)[rows]]
        successes = _BuiltCommits.of(sorted_distinct(keys[successful]), radix, len(names))
    return HostBuilds(
        names=names,
        _outputs=_BuiltCommits.of(output_keys, radix, len(names)),
        _changes_up_to=np.cumsum(follows & differs),
        _successes=successes,
    )


def _outputs(derivations: pd.DataFrame) -> pa.ChunkedArray:
    built, evaluated = derivations["store_path"], derivations["derivation_path"]
    # In chunks, because to join hundreds of megabytes takes longer than what follows.
    return pc.coalesce(text_chunks(built), text_chunks(evaluated))


def _differs_from_previous(values: pa.ChunkedArray) -> Booleans:
    differs = np.zeros(len(values), np.bool_)
    differs[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy()
    return differs


def _is_success(derivations: pd.DataFrame, statuses: pd.DataFrame) -> Booleans:
    is_success = statuses["is_success"].to_numpy(np.bool_, na_value=False)
    successful = integers(statuses["id"])[is_success]
    return np.isin(integers(derivations["status_id"]), successful)
