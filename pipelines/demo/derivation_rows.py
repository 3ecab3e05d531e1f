"""The derivations of a demo fleet, and the paths that its hosts report.

Belongs here: which derivations were recorded, their build results and paths. Does not belong here:
what hosts deployed.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.demo.commits import Commits, Flags, ragged
from pipelines.demo.deployments import Build, Builds, Events
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import DERIVATION_STATUSES
from pipelines.demo.spec import NIXOS_RELEASE, PACKAGES, DemoFleet, HostKind, Policy
from pipelines.demo.stories import POLICY, STATUS_OF_NEWEST, Stories, Story
from pipelines.demo.tables import configuration_names, seconds
from pipelines.demo.text import Integers, hex_text, join, mix, store_paths, take
from pipelines.units import DAY, HOUR, MICROSECONDS

_STATUS_ID = {name: number for number, name, _, _ in DERIVATION_STATUSES}
_SUCCESSES = [_STATUS_ID[name] for name in ("cache-pushed", "build-complete", "complete")]
_SUCCESS_SHARES = (0.85, 0.10, 0.05)

# Salts: one for each kind of text, so that equal keys give unequal text.
_REVISION, _OUTPUT, _RECIPE, _PACKAGE_OUTPUT, _PACKAGE_RECIPE, _LOCAL_OUTPUT = range(201, 207)


def deployed_paths(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> pa.Array:
    """The path that a host reports after each event, as the schema's generation has it."""
    builds = Builds(events.host, events.commit, events.build)
    if spec.generation == "older":
        return _recipes(spec, commits, hosts, builds)
    outputs = _outputs(spec, commits, hosts, builds, stories)
    # Reported by the `.drv` path, as an agent of the first generation did.
    by_recipe = (stories.story[builds.host] == Story.NOTHING_TO_DEPLOY) & (
        builds.commit == stories.commit[builds.host]
    )
    return pc.if_else(pa.array(by_recipe), _recipes(spec, commits, hosts, builds), outputs)


def desired_targets(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> pa.Array:
    """By host, the output that it was told to run; null where nobody told it."""
    told = (hosts.policy == Policy.AUTOMATIC) & (hosts.kind != HostKind.UNREGISTERED)
    told |= np.isin(stories.story, [s for s in POLICY if POLICY[s] == "auto_latest"])
    last = np.append(events.host[1:] != events.host[:-1], True)
    commit = np.full(len(hosts.name), -1)
    commit[events.host[last]] = events.commit[last]
    # The others run already what they were told to run.
    ahead = stories.story == Story.NOT_APPLIED
    commit[ahead] = stories.newest[ahead]
    host = np.arange(len(commit))
    builds = Builds(host, np.maximum(commit, 0), np.full(len(commit), int(Build.NORMAL)))
    return _only(_outputs(spec, commits, hosts, builds, stories), told & (commit >= 0))


def derivations_table(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> pa.Table:
    """The derivations of systems and of packages, numbered in the order of their scheduling."""
    nixos = _nixos_derivations(spec, commits, hosts, events, stories)
    together = pa.concat_tables([nixos, _package_derivations(spec, commits)]).sort_by(
        "scheduled_at"
    )
    ids = pa.array(np.arange(1, len(together) + 1))
    return together.add_column(0, "id", ids)


def _nixos_derivations(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> pa.Table:
    rng = np.random.default_rng([spec.seed, 6])
    builds, ready, deployed = _recorded(spec, commits, hosts, events, stories)
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
    told = stories.told_by(builds.host, builds.commit)
    for story, status_id in STATUS_OF_NEWEST.items():
        status[told == story] = status_id
    is_built = np.isin(status, _SUCCESSES)
    is_linked = builds.build != Build.WITHOUT_COMMIT
    has_recipe = ~np.isin(status, (_STATUS_ID["dry-run-pending"], _STATUS_ID["dry-run-failed"]))
    outputs = _outputs(spec, commits, hosts, builds, stories)
    # Some predictions were wrong and are cleared.
    predicted = has_recipe & ((draw < 0.95) | (told != Story.NONE))
    names = configuration_names(spec, hosts)[1]
    return _derivations(
        spec,
        {
            "commit_id": pa.array(commits.id[builds.commit], mask=~is_linked),
            "derivation_type": take(("nixos",), np.zeros(rows, dtype=np.int64)),
            "derivation_name": names.take(pa.array(builds.host)),
            "derivation_path": _only(_recipes(spec, commits, hosts, builds), has_recipe),
            "store_path": _only(outputs, is_built),
            "expected_store_path": _only(outputs, predicted),
            "status_id": pa.array(status),
            "scheduled_at": seconds(ready - rng.integers(240, 450, rows)),
            "completed_at": seconds(ready - rng.integers(0, 120, rows), known=has_recipe),
        },
    )


def _recorded(
    spec: DemoFleet, commits: Commits, hosts: Hosts, events: Events, stories: Stories
) -> tuple[Builds, Integers, Flags]:
    """Which builds have a row, in which second each was ready, and whether a host deployed it."""
    last = spec.per_host(spec.derivations_per_host, usual=200, budget=200_000, least=5)
    flake = np.where(hosts.registered_flake >= 0, hosts.registered_flake, hosts.flake)
    begin = np.maximum(commits.first[flake], commits.end[flake] - last)
    host, number = ragged(commits.end[flake] - begin)
    commit = begin[host] + number
    # A host that was added later is in no earlier commit.
    there = commits.evaluated[commit] & (commits.pushed[commit] >= hosts.created[host])
    there &= ~stories.is_left_out(host, commit)
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
            "expected_store_path": pa.nulls(rows, pa.string()),
            "status_id": pa.array(rng.choice(_SUCCESSES, rows, p=_SUCCESS_SHARES)),
            "scheduled_at": seconds(scheduled),
            "completed_at": seconds(scheduled + rng.integers(5, 1800, rows)),
        },
    )


def _derivations(spec: DemoFleet, columns: dict[str, pa.Array]) -> pa.Table:
    table = pa.table(columns)
    if spec.is_newest:
        return table
    table = table.drop_columns("expected_store_path")
    return table.drop_columns("store_path") if spec.generation == "older" else table


def _outputs(
    spec: DemoFleet, commits: Commits, hosts: Hosts, builds: Builds, stories: Stories
) -> pa.Array:
    """Store paths: the same for builds of commits between which nothing touched the host."""
    host, commit, build = builds.host, builds.commit, builds.build
    generation = stories.generation(commits, hosts, builds)
    is_normal = build == Build.NORMAL
    only_this = np.where(is_normal, 0, commit + 1)
    keys = mix(spec.seed, _OUTPUT, host, commits.flake[commit], generation, build, only_this)
    named = Builds(host, stories.based_on(host, commit), build)
    return store_paths(keys, _system_names(spec, commits, hosts, named))


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
