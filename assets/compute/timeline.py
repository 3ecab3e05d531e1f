"""The fleet's past, sorted once, so that its state at any instant is a few binary searches away."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.compute.commit_order import CommitOrder, order_commits
from assets.compute.encoding import (
    NOTHING,
    TEXT,
    Booleans,
    Integers,
    find_text,
    integers,
    microseconds,
    take_text,
    text_array,
    translate,
)
from assets.compute.fleet import FleetTables
from assets.compute.host_builds import HostBuilds, index_host_builds
from assets.compute.host_states import HostStates, order_states
from assets.compute.path_matches import PathMatches, match_paths

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class Hosts:
    """Every hostname that is registered or has reported, in code point order.

    Attributes:
        names: by host code.
        is_registered: whether `systems` has the hostname, visible or not.
        is_deactivated: whether its `is_active` is false.
        registered_at: microseconds; the least int64 where not recorded.
        registered_flake: flake code, `NOTHING` where there is none.
        environments: names by host code, null where not recorded.
        configuration: code of its configuration in `HostBuilds.names`.
        default_configuration: the same for a configuration that is called as the hostname.
    """

    names: pa.Array
    is_registered: Booleans
    is_deactivated: Booleans
    registered_at: Integers
    registered_flake: Integers
    environments: pa.Array
    configuration: Integers
    default_configuration: Integers

    def registered_before(self, instant: int) -> Booleans:
        """By host code, whether the host was a registered system at the instant."""
        return self.is_registered & (self.registered_at < instant)


@dataclass(frozen=True)
class FleetTimeline:
    """The tables of a fleet, indexed: commits, states, deployed paths, builds and hosts."""

    commits: CommitOrder
    states: HostStates
    paths: PathMatches
    builds: HostBuilds
    hosts: Hosts
    flakes: pd.DataFrame


def index_fleet(tables: FleetTables) -> FleetTimeline:
    """Sorts and indexes the tables of any set of flakes."""
    systems = tables.systems
    registered_flake_ids = integers(systems["flake_id"])
    commits = order_commits(tables.commits, tables.flakes, registered_flake_ids)
    hostnames = _distinct_sorted(
        text_array(systems["hostname"]), text_array(tables.system_states["hostname"])
    )
    states = order_states(tables.system_states, hostnames)
    builds = index_host_builds(tables.derivations, tables.derivation_statuses, commits)
    return FleetTimeline(
        commits=commits,
        states=states,
        paths=match_paths(states.paths, tables.derivations, commits),
        builds=builds,
        hosts=_describe_hosts(hostnames, tables, commits, builds),
        flakes=tables.flakes,
    )


def _describe_hosts(
    hostnames: pa.Array, tables: FleetTables, commits: CommitOrder, builds: HostBuilds
) -> Hosts:
    systems = tables.systems
    row = find_text(hostnames, among=text_array(systems["hostname"]))
    is_registered = row != NOTHING
    is_active = systems["is_active"].astype("boolean").to_numpy(np.bool_, na_value=True)
    configurations = _configuration_names(systems)
    default_configuration = builds.name_codes(hostnames)
    return Hosts(
        names=hostnames,
        is_registered=is_registered,
        is_deactivated=is_registered & ~_at(is_active, row, missing=True),
        registered_at=_at(microseconds(systems["created_at"]), row, missing=np.iinfo(np.int64).min),
        registered_flake=translate(row, commits.flake_codes(integers(systems["flake_id"]))),
        environments=text_array(take_text(_environment_names(tables), row)),
        configuration=np.where(
            is_registered, translate(row, builds.name_codes(configurations)), default_configuration
        ),
        default_configuration=default_configuration,
    )


def _configuration_names(systems: pd.DataFrame) -> pa.Array:
    chosen = text_array(systems["system_configuration_name"])
    is_blank = pc.equal(pc.utf8_trim_whitespace(chosen), "").fill_null(fill_value=True)
    return pc.if_else(is_blank, text_array(systems["hostname"]), chosen)


def _environment_names(tables: FleetTables) -> pa.Array:
    if tables.environments is None:
        return pa.nulls(len(tables.systems), TEXT)
    row = find_text(
        text_array(tables.systems["environment_id"]), among=text_array(tables.environments["id"])
    )
    return text_array(tables.environments["name"]).take(pa.array(row, mask=row == NOTHING))


def _distinct_sorted(*names: pa.Array) -> pa.Array:
    distinct = pa.chunked_array(names, TEXT).unique()
    return distinct.take(pc.sort_indices(distinct))


def _at(values: npt.NDArray[_Value], rows: Integers, missing: object) -> npt.NDArray[_Value]:
    result = np.full(len(rows), missing, values.dtype)
    found = rows != NOTHING
    result[found] = values[rows[found]]
    return result
