"""The derivations of a demo fleet, and the paths that its hosts report.

Belongs here: which derivations were recorded, their build results and paths. Does not belong here:
what hosts deployed.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.demo.commits import Commits, Flags, ragged
from pipelines.demo.deployments import Build, Events
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import DERIVATION_STATUSES
from pipelines.demo.spec import NIXOS_RELEASE, PACKAGES, DemoFleet
from pipelines.demo.tables import configuration_names, seconds
from pipelines.demo.text import Integers, hex_text, join, mix, store_paths, take
from pipelines.units import DAY, HOUR, MICROSECONDS

_STATUS_ID = {name: number for number, name, _, _ in DERIVATION_STATUSES}
_SUCCESSES = [_STATUS_ID[name] for name in ("cache-pushed", "build-complete", "complete")]
_SUCCESS_SHARES = (0.85, 0.10, 0.05)

# Salts: one for each kind of text, so that equal keys give unequal text.
_REVISION, _OUTPUT, _RECIPE, _PACKAGE_OUTPUT, _PACKAGE_RECIPE, _LOCAL_OUTPUT = range(201, 207)


@dataclass(frozen=True)
class Builds:
    """Builds of hosts: rows of derivations, or what events ran."""

    host: Integers
    commit: Integers
    build: Integers


def deployed_paths(spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events) -> pa.Array:
    """The path that a host reports after each event, as the schema's generation has it."""
    builds = Builds(events.host, events.commit, events.build)
    if spec.generation == "older":
        return _recipes(spec, commits, hosts, builds)
    return _outputs(spec, commits, hosts, builds)


def derivations_table(spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events) -> pa.Table:
    """The derivations of systems and of packages, numbered in the order of their scheduling."""
    nixos = _nixos_derivations(spec, commits, hosts, events)
    together = pa.concat_tables([nixos, _package_derivations(spec, commits)]).sort_by(
        "scheduled_at"
    )
    ids = pa.array(np.arange(1, len(together) + 1))
    return together.add_column(0, "id", ids)


def _nixos_derivations(spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events) -> pa.Table:
    rng = np.random.default_rng([spec.seed, 6])
    builds, ready, deployed = _recorded(spec, commits, hosts, events)
    rows = len(ready)
    draw = rng.random(rows)
    fails = commits.fails[builds.commit, hosts.module[builds.host]] | (draw < 0.003)
    only_evaluated = (draw >= 0.003) & (draw < 0.010)
    waiting = (draw >= 0.010) & (draw < 0.012)
    status = np.select(
        [deployed, waiting, fails, only_evaluated],
        [
            _STATUS_ID["cache-pushed"],
            _STATUS_ID["dry-run-pending"],
            _STATUS_ID["build-failed"],
            _STATUS_ID["dry-run-complete"],
        ],
        default=rng.choice(_SUCCESSES, rows, p=_SUCCESS_SHARES),
    )
    is_built = np.isin(status, _SUCCESSES)
    is_linked = builds.build != Build.WITHOUT_COMMIT
    has_recipe = status != _STATUS_ID["dry-run-pending"]
    names = configuration_names(spec, hosts)[1]
    return _derivations(
        spec,
        {
            "commit_id": pa.array(commits.id[builds.commit], mask=~is_linked),
            "derivation_type": take(("nixos",), np.zeros(rows, dtype=np.int64)),
            "derivation_name": names.take(pa.array(builds.host)),
            "derivation_path": _only(_recipes(spec, commits, hosts, builds), has_recipe),
            "store_path": _only(_outputs(spec, commits, hosts, builds), is_built),
            "status_id": pa.array(status),
            "scheduled_at": seconds(ready - rng.integers(240, 450, rows)),
            "completed_at": seconds(ready - rng.integers(0, 120, rows), known=has_recipe),
        },
    )


def _recorded(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events
) -> tuple[Builds, Integers, Flags]:
    """Which builds have a row, in which second each was ready, and whether a host deployed it."""
    last = spec.per_host(spec.derivations_per_host, usual=200, budget=200_000, least=5)
    flake = np.where(hosts.registered_flake >= 0, hosts.registered_flake, hosts.flake)
    begin = np.maximum(commits.first[flake], commits.end[flake] - last)
    host, number = ragged(commits.end[flake] - begin)
    commit = begin[host] + number
    # A host that was added later is in no earlier commit.
    there = commits.evaluated[commit] & (commits.pushed[commit] >= hosts.created[host])
    seen = events.where(events.build != Build.LOCAL)

    deployed_keys, which = np.unique(
        _key(commits, seen.host, seen.commit, seen.build), return_index=True
    )
    evaluated_keys = _key(
        commits, host[there], commit[there], np.zeros(there.sum(), dtype=np.int64)
    )
    keys = np.union1d(deployed_keys, evaluated_keys)
    pair, build = np.divmod(keys, len(Build))
    builds = Builds(*np.divmod(pair, len(commits.id)), build)

    ready = commits.built[builds.commit]
    deployed_rows = np.searchsorted(keys, deployed_keys)
    special = seen.build[which] != Build.NORMAL
    ready[deployed_rows[special]] = seen.second[which][special] - 120
    deployed = np.zeros(len(keys), dtype=np.bool_)
    deployed[deployed_rows] = True
    return builds, ready, deployed


def _key(commits: Commits, host: Integers, commit: Integers, build: Integers) -> Integers:
    return (host * len(commits.id) + commit) * len(Build) + build


def _package_derivations(spec: DemoFleet, commits: Commits) -> pa.Table:
    rng = np.random.default_rng([spec.seed, 7])
    rows = spec.package_derivations
    number = np.arange(rows)
    package = rng.integers(0, len(PACKAGES), rows)
    begin = spec.until_us // MICROSECONDS - spec.days * DAY
    scheduled = rng.integers(begin, spec.until_us // MICROSECONDS - HOUR, rows)
    # Most packages are found while building a system, and linked to no commit.
    commit = rng.integers(0, len(commits.id), rows)
    is_linked = (rng.random(rows) < 0.04) & (commits.pushed[commit] < scheduled)
    names = take(PACKAGES, package)
    return _derivations(
        spec,
        {
            "commit_id": pa.array(commits.id[commit], mask=~is_linked),
            "derivation_type": take(("package",), np.zeros(rows, dtype=np.int64)),
            "derivation_name": names,
            "derivation_path": store_paths(
                mix(spec.seed, _PACKAGE_RECIPE, number), names, suffix=".drv"
            ),
            "store_path": store_paths(mix(spec.seed, _PACKAGE_OUTPUT, number), names),
            "status_id": pa.array(rng.choice(_SUCCESSES, rows, p=_SUCCESS_SHARES)),
            "scheduled_at": seconds(scheduled),
            "completed_at": seconds(scheduled + rng.integers(5, 1800, rows)),
        },
    )


def _derivations(spec: DemoFleet, columns: dict[str, pa.Array]) -> pa.Table:
    table = pa.table(columns)
    return table if spec.generation == "newer" else table.drop_columns("store_path")


def _outputs(spec: DemoFleet, commits: Commits, hosts: Hosts, builds: Builds) -> pa.Array:
    """Store paths: the same for builds of commits between which nothing touched the host."""
    host, commit, build = builds.host, builds.commit, builds.build
    generation = commits.generation[commit, hosts.module[host]]
    is_normal = build == Build.NORMAL
    only_this = np.where(is_normal, 0, commit + 1)
    keys = mix(spec.seed, _OUTPUT, host, commits.flake[commit], generation, build, only_this)
    return store_paths(keys, _system_names(spec, commits, hosts, builds))


def _recipes(spec: DemoFleet, commits: Commits, hosts: Hosts, builds: Builds) -> pa.Array:
    """Paths of `.drv` files: one for each build."""
    keys = mix(spec.seed, _RECIPE, builds.host, builds.commit, builds.build)
    return store_paths(keys, _system_names(spec, commits, hosts, builds), suffix=".drv")


def _system_names(spec: DemoFleet, commits: Commits, hosts: Hosts, builds: Builds) -> pa.Array:
    """As NixOS names a system: `nixos-system-<hostname>-<release>.<date>.<nixpkgs revision>`."""
    _, bump, release = np.unique(commits.release, return_index=True, return_inverse=True)
    day = (commits.second[bump] // DAY - 3).astype("datetime64[D]")
    dates = pa.array([date.replace("-", "") for date in np.datetime_as_string(day)], pa.string())
    revisions = hex_text(mix(spec.seed, _REVISION, bump), 7)
    versions = join(NIXOS_RELEASE, dates, revisions, between=".").take(pa.array(release))
    hostnames = pa.array(hosts.name, pa.string()).take(pa.array(builds.host))
    return join("nixos-system", hostnames, versions.take(pa.array(builds.commit)), between="-")


def _only(values: pa.Array, chosen: Flags) -> pa.Array:
    return values.take(pa.array(np.arange(len(values)), mask=~chosen))
