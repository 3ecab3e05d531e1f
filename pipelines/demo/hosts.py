"""The hosts of a demo fleet: what they are called, and which part each of them plays.

Belongs here: names, flakes, kinds and life spans of hosts. Does not belong here: what they run.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.commits import FlakePlan, apportion, ragged
from pipelines.demo.spec import (
    DELETED_FLAKE,
    MODULES,
    NAMING_STYLES,
    NEW_FLAKE,
    NEW_FLAKE_HOST,
    POLICY_SHARES,
    SHARES,
    UNDEPLOYED_FLAKE,
    UNREGISTERED_HOST,
    DemoFleet,
    HostKind,
    Policy,
)
from pipelines.demo.text import Integers
from pipelines.units import DAY, HOUR, MICROSECONDS


@dataclass(frozen=True)
class Hosts:
    """All hosts, the unregistered ones too; flakes are numbered from 0, seconds since 1970.

    Attributes:
        name: the hostname.
        kind: a HostKind.
        policy: a Policy.
        module: which module of its flake the host is built from.
        flake: the flake that the host is deployed from, at last.
        earlier_flake: the one before its move; equal to `flake` unless MOVED_AND_DEPLOYED.
        registered_flake: what `systems.flake_id` says, -1 for null.
        created: second of its registration.
        start: second from which it reports.
        moved: second of its move from `earlier_flake`.
        end: second until which it is deployed to.
    """

    name: list[str]
    kind: NDArray[np.int64]
    policy: Integers
    module: Integers
    flake: Integers
    earlier_flake: Integers
    registered_flake: Integers
    created: Integers
    start: Integers
    moved: Integers
    end: Integers


def flake_names(spec: DemoFleet, plan: FlakePlan) -> list[str]:
    """The names of the flakes, by number."""
    names = []
    for number in range(spec.flakes):
        style = NAMING_STYLES[number % len(NAMING_STYLES)].flake
        generation = number // len(NAMING_STYLES)
        names.append(style if generation == 0 else f"{style}-{generation + 1}")
    if plan.undeployed is not None:
        names[plan.undeployed] = UNDEPLOYED_FLAKE
    if plan.new is not None:
        names[plan.new] = NEW_FLAKE
    if plan.deleted is not None:
        names[plan.deleted] = DELETED_FLAKE
    return names


def draw_hosts(spec: DemoFleet, plan: FlakePlan) -> Hosts:
    """Draws the hosts."""
    rng = np.random.default_rng([spec.seed, 2])
    until = spec.until_us // MICROSECONDS
    rows = spec.systems
    kind = _draw_kinds(rng, spec, plan)

    flake, _ = ragged(apportion(rows, plan.ordinary, exponent=1.25))
    flake = rng.permutation(flake)
    flake[kind == HostKind.AHEAD] = plan.ahead
    if plan.new is not None:
        flake[kind == HostKind.NEW_FLAKE] = plan.new
    if plan.deleted is not None:
        flake[kind == HostKind.DELETED_FLAKE] = plan.deleted
    # Any other ordinary flake.
    other = (flake + rng.integers(1, max(2, plan.ordinary), rows)) % plan.ordinary
    registered = np.where(kind == HostKind.MOVED, other, flake)
    registered[np.isin(kind, (HostKind.NO_FLAKE, HostKind.UNREGISTERED))] = -1

    begin = until - spec.days * DAY
    start = begin + rng.integers(DAY // 2, 4 * DAY, rows)
    is_newer = rng.random(rows) < 0.15
    start[is_newer] = rng.integers(begin + 5 * DAY, until - 4 * DAY, is_newer.sum())
    created = start - rng.integers(100 * DAY, 700 * DAY, rows)
    created[is_newer] = start[is_newer] - rng.integers(600, 6 * HOUR, is_newer.sum())
    waiting = kind == HostKind.NO_DEPLOYMENT
    created[waiting] = until - rng.integers(DAY, 12 * DAY, waiting.sum())

    policy = rng.choice(len(POLICY_SHARES), rows, p=POLICY_SHARES)
    end = np.full(rows, until)
    straggling = policy == Policy.STRAGGLER
    latest_end = np.maximum(start + DAY, until - 25 * DAY)
    end[straggling] = rng.integers(start + DAY // 2, latest_end)[straggling]
    retired = kind == HostKind.DEACTIVATED
    end[retired] = rng.integers(np.maximum(start, until - spec.days * DAY // 2), until)[retired]
    return Hosts(
        name=_host_names(rng, kind, flake),
        kind=kind,
        policy=policy,
        module=rng.integers(0, MODULES, rows),
        flake=flake,
        earlier_flake=np.where(kind == HostKind.MOVED_AND_DEPLOYED, other, flake),
        registered_flake=registered,
        created=created,
        start=start,
        moved=start + (end - start) * rng.integers(30, 80, rows) // 100,
        end=end,
    )


def _draw_kinds(rng: np.random.Generator, spec: DemoFleet, plan: FlakePlan) -> NDArray[np.int64]:
    wanted: list[int] = []
    for kind, share in SHARES.items():
        if kind is HostKind.NEW_FLAKE and plan.new is None:
            continue
        if kind is HostKind.DELETED_FLAKE and plan.deleted is None:
            continue
        if kind in (HostKind.MOVED, HostKind.MOVED_AND_DEPLOYED) and plan.ordinary < 2:
            continue
        wanted += [kind] * max(1, round(spec.systems * share))
    kinds = np.full(spec.systems, int(HostKind.ORDINARY))
    special = wanted[: spec.systems // 2]
    kinds[: len(special)] = special
    return rng.permutation(kinds)


def _host_names(rng: np.random.Generator, kinds: NDArray[np.int64], flakes: Integers) -> list[str]:
    taken: defaultdict[str, int] = defaultdict(int)
    draws = rng.random((len(kinds), 2))
    names = []
    for kind, flake, (one, two) in zip(
        kinds.tolist(), flakes.tolist(), draws.tolist(), strict=True
    ):
        style = NAMING_STYLES[flake % len(NAMING_STYLES)]
        first = style.first[int(one * len(style.first))]
        stem, numbered = f"{first}-{style.second[int(two * len(style.second))]}", style.numbered
        if kind == HostKind.UNREGISTERED:
            stem, numbered = UNREGISTERED_HOST, True
        elif kind == HostKind.NEW_FLAKE:
            stem, numbered = NEW_FLAKE_HOST, True
        taken[stem] += 1
        if numbered:
            names.append(f"{stem}-{taken[stem]:02d}")
        else:
            names.append(stem if taken[stem] == 1 else f"{stem}-{taken[stem]}")
    return names
