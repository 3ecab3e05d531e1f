"""The flakes of a demo fleet and their commits.

Belongs here: when commits are made and pushed, what each of them touches, what fails to build. Does
not belong here: hosts.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.spec import MODULES, DemoFleet
from pipelines.demo.text import Integers
from pipelines.units import DAY, HOUR, MICROSECONDS

Flags = NDArray[np.bool_]

# So that the demo shows hosts that follow automatically as up to date, whatever the time of day.
_QUIET_BEFORE_UNTIL = 100 * 60
_FAST_CLOCK = 30 * DAY
_BATCH = 20 * 60


@dataclass(frozen=True)
class FlakePlan:
    """Which flake plays which part; flakes are numbered from 0.

    Attributes:
        ordinary: number of flakes that hosts follow: 0 up to this, the biggest first.
        undeployed: the flake that nobody deploys, if any.
        new: the flake whose only commits are in the future, if any.
        ahead: the flake that has a commit in the future besides its ordinary ones.
        deleted: the flake that is deleted by now, if any; nobody but a few hosts follow it.
        rewritten: the flake whose newest commit was taken back by rewriting the history, if any.
    """

    ordinary: int
    undeployed: int | None
    new: int | None
    ahead: int
    deleted: int | None = None
    rewritten: int | None = None


@dataclass(frozen=True)
class Pushes:
    """All commits, in commit order: by (flake, second, id). Seconds are since 1970.

    Attributes:
        id: as in the table.
        flake: number of the flake, from 0.
        second: of the committer's clock.
        pushed: second in which the fleet learnt of it, by its own clock.
        first, end: by flake, where its commits lie.
    """

    id: Integers
    flake: Integers
    second: Integers
    pushed: Integers
    first: Integers
    end: Integers


@dataclass(frozen=True)
class Commits(Pushes):
    """The commits with what came of them.

    Attributes:
        built: second in which what it builds is ready; deployments wait for it.
        evaluated: whether it has derivations at all.
        fails: (commit, module): whether the module's hosts fail to build.
        generation: (commit, module): how many commits have touched the module, this one included;
            equal numbers mean equal output.
        release: number of the nixpkgs update that it is based on, counting up in each flake.
        rewritten: whether it was the newest of its flake and was taken back.
    """

    built: Integers
    evaluated: Flags
    fails: Flags
    generation: Integers
    release: Integers
    rewritten: Flags

    def newest_visible(self, flake: int, until: int) -> int | None:
        """The commit that hosts of a flake should run; None where it has none yet."""
        own = np.arange(self.first[flake], self.end[flake])
        own = own[(self.second[own] < until) & ~self.rewritten[own]]
        return int(own[-1]) if len(own) else None


def plan_flakes(spec: DemoFleet) -> FlakePlan:
    """Gives the last two flakes special parts where there are enough of them."""
    if spec.flakes < 4:
        return FlakePlan(spec.flakes, None, None, ahead=0)
    if spec.is_newest:
        # Of four, the flake that nobody deploys has to be the deleted one as well.
        ordinary = max(2, spec.flakes - 3)
        return FlakePlan(
            ordinary,
            undeployed=ordinary,
            new=spec.flakes - 1,
            ahead=1,
            deleted=spec.flakes - 2,
            rewritten=1,
        )
    ordinary = spec.flakes - 2
    return FlakePlan(ordinary, undeployed=ordinary, new=ordinary + 1, ahead=1)


def apportion(total: int, parts: int, *, exponent: float = 1.0) -> Integers:
    """Splits a total by Zipf's law into descending parts, each at least 1 while the total lasts."""
    weights = np.arange(1, parts + 1, dtype=np.float64) ** -exponent
    sizes = np.maximum(1, np.floor(total * weights / weights.sum())).astype(np.int64)
    sizes[0] += max(0, total - int(sizes.sum()))
    # More parts than the total: the first ones get theirs.
    shares: Integers = np.diff(np.minimum(np.cumsum(sizes), total), prepend=0)
    return shares


def ragged(counts: NDArray[Any]) -> tuple[Integers, Integers]:
    """For each of `counts` rows of a group: the group's number, and the row's within the group."""
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - before[owner]


def draw_commits(spec: DemoFleet, plan: FlakePlan) -> Commits:
    """Draws the commits of all flakes."""
    rng = np.random.default_rng([spec.seed, 1])
    until = spec.until_us // MICROSECONDS
    with_commits = spec.flakes if plan.new is None else plan.new
    counts = np.zeros(spec.flakes, dtype=np.int64)
    counts[:with_commits] = np.maximum(1, apportion(spec.commits, with_commits))
    flake, number = ragged(counts)
    second = _working_hours(rng, len(flake), until, spec.days)
    # Each flake is there from the start, for hosts to be installed from.
    second[number == 0] = until - spec.days * DAY
    # A rebase gives a series of commits one second.
    order = np.lexsort((second, flake))
    flake, second = flake[order], second[order]
    tied = np.flatnonzero((rng.random(len(flake)) < 0.04) & (number > 1))
    second[tied] = second[tied - 1]
    pushed = second + rng.integers(2, 90, len(second))
    late = rng.random(len(second)) < 0.03
    pushed[late] += rng.integers(HOUR, 8 * HOUR, late.sum())
    pushed = np.minimum(pushed, until - _QUIET_BEFORE_UNTIL + 90)

    if plan.rewritten is not None:
        flake = np.append(flake, plan.rewritten)
        second = np.append(second, until - _QUIET_BEFORE_UNTIL + 60)
        pushed = np.append(pushed, second[-1] + 5)
    rewritten = np.arange(len(flake)) >= counts.sum()
    fast = np.array([plan.ahead] + ([plan.new] * 2 if plan.new is not None else []))
    flake = np.concatenate([flake, fast])
    fast_second = until - _QUIET_BEFORE_UNTIL - rng.integers(2 * HOUR, 40 * HOUR, len(fast))
    second = np.concatenate([second, fast_second + _FAST_CLOCK])
    pushed = np.concatenate([pushed, fast_second + 5])
    rewritten = np.append(rewritten, np.zeros(len(fast), dtype=np.bool_))
    order = np.lexsort((pushed, second, flake))
    flake, second, pushed = flake[order], second[order], pushed[order]

    ids = np.empty(len(flake), dtype=np.int64)
    ids[np.argsort(pushed, kind="stable")] = np.arange(1, len(flake) + 1)
    edges = np.searchsorted(flake, np.arange(spec.flakes + 1))
    pushes = Pushes(ids, flake, second, pushed, edges[:-1], edges[1:])
    return _with_builds(rng, until, pushes, rewritten[order])


def tips(commits: Commits, until: int) -> Integers:
    """The commits that reach hosts: others are overtaken before they are built."""
    same_flake = np.append(commits.flake[1:] == commits.flake[:-1], False)
    next_second = np.append(commits.second[1:], 0)
    overtaken = same_flake & (next_second - commits.second < _BATCH)
    visible = (commits.second < until) & ~commits.rewritten
    return np.flatnonzero(visible & commits.evaluated & ~overtaken)


def _working_hours(rng: np.random.Generator, rows: int, until: int, days: int) -> Integers:
    """Seconds at which people work, few of them at weekends, until shortly before `until`."""
    latest = until - _QUIET_BEFORE_UNTIL
    midnights = latest // DAY * DAY - np.arange(days) * DAY
    # 1970 began on a Thursday, day 3 of a week that begins on Monday.
    weekday = (midnights // DAY + 3) % 7
    weight = np.where(weekday < 5, 1.0, 0.12)
    # Today is not over.
    weight[0] *= np.clip((latest - midnights[0] - 7 * HOUR) / (9 * HOUR), 0.0, 1.0)
    day = midnights[rng.choice(days, rows, p=weight / weight.sum())]
    morning = rng.normal(10.2, 1.1, rows)
    afternoon = rng.normal(14.7, 1.5, rows)
    hour = np.clip(np.where(rng.random(rows) < 0.45, morning, afternoon), 6.0, 21.0)
    second = day + (hour * HOUR).astype(np.int64)
    return np.where(second > latest, latest - (second - latest) % HOUR, second)


def _with_builds(rng: np.random.Generator, until: int, pushes: Pushes, rewritten: Flags) -> Commits:
    flake, rows = pushes.flake, len(pushes.id)
    start = pushes.first[flake]
    position = np.arange(rows) - start
    # After the newest commit that hosts should run.
    beyond = (pushes.second >= until) | rewritten
    newest_visible = np.append(flake[1:] != flake[:-1], True) | np.append(beyond[1:], False)
    newest_visible &= ~beyond

    bump = (rng.random(rows) < 0.1) | (position == 0)
    touches = rng.random((rows, MODULES)) < np.where(rng.random(rows) < 0.35, 0.0, 0.45)[:, None]
    # What is in the future must not look like something that is not.
    touches |= (bump | beyond)[:, None]

    broken = rng.random(rows) < 0.08
    fails = touches & broken[:, None] & (rng.random((rows, MODULES)) < 0.6)
    # One flake whose newest commit does not build: what could be deployed is not the latest.
    fails |= (newest_visible & (flake == min(1, flake.max())))[:, None] & (np.arange(MODULES) == 2)
    keep_sound = (position < 3) | beyond
    fails &= ~keep_sound[:, None]
    touches |= fails

    running = np.cumsum(touches, axis=0)
    generation: Integers = running - np.where((start > 0)[:, None], running[start - 1], 0)
    evaluated = (rng.random(rows) >= 0.012) | keep_sound | newest_visible
    return Commits(
        **{field.name: getattr(pushes, field.name) for field in fields(pushes)},
        built=pushes.pushed + rng.integers(8 * 60, 26 * 60, rows),
        evaluated=evaluated,
        fails=fails,
        generation=generation,
        release=np.cumsum(bump),
        rewritten=rewritten,
    )
