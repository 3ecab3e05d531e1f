"""The source tables as pandas frames: the input of every computation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa


@dataclass(frozen=True)
class FleetTables:
    """The tables of any set of flakes, read at one instant.

    Column names are those of the staged source tables (`assets.schemas.source`). Text is `str`
    (or `category` where few values repeat), nullable integers are `Int64`, booleans `boolean`,
    instants `datetime64[us, UTC]`.

    Attributes:
        flakes: one row a flake; id, name, repo_url.
        commits: one row a commit; id, flake_id, git_commit_hash, commit_timestamp.
        derivations: one row a derivation other than a package; id, commit_id, derivation_type,
            derivation_name, derivation_path, store_path, status_id, completed_at.
        systems: one row a registered system; id, hostname, environment_id, is_active, flake_id,
            system_configuration_name, created_at.
        system_states: one row a report; id, hostname, deployed_path, timestamp.
        derivation_statuses: id, name, is_success; None where the fleet does not record them.
        environments: id, name; None where the fleet does not record them.
        unusable_hostnames: of registered systems whose row, or one of whose rows, can't be used.
        unusable_flake_ids: of flakes of which the same is true.
    """

    flakes: pd.DataFrame
    commits: pd.DataFrame
    derivations: pd.DataFrame
    systems: pd.DataFrame
    system_states: pd.DataFrame
    derivation_statuses: pd.DataFrame | None = None
    environments: pd.DataFrame | None = None
    unusable_hostnames: frozenset[str] = frozenset()
    unusable_flake_ids: frozenset[int] = frozenset()

    @classmethod
    def from_arrow(
        cls, tables: Mapping[str, pa.Table], quarantine: pa.Table | None = None
    ) -> "FleetTables":
        """Takes staged Arrow tables, by name; an optional table that is missing becomes None.

        Args:
            tables: the source tables.
            quarantine: the rows of theirs that can't be used.
        """
        frames: dict[str, Any] = {name: frame_from_arrow(each) for name, each in tables.items()}
        if quarantine is not None:
            put_aside = frame_from_arrow(quarantine)
            systems = put_aside[put_aside["source_table"] == "public.systems"]
            flakes = put_aside[put_aside["source_table"] == "public.flakes"]
            frames["unusable_hostnames"] = frozenset(systems["hostname"].dropna())
            frames["unusable_flake_ids"] = frozenset(flakes["flake_id"].dropna())
        return cls(**frames)

    @property
    def built_status_ids(self) -> "pd.Series[int]":
        """Of the statuses that mean "built": a success, and not that of a dry run.

        A dry run only evaluates. Empty where build results are not recorded.
        """
        if self.derivation_statuses is None:
            return pd.Series(dtype="int64")
        statuses = self.derivation_statuses
        is_built = statuses["is_success"].fillna(value=False) & ~statuses["name"].str.startswith(
            "dry-run-"
        )
        return statuses.loc[is_built, "id"]


def frame_from_arrow(table: pa.Table) -> pd.DataFrame:
    """Turns an Arrow table into a frame without passing integers through float."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS_TYPES.get)
    return frame


_PANDAS_TYPES = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(na_value=float("nan")),
}
