"""The rows of a demo fleet's small tables: flakes, environments, commits, systems.

Belongs here, and in `derivation_rows` and `state_rows`: turning drawn arrays into Arrow tables with
the columns of the fleet database. Does not belong here: drawing what happens.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.demo.commits import Commits
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import DERIVATION_STATUSES
from pipelines.demo.spec import (
    ENVIRONMENT_SHARES,
    ENVIRONMENTS,
    NEWEST_REPOSITORY_URL,
    REPOSITORY_URL,
    DemoFleet,
    HostKind,
    Policy,
)
from pipelines.demo.stories import POLICY, Stories
from pipelines.demo.text import hex_text, join, mix, take, uuids
from pipelines.units import MICROSECONDS

_POLICIES = ("manual", "auto_latest", "pinned")
_ONE_IN_SO_MANY_NEVER_SAID = 9

INSTANT = pa.timestamp("us", tz="UTC")

# Salts: one for each kind of text, so that equal keys give unequal text.
_ENVIRONMENT, _SYSTEM, _COMMIT = range(101, 104)


def instants(microseconds: NDArray[Any], *, known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Instants from microseconds since 1970; null where not known."""
    return pa.array(microseconds, INSTANT, mask=None if known is None else ~known)


def seconds(values: NDArray[Any], *, known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Instants from whole seconds since 1970; null where not known."""
    return instants(values * MICROSECONDS, known=known)


def flakes_table(spec: DemoFleet, names: list[str]) -> pa.Table:
    """The flakes, numbered from 1."""
    url = NEWEST_REPOSITORY_URL if spec.is_newest else REPOSITORY_URL
    return pa.table(
        {
            "id": pa.array(range(1, len(names) + 1), pa.int64()),
            "name": pa.array(names, pa.string()),
            "repo_url": pa.array([url.format(name) for name in names], pa.string()),
        }
    )


def environments_table(spec: DemoFleet) -> pa.Table:
    """The environments."""
    keys = mix(spec.seed, _ENVIRONMENT, np.arange(len(ENVIRONMENTS)))
    return pa.table({"id": uuids(keys), "name": pa.array(ENVIRONMENTS, pa.string())})


def derivation_statuses_table() -> pa.Table:
    """The build statuses, as `create_source_schema` inserts them."""
    ids, names, are_terminal, are_success = zip(*DERIVATION_STATUSES, strict=True)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array(names, pa.string()),
            "is_terminal": pa.array(are_terminal),
            "is_success": pa.array(are_success),
        }
    )


def commits_table(spec: DemoFleet, commits: Commits) -> pa.Table:
    """The commits, by id."""
    table = pa.table(
        {
            "id": commits.id,
            "flake_id": commits.flake + 1,
            "git_commit_hash": hex_text(mix(spec.seed, _COMMIT, commits.id), 40),
            "commit_timestamp": seconds(commits.second),
        }
    )
    if spec.generation == "newer":
        # Newer still, `pipelines.demo.feeds` says more.
        status = take(("failed", "complete"), commits.evaluated.astype(np.int64))
        table = table.append_column("evaluation_status", status)
    return table.sort_by("id")


def configuration_names(spec: DemoFleet, hosts: Hosts) -> tuple[pa.Array, pa.Array]:
    """What `systems.system_configuration_name` says, and what it comes to by default."""
    rng = np.random.default_rng([spec.seed, 4])
    names = pa.array(hosts.name, pa.string())
    draw = rng.random(len(hosts.name))
    if spec.generation == "older":
        return pa.nulls(len(names), pa.string()), names
    # Machines that were set up anew kept their name; one field was cleared in a form.
    renamed = pa.array((draw < 0.03) & (hosts.kind != HostKind.UNREGISTERED))
    blank = pa.array((draw >= 0.03) & (draw < 0.04))
    stated = pc.if_else(renamed, join(names, "-v2"), pc.if_else(blank, "", None))
    return stated, pc.if_else(renamed, stated, names)


def systems_table(
    spec: DemoFleet, hosts: Hosts, stories: Stories, desired_targets: pa.Array
) -> pa.Table:
    """The registered systems, in the order of their registration.

    Args:
        spec: the fleet's.
        hosts: all.
        stories: theirs.
        desired_targets: by host, what it was told to run.
    """
    rng = np.random.default_rng([spec.seed, 5])
    rows = len(hosts.name)
    shares = (*ENVIRONMENT_SHARES, 1 - sum(ENVIRONMENT_SHARES))
    environment = rng.choice(len(shares), rows, p=shares)
    ordinary = np.flatnonzero(hosts.kind == HostKind.ORDINARY)
    has_instant = np.ones(rows, dtype=np.bool_)
    has_instant[ordinary[:1]] = False
    says_active = rng.random(rows) >= 0.015
    says_active[ordinary[1:2]] = False
    retired = hosts.kind == HostKind.DEACTIVATED
    table = pa.table(
        {
            "id": uuids(mix(spec.seed, _SYSTEM, np.arange(rows))),
            "hostname": pa.array(hosts.name, pa.string()),
            "environment_id": environments_table(spec)["id"].take(
                pa.array(environment, mask=environment == len(ENVIRONMENTS))
            ),
            "is_active": pa.array(~retired, mask=~says_active & ~retired),
            "flake_id": pa.array(hosts.registered_flake + 1, mask=hosts.registered_flake < 0),
            "created_at": seconds(hosts.created, known=has_instant),
        }
    )
    if spec.generation != "older":
        pinned = rng.random(rows) < 0.05
        policy = np.where(hosts.policy == Policy.AUTOMATIC, 1, np.where(pinned, 2, 0))
        known = np.ones(rows, dtype=np.bool_)
        if spec.is_newest:
            for story, name in POLICY.items():
                policy[stories.story == story] = _POLICIES.index(name)
            manual = np.flatnonzero(policy == 0)
            known[manual[::_ONE_IN_SO_MANY_NEVER_SAID]] = False
        policies = pa.array(_POLICIES, pa.string())
        table = table.append_column(
            "deployment_policy", policies.take(pa.array(policy, mask=~known))
        ).append_column("system_configuration_name", configuration_names(spec, hosts)[0])
    if spec.is_newest:
        table = table.append_column("desired_target", desired_targets)
    registered = np.flatnonzero(hosts.kind != HostKind.UNREGISTERED)
    return table.take(registered[np.argsort(hosts.created[registered], kind="stable")])
