"""The fleet's past, sorted once, so that its state at any instant is a few look-ups away."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.compute.commit_order import CommitOrder, order_commits
from assets.compute.deployment_events import trace_events
from assets.compute.encoding import TEXT, Integers, text_array
from assets.compute.fleet import FleetTables
from assets.compute.host_builds import HostBuilds, index_host_builds
from assets.compute.host_states import HostStates, order_states
from assets.compute.path_matches import PathMatches, match_paths
from assets.compute.running_commits import RunningCommits


@dataclass(frozen=True)
class FleetTimeline:
    """The tables of a fleet, indexed.

    Attributes:
        commits: the commits of every flake.
        states: what every host reported.
        paths: the commits that deployed paths match.
        builds: what was built for every configuration.
        hosts: one row a hostname that is registered or has reported, in code point order; a host's
            *code* is its row label. hostname; is_registered: whether `systems` has it, visible or
            not; is_unusable: whether it has it in a row that can't be used, and then nothing else
            is known of it; is_deactivated: whether its `is_active` is false; registered_at: null
            for since ever; registered_flake: code, `NOTHING` where there is none; environment:
            name, null where not recorded; configuration: code; default_configuration: that of a
            configuration called as the hostname.
        flakes: the source table.
        unusable_flakes: codes of the flakes whose row can't be used.
    """

    commits: CommitOrder
    states: HostStates
    paths: PathMatches
    builds: HostBuilds
    hosts: pd.DataFrame
    flakes: pd.DataFrame
    unusable_flakes: Integers

    @cached_property
    def events(self) -> pd.DataFrame:
        """Every deployment, traced when first asked for; see `trace_events`."""
        return trace_events(self.commits, self.states, self.paths, self.hosts)

    @cached_property
    def running(self) -> RunningCommits:
        """What every host ran, found out when first asked for."""
        return RunningCommits.of(self.states, self.hosts, self.paths)

    def is_registered(self, instant: pd.Timestamp) -> "pd.Series[bool]":
        """By host code, whether the host was a registered system at the instant."""
        return self.hosts["is_registered"] & ~(self.hosts["registered_at"] >= instant)


def index_fleet(tables: FleetTables) -> FleetTimeline:
    """Sorts and indexes the tables of any set of flakes."""
    commits = order_commits(tables.commits, tables.flakes, tables.systems["flake_id"])
    unusable = pd.Series(sorted(tables.unusable_hostnames), dtype="str")
    reported = [tables.systems["hostname"], tables.system_states["hostname"], unusable]
    distinct = pa.chunked_array([text_array(names) for names in reported], TEXT).unique()
    hostnames = distinct.take(pc.sort_indices(distinct))
    states = order_states(tables.system_states, hostnames)
    builds = index_host_builds(tables, commits)
    unusable_flakes = pd.Series(sorted(tables.unusable_flake_ids), dtype="Int64")
    return FleetTimeline(
        commits=commits,
        states=states,
        paths=match_paths(states.paths, tables.derivations, commits),
        builds=builds,
        hosts=_describe_hosts(hostnames, tables, commits, builds),
        flakes=tables.flakes,
        unusable_flakes=commits.flake_codes(unusable_flakes),
    )


def _describe_hosts(
    hostnames: pa.Array, tables: FleetTables, commits: CommitOrder, builds: HostBuilds
) -> pd.DataFrame:
    hostname = pd.Series(hostnames, dtype="str")
    is_unusable = hostname.isin(tables.unusable_hostnames)
    systems = tables.systems.set_index("hostname").reindex(hostname.mask(is_unusable))
    systems = systems.reset_index()
    chosen = systems["system_configuration_name"]
    configuration = chosen.where(chosen.str.strip().fillna("") != "", hostname)
    environment = pd.Series(None, hostname.index, "str")
    if tables.environments is not None:
        names = tables.environments.set_index("id")["name"]
        environment = systems["environment_id"].astype("str").map(names)
    return pd.DataFrame(
        {
            "hostname": hostname,
            "is_registered": systems["id"].notna() | is_unusable,
            "is_unusable": is_unusable,
            "is_deactivated": ~systems["is_active"].fillna(value=True).astype("bool"),
            "registered_at": systems["created_at"],
            "registered_flake": commits.flake_codes(systems["flake_id"]),
            "environment": environment.astype("str"),
            "configuration": builds.configurations(text_array(configuration)),
            "default_configuration": builds.configurations(hostnames),
        }
    )
