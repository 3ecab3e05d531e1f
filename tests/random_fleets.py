"""Fleets drawn at random, for the property tests.

They are drawn from pools so small that ties, shared outputs, moved hosts and commits of the future
are the rule, not the exception. Hypothesis draws a seed only, and a generator picks the values: of
the fleets that Hypothesis composes itself, four fifths are variants of one another. It can't reduce
a seed to a smaller fleet, so a case that fails is reduced here, row by row.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pprint import pformat
from random import Random
from typing import TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st

from tests.fleets import BUILD_STATUSES, BUILT, DRY_RUN, FAILED, Staging, at
from tests.plain_reading.rows import (
    BranchCommit,
    CachePush,
    Commit,
    Derivation,
    DerivationStatus,
    Environment,
    Flake,
    Fleet,
    Heartbeat,
    State,
    System,
)

# A failure in CI must be the same on every machine and on the next run.
# No shrinking: a smaller seed is no simpler.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile(
    "default",
    max_examples=150,
    deadline=None,
    phases=_PHASES,
    derandomize=bool(os.environ.get("CI")),
)
settings.register_profile("full", max_examples=1500, deadline=None, phases=_PHASES)
PROFILE = settings.get_profile(
    "full" if os.environ.get("FLAKELAG_TEST_SCALE") == "full" else "default"
)

HOSTNAMES = ("web", "Web", "db", "e\u0301tage", "\u00e9tage", "\uff5ehost", "\U0001f600host")
CONFIGURATIONS = (None, None, None, "web", "db", "", " \t\n", " web")
INSTANTS = (
    at(0, 22),
    at(0, 23.5),
    at(1, microsecond=-1),
    at(1),
    at(1, microsecond=1),
    at(1, 7),
    at(1, 12),
    at(2),
    at(2, 6),
    at(2, 6.01),
    at(3, microsecond=1),
    at(3, 18),
    at(4, 0.37),
    at(6, 12),
)
SNAPSHOTS = (at(40), *INSTANTS, *INSTANTS[7:], at(-40))
DELAYS = (
    *4 * (timedelta(0),),
    timedelta(minutes=5),
    timedelta(hours=1),
    timedelta(hours=1, microseconds=1),
    timedelta(days=90),
)
DAYS = (-2, 0, 1, 2, 3, 4, 5, 6, 9)

# Around zero, where a float no longer tells neighbours apart, and the ends of int8: no id means
# anything, and no table by id fits in memory.
FIRST_IDS = (1, 1, 1, -3, 2**53, -(2**63), 2**63 - 1000)
# Output and whether there is a `.drv` path, of one host's derivation of one commit; None for none.
COMPLETE_BUILDS = (
    *5 * (("a", True),),
    *4 * (("b", True),),
    ("c", True),
    ("c", False),
    (None, True),
)
BUILDS = (*COMPLETE_BUILDS, (None, False), None)
# Now and then a commit's configuration was evaluated twice, or as something else too.
KINDS_OF_BUILD = (*5 * (("nixos",),), ("nixos", "nixos"), ("nixos", "vm"), ("vm",))
SECOND_BUILDS = (("a", True), ("b", True), (None, True), (None, False), (None, False))


@dataclass(frozen=True)
class Sizes:
    """How many there are of each, to be drawn from."""

    flakes: tuple[int, ...]
    commits: tuple[int, ...]
    hosts: tuple[int, ...]
    states: tuple[int, ...]


ANY_SIZES = Sizes(
    flakes=(0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3),
    commits=(0, 1, 3, 5, 5, 8, 8, 8),
    hosts=(1, 2, 3, 4, 7),
    states=(0, 3, 8, 8, 16, 16),
)
# Long walks of few hosts through one flake: upgrades, rollbacks, and upgrades after these.
BUSY = Sizes(flakes=(1, 1, 2), commits=(4, 6, 8), hosts=(1, 2, 3), states=(10, 16, 24, 60))

_T = TypeVar("_T")


def _shuffled(rng: Random, values: Iterable[_T]) -> list[_T]:
    ordered = list(values)
    return rng.sample(ordered, len(ordered))


def _ids(rng: Random, count: int) -> list[int]:
    first = rng.choice(FIRST_IDS)
    return _shuffled(rng, range(first, first + count))


def _flakes(rng: Random, sizes: Sizes) -> tuple[Flake, ...]:
    names = ("edge", "edge", "core")[: rng.choice(sizes.flakes)]
    return tuple(
        Flake(flake_id, name, f"https://git.example/{number}.git")
        for number, (flake_id, name) in enumerate(zip(_ids(rng, len(names)), names, strict=True))
    )


def _commits(rng: Random, sizes: Sizes, flake_ids: Sequence[int]) -> tuple[Commit, ...]:
    # One flake's hashes are another's too, as with a fork; within a flake they are unique.
    instants = INSTANTS[: rng.choice((12, 12, 7, 4))]
    ids = _ids(rng, rng.choice(sizes.commits))
    flake_of = [rng.choice(flake_ids) for _ in ids]
    return tuple(
        Commit(
            id=commit_id,
            flake_id=flake_id,
            git_commit_hash=f"hash-{flake_of[:number].count(flake_id)}",
            commit_timestamp=rng.choice(instants),
        )
        for number, (commit_id, flake_id) in enumerate(zip(ids, flake_of, strict=True))
    )


def _derivations(
    rng: Random, names: Sequence[str], commits: Sequence[Commit]
) -> tuple[Derivation, ...]:
    older = rng.random() < 0.3
    builds = rng.choice((COMPLETE_BUILDS, COMPLETE_BUILDS, BUILDS))
    rows: list[tuple[int | None, str, str, str | None, str | None]] = []
    for name in names:
        for commit in commits:
            for again, kind in enumerate(rng.choice(KINDS_OF_BUILD)):
                build = rng.choice(SECOND_BUILDS if again else builds)
                if build is not None:
                    output = None if build[0] is None else f"/store/{name}-{build[0]}"
                    drv = f"/store/{name}-{commit.id}-{again}.drv" if build[1] else None
                    rows.append((commit.id, kind, name, drv, output))
    # One's `.drv` path can be another's output, and either of a row that is no host's.
    spare_drvs = ["/store/web-a", "/store/spare", "/store/spare.drv", "/store/other.drv"]
    for drv in rng.sample([None, None, " ", *spare_drvs], rng.choice((0, 2, 4))):
        commit_id = rng.choice((None, 404, *(commit.id for commit in commits)))
        kind = rng.choice(("nixos", "package", "vm"))
        output = rng.choice((None, "", " \t", "/store/web-a", "/store/db-b", "/store/spare"))
        rows.append((commit_id, kind, rng.choice(("web", "db")), drv, output))
    made = {commit.id: commit.commit_timestamp for commit in commits}
    return tuple(
        Derivation(
            id=derivation_id,
            commit_id=commit_id,
            derivation_type=kind,
            derivation_name=name,
            derivation_path=drv,
            store_path=None if older else output,
            status_id=rng.choice((BUILT, BUILT, BUILT, FAILED, DRY_RUN, 9)),
            completed_at=rng.choice(
                (None, rng.choice(INSTANTS), made.get(commit_id or 0, at(0)) + timedelta(hours=3))
            ),
        )
        for derivation_id, (commit_id, kind, name, drv, output) in zip(
            _ids(rng, len(rows)), rows, strict=True
        )
    )


def _systems(rng: Random, hostnames: Sequence[str], flake_ids: Sequence[int]) -> tuple[System, ...]:
    return tuple(
        System(
            id=f"00000000-{number}",
            hostname=hostname,
            environment_id=rng.choice((None, "env-1", "env-2", "env-gone")),
            is_active=rng.choice((True, True, None, None, False)),
            flake_id=rng.choice((*flake_ids, None)),
            system_configuration_name=rng.choice(CONFIGURATIONS),
            created_at=rng.choice((None, None, at(-1), *rng.choices(INSTANTS, k=2))),
        )
        for number, hostname in enumerate(hostnames)
        if rng.random() < 0.8
    )


def _states(
    rng: Random,
    sizes: Sizes,
    hostnames: Sequence[str],
    commits: Sequence[Commit],
    derivations: Sequence[Derivation],
) -> tuple[State, ...]:
    made = {commit.id: commit.commit_timestamp for commit in commits}
    paths = [(d, path) for d in derivations for path in (d.store_path, d.derivation_path) if path]
    by_commit = sorted((made[d.commit_id], path) for d, path in paths if d.commit_id in made)
    any_path = [*(path for _, path in paths), "/store/never-built", " "]
    states = []
    for state_id in _ids(rng, rng.choice(sizes.states)):
        when = rng.choice(INSTANTS)
        # Most deployments are of what was made lately; else a host's first would be its greatest.
        recent = [path for commit_made, path in by_commit if commit_made <= when][-6:]
        path = rng.choice(recent if recent and rng.random() < 0.7 else any_path)
        states.append(State(state_id, rng.choice(hostnames), path, when))
    return tuple(states)


def _fleet(rng: Random, sizes: Sizes) -> Fleet:
    fleet = _of_second_generation(rng, sizes)
    kept = rng.choice((None, None, 1, 1, 0.9, 0.5))
    return fleet if kept is None else _without_later(rng, _in_third_generation(rng, fleet), kept)


def _of_second_generation(rng: Random, sizes: Sizes) -> Fleet:
    flakes = _flakes(rng, sizes)
    flake_ids = [*(flake.id for flake in flakes for _ in range(6)), 404]
    hostnames = rng.sample(HOSTNAMES, rng.choice(sizes.hosts))
    commits = _commits(rng, sizes, flake_ids)
    configured = rng.choice(((), ("web",), ("web", "db"), ("web", "db")))
    names = sorted({*configured, *hostnames[:2]})
    derivations = _derivations(rng, names, commits)
    environments = (Environment("env-1", "production"), Environment("env-2", "lab"))
    return Fleet(
        flakes=flakes,
        commits=commits,
        derivations=derivations,
        systems=_systems(rng, hostnames, flake_ids),
        system_states=_states(rng, sizes, hostnames, commits, derivations),
        derivation_statuses=rng.choice((BUILD_STATUSES, BUILD_STATUSES, BUILD_STATUSES, (), None)),
        environments=rng.choice((environments, (), None)),
        unusable_hostnames=tuple(
            name for name in (*hostnames, "never-heard-of") if rng.random() < 0.05
        ),
        unusable_flake_ids=tuple(each for each in {*flake_ids} if rng.random() < 0.05),
    )


# Of the third generation, and of the ways that lead to it; each is there or not by itself.
STATUS_NAMES = (
    *("pending", "queued", "dry-run-pending", "dry-run-inprogress", "dry-run-failed"),
    *("build-pending", "build-inprogress", "cache-pushed", "cancelled"),
)
LATER_COLUMNS = {
    "flakes": ("deleted_at", "sync_status", "last_sync_at", "last_sync_error", "snapshot_ready_at"),
    "commits": ("evaluation_status", "source_archived"),
    "derivations": ("expected_store_path",),
    "systems": ("deployment_policy", "desired_target"),
    "derivation_statuses": ("is_terminal",),
}
LATER_TABLES = ("flake_branch_commit_snapshot", "cache_push_jobs", "agent_heartbeats")


def _in_third_generation(rng: Random, fleet: Fleet) -> Fleet:
    """The fleet with everything that the third generation added."""
    near = (*INSTANTS, *(each - timedelta(hours=2) for each in INSTANTS))
    statuses = fleet.derivation_statuses
    if statuses:
        statuses = tuple(
            replace(each, is_terminal=rng.choice((True, True, False))) for each in statuses
        ) + tuple(
            DerivationStatus(number, name, name == "cache-pushed", rng.choice((True, False)))
            for number, name in enumerate(STATUS_NAMES, start=100)
        )
    outputs = [d.store_path for d in fleet.derivations if d.store_path]
    derivations = []
    for each in fleet.derivations:
        status_id = rng.choice((each.status_id, rng.choice(range(100, 100 + len(STATUS_NAMES)))))
        is_built = rng.random() < 0.6
        expected = rng.choice((each.store_path, each.store_path, None, " ", *outputs[:2]))
        derivations.append(
            replace(
                each,
                store_path=each.store_path if is_built else rng.choice((None, "")),
                expected_store_path=expected,
                status_id=status_id,
            )
        )
    paths = [
        path for d in derivations for path in (d.store_path, d.derivation_path) if path is not None
    ]
    archived = rng.choice((0, 0.1, 0.4))
    return replace(
        fleet,
        flakes=tuple(
            replace(
                each,
                branch="main",
                deleted_at=rng.choice((*5 * (None,), rng.choice(INSTANTS))),
                sync_status=rng.choice(("synced", "synced", "syncing", "error", None, "", "odd")),
                last_sync_at=rng.choice((*rng.choices(near, k=4), None)),
                last_sync_error=rng.choice((None, "", "no route to host", "\U0001f525" * 301)),
                snapshot_ready_at=rng.choice((at(0), at(0), None)),
            )
            for each in fleet.flakes
        ),
        commits=tuple(
            replace(
                each,
                evaluation_status=rng.choice(
                    ("complete", "complete", "failed", "pending", "in_progress", None, "odd")
                ),
                source_archived=rng.choice((True,) if rng.random() < archived else (False, None)),
            )
            for each in fleet.commits
        ),
        derivations=tuple(derivations),
        systems=tuple(
            replace(
                each,
                deployment_policy=rng.choice(("manual", "auto_latest", "auto_latest", "pinned")),
                desired_target=rng.choice((None, " ", "/store/never-built", *paths[-6:])),
            )
            for each in fleet.systems
        ),
        derivation_statuses=statuses,
        flake_branch_commit_snapshot=tuple(
            BranchCommit(rng.choice((c.flake_id,) * 9 + (404,)), c.id, position, rng.choice(near))
            for position, c in enumerate(_shuffled(rng, fleet.commits)[:6])
        ),
        cache_push_jobs=tuple(
            CachePush(each.id, rng.choice((*rng.choices(near, k=3), None)))
            for each in derivations
            if rng.random() < 0.6
        ),
        agent_heartbeats=_heartbeats(rng, fleet.system_states),
    )


def _heartbeats(rng: Random, states: Sequence[State]) -> tuple[Heartbeat, ...]:
    # Of any state, though only those of last states are read; and of clocks that run fast. Mostly
    # shortly before an instant, so that not every host is silent.
    beats = set()
    for each in states:
        for when in rng.sample((*SNAPSHOTS[:1], *INSTANTS), rng.choice((0, 5, 15))):
            hours = rng.choice((-5, -4, -1, -0.25, -0.2, -0.1, 0, 99))
            beats.add(Heartbeat(each.id, when + timedelta(hours=hours)))
    beats.add(Heartbeat(404_404, at(1)))
    return tuple(_shuffled(rng, sorted(beats, key=lambda b: (b.system_state_id, b.timestamp))))


def _without_later(rng: Random, fleet: Fleet, kept: float) -> Fleet:
    """The fleet without some of the columns and tables that the third generation added."""
    changes: dict[str, object] = {}
    for table, columns in LATER_COLUMNS.items():
        lost = {name: None for name in columns if rng.random() >= kept}
        rows = getattr(fleet, table)
        if rows is not None:
            changes[table] = tuple(replace(row, **lost) for row in rows)
    changes |= {name: None for name in LATER_TABLES if rng.random() >= kept}
    return replace(fleet, **changes)  # type: ignore[arg-type]  # the names are those of Fleet


def _staging(rng: Random) -> Staging:
    return Staging(
        dictionary=rng.random() < 0.5,
        leftovers=rng.random() < 0.5,
        chunk_rows=rng.choice((0, 0, 1, 3)),
    )


def _instant(rng: Random) -> datetime:
    return rng.choice(SNAPSHOTS) + timedelta(microseconds=rng.choice((0, 1, -1)))


def _days(rng: Random) -> list[datetime]:
    snapshots = []
    for day in DAYS:
        within = [each for each in INSTANTS if at(day) < each <= at(day + 1)]
        end = rng.choice((None, at(day + 1), at(day + 1), *within))
        if end is not None:
            snapshots.append(end)
    return snapshots or [at(9)]


@dataclass(frozen=True)
class RandomCase:
    """A random fleet, and what to ask about it.

    Attributes:
        fleet: of any generation or between two, with every edge case that the contract speaks of.
        staging: how its tables are staged.
        instants: some instants at, just before or just after those of the fleet.
        days: T of some days, ascending: mostly the day's end, otherwise an instant within it.
        at_once: how much a computation that is bounded in memory may hold.
        delay: from an instant asked about to the reading of the tables.
        feed_stale_hours: when a feed is stale.
    """

    fleet: Fleet
    staging: Staging
    instants: tuple[datetime, ...]
    days: tuple[datetime, ...]
    at_once: int
    delay: timedelta
    feed_stale_hours: float


_SEEDS = st.integers(0, 2**64 - 1)


def random_cases(*sizes: Sizes) -> st.SearchStrategy[RandomCase]:
    """Cases of fleets of any of the given sizes."""

    def case_of(seed: int) -> RandomCase:
        rng = Random(seed)
        return RandomCase(
            fleet=_fleet(rng, rng.choice(sizes)),
            staging=_staging(rng),
            instants=tuple(_instant(rng) for _ in range(rng.choice((1, 2)))),
            days=tuple(_days(rng)),
            at_once=rng.choice((1, 3, 1000)),
            delay=rng.choice(DELAYS),
            feed_stale_hours=rng.choice((2, 2, 0.5, 36)),
        )

    return _SEEDS.map(case_of)


def fleets(*sizes: Sizes) -> st.SearchStrategy[Fleet]:
    """Fleets alone, by default of any size."""
    return _SEEDS.map(lambda seed: _fleet(Random(seed), Random(seed).choice(sizes or (ANY_SIZES,))))


def snapshot_instants() -> st.SearchStrategy[datetime]:
    """Instants alone."""
    return _SEEDS.map(lambda seed: _instant(Random(seed)))


def stagings() -> st.SearchStrategy[Staging]:
    """Ways of staging alone."""
    return _SEEDS.map(lambda seed: _staging(Random(seed)))


def hold(case: RandomCase, check: Callable[[RandomCase], None]) -> None:
    """Checks a case; where that fails, fails with the fewest rows that still do."""
    try:
        check(case)
    except Exception:
        smallest = _reduced(case, check)
        print(f"reduced to:\n{pformat(smallest)}")
        check(smallest)
        raise


def _reduced(case: RandomCase, check: Callable[[RandomCase], None]) -> RandomCase:
    def fails(candidate: RandomCase) -> bool:
        with suppress(Exception):
            check(candidate)
            return False
        return True

    shrinking = True
    while shrinking:
        shrinking = False
        for candidate in _smaller(case):
            if fails(candidate):
                case, shrinking = candidate, True
                break
    return case


def _smaller(case: RandomCase) -> Iterator[RandomCase]:
    if len(case.instants) > 1:
        yield from (replace(case, instants=(instant,)) for instant in case.instants)
    if len(case.days) > 1:
        yield from (replace(case, days=(day,)) for day in case.days)
    for table in fields(Fleet):
        rows = getattr(case.fleet, table.name)
        if rows:
            for start, stop in _spans(len(rows)):
                left = rows[:start] + rows[stop:]
                yield replace(case, fleet=replace(case.fleet, **{table.name: left}))


def _spans(count: int) -> Iterator[tuple[int, int]]:
    size = count
    while size:
        yield from ((start, start + size) for start in range(0, count, size))
        size //= 2
