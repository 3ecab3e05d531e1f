"""The fleet's past, sorted once, so that its state at any instant is a few look-ups away."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.compute.commit_order import CommitOrder, order_commits
from assets.compute.deployment_events import trace_events
from assets.compute.encoding import (
    NOTHING,
    TEXT,
    Integers,
    find_text,
    microseconds,
    text_array,
    translate,
)
from assets.compute.fleet import FleetTables
from assets.compute.host_builds import HostBuilds, index_host_builds
from assets.compute.host_states import HostStates, order_states
from assets.compute.path_matches import PathMatches, match_paths
from assets.compute.running_commits import RunningCommits
from assets.compute.vocabulary import DEPLOYMENT_POLICIES


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
            configuration called as the hostname; deployment_policy: place in `DEPLOYMENT_POLICIES`;
            desired_target: path code; both `NOTHING` where there is none.
        flakes: the source table.
        statuses: the source table of build statuses; None where the fleet does not record them.
        branch_positions: by position of a commit, how many commits of its flake's branch come after
            it and since when that is known: commits, observed_at; only where it may be believed.
        unusable_flakes: codes of the flakes whose row can't be used.
    """

    commits: CommitOrder
    states: HostStates
    paths: PathMatches
    builds: HostBuilds
    hosts: pd.DataFrame
    flakes: pd.DataFrame
    statuses: pd.DataFrame | None
    branch_positions: pd.DataFrame
    unusable_flakes: Integers

    @cached_property
    def events(self) -> pd.DataFrame:
        """Every deployment, traced when first asked for; see `trace_events`."""
        return trace_events(self.commits, self.states, self.paths, self.hosts)

    @cached_property
    def running(self) -> RunningCommits:
        """What every host ran, found out when first asked for, whatever was rewritten since."""
        return RunningCommits.of(self.states, self.hosts, self.paths)

    @cached_property
    def running_by_branch(self) -> RunningCommits:
        """The same with the commits that `system_deployment_status` takes for current."""
        return self.running.by_branch(self.commits.rows["is_on_branch"].to_numpy())

    @cached_property
    def deleted_at(self) -> Integers:
        """By flake code, when the flake was deleted, microseconds; `NEVER` where it was not."""
        known = self.flakes.set_index("id")["deleted_at"]
        return microseconds(known.reindex(self.commits.flakes["flake_id"]))

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
    states = order_states(tables.system_states, hostnames, tables.agent_heartbeats)
    # Deployed paths come first, so that their codes stay what they are in `states`.
    targets = text_array(tables.systems["desired_target"]).drop_null().unique()
    is_deployed = pc.is_in(targets, value_set=states.paths)
    paths = pa.concat_arrays([states.paths, targets.filter(pc.invert(is_deployed))])
    builds = index_host_builds(tables, commits)
    unusable_flakes = pd.Series(sorted(tables.unusable_flake_ids), dtype="Int64")
    return FleetTimeline(
        commits=commits,
        states=states,
        paths=match_paths(paths, tables, commits),
        builds=builds,
        hosts=_describe_hosts(hostnames, tables, commits, builds, paths),
        flakes=tables.flakes,
        statuses=tables.derivation_statuses,
        branch_positions=_branch_positions(tables, commits),
        unusable_flakes=commits.flake_codes(unusable_flakes),
    )


def _branch_positions(tables: FleetTables, commits: CommitOrder) -> pd.DataFrame:
    snapshot = tables.flake_branch_commit_snapshot
    if snapshot is None:
        snapshot = pd.DataFrame(columns=["flake_id", "commit_id", "position", "observed_at"])
        snapshot = snapshot.astype({"observed_at": "datetime64[us, UTC]"})
    ready = tables.flakes.loc[tables.flakes["snapshot_ready_at"].notna(), "id"]
    snapshot = snapshot[snapshot["flake_id"].isin(ready)]
    commit = commits.positions(snapshot["commit_id"])
    is_of_flake = translate(commit, commits.flake) == commits.flake_codes(snapshot["flake_id"])
    positions = pd.DataFrame(
        {
            "commits": snapshot["position"].astype("Int64"),
            "observed_at": snapshot["observed_at"],
        }
    ).set_axis(commit)
    return positions.iloc[np.flatnonzero(is_of_flake & (commit != NOTHING))]


def _describe_hosts(
    hostnames: pa.Array,
    tables: FleetTables,
    commits: CommitOrder,
    builds: HostBuilds,
    paths: pa.Array,
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
            "deployment_policy": find_text(
                text_array(systems["deployment_policy"]), among=pa.array(DEPLOYMENT_POLICIES, TEXT)
            ),
            "desired_target": find_text(text_array(systems["desired_target"]), among=paths),
        }
    )
