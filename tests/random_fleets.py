"""Fleets drawn at random, for the property tests.

They are drawn from pools so small that ties, shared outputs, moved hosts and commits of the future
are the rule, not the exception.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from tests.fleets import BUILD_STATUSES, BUILT, FAILED, Staging, at
from tests.plain_reading.rows import (
    Commit,
    Derivation,
    Environment,
    Flake,
    Fleet,
    State,
    System,
)

# A failure in CI must be the same on every machine and on the next run.
settings.register_profile(
    "default", max_examples=150, deadline=None, derandomize=bool(os.environ.get("CI"))
)
settings.register_profile("full", max_examples=5000, deadline=None)
PROFILE = settings.get_profile(
    "full" if os.environ.get("FLAKELAG_TEST_SCALE") == "full" else "default"
)

HOSTNAMES = ("web", "Web", "db", "e\u0301tage", "\u00e9tage", "\uff5ehost", "\U0001f600host")
CONFIGURATIONS = (None, None, "web", "web", "db", "db", "", " \t\n", " web")
INSTANTS = (
    at(0, 22),
    at(1, microsecond=-1),
    at(1),
    at(1, microsecond=1),
    at(1, 12),
    at(2),
    at(2, 6),
    at(3, microsecond=1),
    at(4, 0.37),
    at(6, 12),
)
SNAPSHOTS = (at(40), *reversed(INSTANTS), *reversed(INSTANTS[4:]), at(-40))
# The other is where a float no longer tells neighbours apart, and no table by id fits in memory.
FIRST_IDS = (1, 1, 1, 2**53)
# Output and whether there is a `.drv` path, of one host's derivation of one commit; None for none.
BUILDS = (
    *4 * (("a", True),),
    *3 * (("b", True),),
    ("c", True),
    ("c", False),
    (None, True),
    (None, False),
    None,
)


@st.composite
def snapshot_instants(draw: st.DrawFn) -> datetime:
    """An instant at, just before or just after those of the random fleets."""
    instant: datetime = draw(st.sampled_from(SNAPSHOTS))
    return instant + timedelta(microseconds=draw(st.sampled_from((0, 1, -1))))


@st.composite
def stagings(draw: st.DrawFn) -> Staging:
    """Any way of staging the tables."""
    return Staging(
        dictionary=draw(st.booleans()),
        leftovers=draw(st.booleans()),
        chunk_rows=draw(st.sampled_from((0, 0, 1, 3))),
    )


def _ids(draw: st.DrawFn, count: int) -> list[int]:
    first = draw(st.sampled_from(FIRST_IDS))
    return draw(st.permutations(range(first, first + count)))


def _draw_flakes(draw: st.DrawFn) -> tuple[Flake, ...]:
    names = ("edge", "edge", "core")[: draw(st.sampled_from((1, 1, 2, 2, 2, 2, 3, 0)))]
    return tuple(
        Flake(flake_id, name, f"https://git.example/{number}.git")
        for number, (flake_id, name) in enumerate(zip(_ids(draw, len(names)), names, strict=True))
    )


def _draw_commits(draw: st.DrawFn, flake_ids: Sequence[int]) -> tuple[Commit, ...]:
    # One flake's hashes are another's too, as with a fork; within a flake they are unique.
    when = st.sampled_from(INSTANTS[: draw(st.sampled_from((len(INSTANTS), 4)))])
    return tuple(
        Commit(commit_id, draw(st.sampled_from(flake_ids)), f"hash-{number % 10}", draw(when))
        for number, commit_id in enumerate(_ids(draw, draw(st.sampled_from((1, 3, 5, 5, 8, 8, 0)))))
    )


def _draw_derivations(
    draw: st.DrawFn, names: Sequence[str], commits: Sequence[Commit], *, older: bool
) -> tuple[Derivation, ...]:
    completed_at = st.sampled_from((None, *INSTANTS))
    status_id = st.sampled_from((BUILT, BUILT, FAILED, 9))
    rows: list[tuple[int | None, str, str, str | None, str | None]] = []
    for name in names:
        for each in commits:
            build = draw(st.sampled_from(BUILDS))
            if build is not None:
                output = None if build[0] is None else f"/store/{name}-{build[0]}"
                drv = f"/store/{name}-{each.id}.drv" if build[1] else None
                rows.append((each.id, "nixos", name, drv, output))
    spare_paths = ["/store/web-a", "/store/spare", "/store/spare.drv", "/store/other.drv"]
    commit_id = st.sampled_from((None, 404, *(each.id for each in commits)))
    for _ in range(draw(st.sampled_from((0, 2, 4)))):
        drv = draw(st.sampled_from((None, *spare_paths)))
        if drv is not None:
            spare_paths.remove(drv)
        rows.append(
            (
                draw(commit_id),
                draw(st.sampled_from(("nixos", "package", "vm"))),
                draw(st.sampled_from(("web", "db", "e\u0301tage"))),
                drv,
                draw(st.sampled_from((None, "/store/web-a", "/store/db-b", "/store/spare"))),
            )
        )
    return tuple(
        Derivation(
            derivation_id,
            of_commit,
            derivation_type,
            name,
            drv,
            None if older else output,
            draw(status_id),
            draw(completed_at),
        )
        for derivation_id, (of_commit, derivation_type, name, drv, output) in zip(
            _ids(draw, len(rows)), rows, strict=True
        )
    )


def _draw_systems(
    draw: st.DrawFn, hostnames: Sequence[str], flake_ids: Sequence[int]
) -> tuple[System, ...]:
    flake_id = st.sampled_from((*flake_ids, None))
    is_active = st.sampled_from((True, True, None, None, False))
    created_at = st.sampled_from((None, at(-1), None, at(-1), *INSTANTS[:4]))
    return tuple(
        System(
            f"00000000-{number}",
            hostname,
            draw(st.sampled_from((None, "env-1", "env-2", "env-gone"))),
            draw(is_active),
            draw(flake_id),
            draw(st.sampled_from(CONFIGURATIONS)),
            draw(created_at),
        )
        for number, hostname in enumerate(hostnames)
        if draw(st.sampled_from((False, True, True, True)))
    )


def _draw_states(
    draw: st.DrawFn, hostnames: Sequence[str], derivations: Sequence[Derivation]
) -> tuple[State, ...]:
    known = {path for d in derivations for path in (d.store_path, d.derivation_path) if path}
    path = st.sampled_from((*sorted(known), *sorted(known), "/store/never-built"))
    hostname = st.sampled_from(hostnames)
    return tuple(
        State(state_id, draw(hostname), draw(path), draw(st.sampled_from(INSTANTS)))
        for state_id in _ids(draw, draw(st.sampled_from((0, 3, 8, 8, 16, 16))))
    )


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """A small fleet of either generation, with every edge case that the contract speaks of."""
    older = draw(st.sampled_from((False, False, True)))
    flakes = _draw_flakes(draw)
    flake_ids = [*(each.id for each in flakes for _ in range(6)), 404]
    hostnames = draw(st.permutations(HOSTNAMES))[: draw(st.sampled_from((1, 2, 3, 4, 7)))]
    commits = _draw_commits(draw, flake_ids)
    configured = draw(st.sampled_from(((), ("web",), ("web", "db"), ("web", "db"))))
    names = sorted({*configured, *hostnames[:2]})
    derivations = _draw_derivations(draw, names, commits, older=older)
    statuses = draw(st.sampled_from((None, *5 * (BUILD_STATUSES,), ())))
    environments = draw(
        st.sampled_from(
            (None, (), (Environment("env-1", "production"), Environment("env-2", "lab")))
        )
    )
    return Fleet(
        flakes=flakes,
        commits=commits,
        derivations=derivations,
        systems=_draw_systems(draw, hostnames, flake_ids),
        system_states=_draw_states(draw, hostnames, derivations),
        derivation_statuses=statuses,
        environments=environments,
    )
