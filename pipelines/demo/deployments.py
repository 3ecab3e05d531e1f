"""What the hosts of a demo fleet ran, and when: the events behind states and derivations.

Belongs here: waves, rings, rollbacks, rebuilds and odd cases, as arrays. Does not belong here:
paths and rows of tables.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.commits import Commits, FlakePlan, ragged, tips
from pipelines.demo.hosts import Hosts
from pipelines.demo.spec import DemoFleet, HostKind, Policy
from pipelines.demo.text import Integers
from pipelines.units import HOUR, MICROSECONDS

# By Policy: share of the releases that a host takes, and within how many hours it does.
_TAKEN_BY_POLICY = np.array([0.95, 0.9, 0.12, 0.2])
_HOURS_BY_POLICY = np.array([1.0, 2.0, 60.0, 60.0])
_RELEASE_EVERY = 3
_RING_HOURS = (0.5, 4.0, 26.0)
# No event so shortly before the fleet's present that what follows it could not.
_LAST_START = 120
# More seconds than the Unix epoch has had: flakes in one sorted array, apart.
_APART = 10**11


class Build(IntEnum):
    """Which of several builds of a commit an event runs."""

    NORMAL = 0
    REBUILT = 1  # the same commit, evaluated again: another path
    LOCAL = 2  # built on the host: its path is in no table
    WITHOUT_COMMIT = 3  # a derivation that is linked to no commit


@dataclass(frozen=True)
class Events:
    """Deployments, ordered by (host, second); one that changes no path is among them.

    Attributes:
        host: index into Hosts.
        second: since 1970.
        commit: index into Commits; for LOCAL and WITHOUT_COMMIT what it was based on.
        build: a Build.
    """

    host: Integers
    second: Integers
    commit: Integers
    build: Integers

    def where(self, chosen: NDArray[Any]) -> "Events":
        """The chosen events, by mask or index."""
        return Events(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def then(self, *others: "Events") -> "Events":
        """With further events, in order."""
        columns = {
            f.name: np.concatenate([getattr(e, f.name) for e in (self, *others)])
            for f in fields(self)
        }
        together = Events(**columns)
        return together.where(np.lexsort((together.second, together.host)))


@dataclass(frozen=True)
class Builds:
    """Builds of hosts: rows of derivations, or what events ran."""

    host: Integers
    commit: Integers
    build: Integers


@dataclass(frozen=True)
class _Stint:
    """Hosts that follow a flake for a time; row by row."""

    host: Integers
    flake: Integers
    start: Integers
    end: Integers


def draw_events(spec: DemoFleet, plan: FlakePlan, commits: Commits, hosts: Hosts) -> Events:
    """Draws every deployment of every host."""
    rng = np.random.default_rng([spec.seed, 3])
    until = spec.until_us // MICROSECONDS
    moves = hosts.kind == HostKind.MOVED_AND_DEPLOYED
    follows = np.isin(hosts.kind, (HostKind.NO_DEPLOYMENT, HostKind.NEW_FLAKE), invert=True)
    at_first, afterwards = np.flatnonzero(follows), np.flatnonzero(moves)
    first_end = np.where(moves, hosts.moved, hosts.end)
    stints = (
        _Stint(at_first, hosts.earlier_flake[at_first], hosts.start[at_first], first_end[at_first]),
        _Stint(afterwards, hosts.flake[afterwards], hosts.moved[afterwards], hosts.end[afterwards]),
    )
    tip = tips(commits, until)
    events = _NONE.then(
        *(_follow(rng, spec, commits, hosts, tip=tip, stint=stint) for stint in stints)
    )
    events = events.then(_rollbacks(rng, commits, events, until))
    events = events.then(_rebuilds(rng, events, until))
    return events.then(_odd_cases(rng, plan, commits, hosts, events=events, until=until))


def _follow(
    rng: np.random.Generator,
    spec: DemoFleet,
    commits: Commits,
    hosts: Hosts,
    *,
    tip: Integers,
    stint: _Stint,
) -> Events:
    """Lets hosts follow a flake from start to end, each by its policy."""
    edges = np.searchsorted(commits.flake[tip], np.arange(spec.flakes + 1))
    first, count = edges[stint.flake], np.diff(edges)[stint.flake]
    policy = hosts.policy[stint.host]
    rows = len(stint.host)

    # Which tips a host takes: evenly spread, lest it wait for long by mere chance.
    share = _TAKEN_BY_POLICY[policy] * rng.uniform(0.8, 1.0, rows)
    limit = spec.per_host(spec.deployments_per_host, usual=1000, budget=300_000, least=5)
    takes = np.ceil(np.minimum(share * count, limit)).astype(np.int64)
    owner, number = ragged(takes)
    taken = ((number + rng.random(len(owner))) * count[owner] / takes[owner]).astype(np.int64)
    is_last = number == takes[owner] - 1
    newest = is_last & (policy[owner] == Policy.AUTOMATIC) & (rng.random(len(owner)) < 0.93)
    taken[newest] = count[owner][newest] - 1
    staged = policy[owner] == Policy.STAGED
    taken[staged] -= taken[staged] % _RELEASE_EVERY

    # Before all that, the installation, from what was built then.
    in_order = np.maximum.accumulate(commits.flake[tip] * _APART + commits.built[tip])
    installed = np.searchsorted(in_order, stint.flake * _APART + stint.start, side="right") - 1
    owner = np.concatenate([np.arange(rows), owner])
    taken = np.concatenate([np.maximum(installed, first), first[owner[rows:]] + taken])
    taken = _last_sound(commits, tip, hosts.module[stint.host][owner], taken)
    ready = commits.built[tip[taken]]

    ring_hours = np.array(_RING_HOURS)[rng.integers(0, len(_RING_HOURS), rows)]
    hours = np.where(policy == Policy.STAGED, ring_hours, 0.0)[owner]
    hours += rng.uniform(0.05, 0.95, len(owner)) * _HOURS_BY_POLICY[policy][owner]
    second = ready + (hours * HOUR).astype(np.int64)
    second[:rows] = np.maximum(stint.start, ready[:rows])
    lived = (second >= stint.start[owner]) & (second < stint.end[owner] - _LAST_START)
    lived[:rows] = True
    order = np.lexsort((second, owner))
    order = order[lived[order]]
    owner, second, taken = owner[order], second[order], taken[order]

    # An update never goes back: what comes late is what the host has already.
    reached = np.maximum.accumulate(owner * len(tip) + taken) - owner * len(tip)
    changes = np.ones(len(owner), dtype=np.bool_)
    changes[1:] = (reached[1:] != reached[:-1]) | (owner[1:] != owner[:-1])
    return Events(
        host=stint.host[owner][changes],
        second=second[changes],
        commit=tip[reached][changes],
        build=np.full(changes.sum(), int(Build.NORMAL)),
    )


def _last_sound(commits: Commits, tip: Integers, module: Integers, taken: Integers) -> Integers:
    """For each tip that a host of a module would take, the last one that does build for it."""
    sound = np.where(commits.fails[tip], 0, np.arange(len(tip))[:, None])
    flake_start = np.searchsorted(commits.flake[tip], commits.flake[tip[taken]])
    return np.maximum(np.maximum.accumulate(sound, axis=0)[taken, module], flake_start)


def _rollbacks(rng: np.random.Generator, commits: Commits, events: Events, until: int) -> Events:
    """A few deployments are taken back; of one bad release of each flake, most are."""
    position = np.arange(len(commits.id)) - commits.first[commits.flake]
    progress = position / (commits.end - commits.first)[commits.flake]
    hosts_reached = np.bincount(events.commit, minlength=len(commits.id))
    score = np.where((progress > 0.55) & (progress < 0.9), hosts_reached, 0)
    by_score = np.lexsort((score, commits.flake))
    bad = np.zeros(len(commits.id), dtype=np.bool_)
    bad[by_score[commits.end[commits.end > commits.first] - 1]] = True

    is_taken_back = rng.random(len(events.host)) < np.where(bad[events.commit], 0.6, 0.008)
    is_taken_back[:1] = False
    is_taken_back[1:] &= events.host[1:] == events.host[:-1]
    chosen = np.flatnonzero(is_taken_back)
    return Events(
        host=events.host[chosen],
        second=_soon_after(rng, events, chosen, until),
        commit=events.commit[chosen - 1],
        build=events.build[chosen],
    )


def _rebuilds(rng: np.random.Generator, events: Events, until: int) -> Events:
    chosen = np.flatnonzero(rng.random(len(events.host)) < 0.01)
    return Events(
        host=events.host[chosen],
        second=_soon_after(rng, events, chosen, until),
        commit=events.commit[chosen],
        build=np.full(len(chosen), int(Build.REBUILT)),
    )


def _soon_after(rng: np.random.Generator, events: Events, chosen: Integers, until: int) -> Integers:
    """A second after each chosen event, within hours and before the host's next one."""
    next_second = np.append(events.second[1:], until)[chosen]
    is_last = np.append(events.host[1:] != events.host[:-1], True)[chosen]
    gap = np.where(is_last, until, next_second) - events.second[chosen]
    return events.second[chosen] + np.minimum(rng.integers(900, 3 * HOUR, len(chosen)), gap // 2)


def _odd_cases(
    rng: np.random.Generator,
    plan: FlakePlan,
    commits: Commits,
    hosts: Hosts,
    *,
    events: Events,
    until: int,
) -> Events:
    """Builds that nobody can trace, and commits of clocks that run fast."""
    is_last = np.append(events.host[1:] != events.host[:-1], True)
    kind = np.where(is_last, hosts.kind[events.host], -1)
    # For an afternoon somebody tries something out.
    tries = ~is_last & (rng.random(len(is_last)) < 0.002)
    local = np.flatnonzero(tries | (kind == HostKind.LOCAL_BUILD))
    unlinked = np.flatnonzero(kind == HostKind.NO_COMMIT)
    ahead = np.flatnonzero(kind == HostKind.AHEAD)
    fast = np.full(len(ahead), commits.end[plan.ahead] - 1)

    chosen = np.concatenate([local, unlinked, ahead])
    second = _soon_after(rng, events, chosen, until)
    second[len(chosen) - len(ahead) :] = np.maximum(
        second[len(chosen) - len(ahead) :], commits.built[fast] + rng.integers(60, HOUR, len(fast))
    )
    builds = (Build.LOCAL, Build.WITHOUT_COMMIT, Build.NORMAL)
    odd = Events(
        host=events.host[chosen],
        second=second,
        commit=np.concatenate([events.commit[local], events.commit[unlinked], fast]),
        build=np.repeat(np.array(builds, dtype=np.int64), [len(local), len(unlinked), len(ahead)]),
    )
    if plan.new is None:
        return odd
    fresh = np.flatnonzero(hosts.kind == HostKind.NEW_FLAKE)
    first = np.full(len(fresh), commits.first[plan.new])
    installed = Events(
        host=fresh,
        second=commits.built[first] + rng.integers(300, HOUR, len(fresh)),
        commit=first,
        build=np.full(len(fresh), int(Build.NORMAL)),
    )
    return odd.then(installed)


_NONE = Events(*(np.empty(0, dtype=np.int64) for _ in fields(Events)))
