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
    find_text,
    integers,
    sorted_distinct,
    text_array,
    text_codes,
)


@dataclass(frozen=True)
class HostBuilds:
    """The `nixos` derivations by (configuration name, commit); a name's code indexes `names`.

    Attributes:
        names: the distinct configuration names.
    """

    names: pa.Array
    _radix: int
    _output_keys: Integers
    _changes_up_to: Integers
    _success_keys: Integers | None

    @property
    def records_success(self) -> bool:
        """Whether the fleet records build results at all."""
        return self._success_keys is not None

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
        first, has_first = self._find_output(names, current)
        last, has_last = self._find_output(names, latest)
        known = has_first & has_last & (last - first == latest - current)
        if len(self._changes_up_to) == 0:
            return np.zeros(len(names), np.int64), known
        return self._changes_up_to[last] - self._changes_up_to[first], known

    def deployable_between(self, names: Integers, after: Integers, through: Integers) -> Integers:
        """How many commits in (after, through] were built successfully for the configuration."""
        ends = np.searchsorted(self._successes, self._keys(names, through), side="right")
        starts = np.searchsorted(self._successes, self._keys(names, after), side="right")
        return np.where(names == NOTHING, 0, np.maximum(ends - starts, 0))

    def latest_deployable(self, names: Integers, first: Integers, latest: Integers) -> Integers:
        """The last commit in [first, latest] that was built successfully, `NOTHING` if none."""
        if len(self._successes) == 0:
            return np.full(len(names), NOTHING, np.int64)
        ends = np.searchsorted(self._successes, self._keys(names, latest), side="right")
        candidates = self._successes[np.maximum(ends - 1, 0)]
        found = (
            (names != NOTHING)
            & (latest != NOTHING)
            & (ends > 0)
            & (candidates >= self._keys(names, first))
        )
        return np.where(found, candidates % self._radix, NOTHING)

    @property
    def _successes(self) -> Integers:
        return np.empty(0, np.int64) if self._success_keys is None else self._success_keys

    def _keys(self, names: Integers, positions: Integers) -> Integers:
        return names * self._radix + positions

    def _find_output(self, names: Integers, positions: Integers) -> tuple[Integers, Booleans]:
        if len(self._output_keys) == 0:
            return np.zeros(len(names), np.int64), np.zeros(len(names), np.bool_)
        keys = self._keys(names, positions)
        found = np.minimum(np.searchsorted(self._output_keys, keys), len(self._output_keys) - 1)
        return found, (names != NOTHING) & (self._output_keys[found] == keys)


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
    keys = keys[rows]

    # Before the last one is taken: an evaluation without a path hides no output.
    outputs = _outputs(derivations)
    built = pc.is_valid(outputs).to_numpy(zero_copy_only=False)[rows]
    is_last = np.diff(keys[built], append=NOTHING) != 0
    output_keys = keys[built][is_last]
    outputs = outputs.take(pa.array(rows[built][is_last]))
    follows = np.diff(output_keys, prepend=NOTHING) == 1
    return HostBuilds(
        names=names,
        _radix=radix,
        _output_keys=output_keys,
        _changes_up_to=np.cumsum(follows & _differs_from_previous(outputs)),
        _success_keys=(
            None
            if statuses is None
            else sorted_distinct(keys[_is_success(derivations, statuses)[rows]])
        ),
    )


def _outputs(derivations: pd.DataFrame) -> pa.Array:
    built = text_array(derivations["store_path"])
    return pc.coalesce(built, text_array(derivations["derivation_path"]))


def _differs_from_previous(values: pa.Array) -> Booleans:
    differs = np.zeros(len(values), np.bool_)
    differs[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return differs


def _is_success(derivations: pd.DataFrame, statuses: pd.DataFrame) -> Booleans:
    is_success = statuses["is_success"].to_numpy(np.bool_, na_value=False)
    successful = integers(statuses["id"])[is_success]
    return np.isin(integers(derivations["status_id"]), successful)
