"""Hosts of a demo fleet with a story each, so that every reason for being behind is there to see.

Belongs here: who has which story, which commit its host runs at last, and what became of the newest
one for it. Does not belong here: the rows that tell it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipelines.demo.commits import Commits, Flags, FlakePlan
from pipelines.demo.deployments import Build, Builds, Events
from pipelines.demo.hosts import Hosts
from pipelines.demo.source_schema import DERIVATION_STATUSES
from pipelines.demo.spec import DemoFleet, HostKind
from pipelines.demo.text import Integers
from pipelines.units import HOUR, MICROSECONDS

_STATUS_ID = {name: number for number, name, _, _ in DERIVATION_STATUSES}
_HOSTS_FOR_EACH_AGAIN = 200
_MOST_OF_EACH = 10
# Outputs that no other commit has: more than a module is ever touched.
_OF_ITS_OWN = 1_000_000
_SILENT_FOR = 6 * HOUR
# So many commits back, a host is left behind on one that is off the branch.
_WAY_BACK = 5


class Story(IntEnum):
    """Why a host does not run its flake's newest commit, or how it does."""

    NONE = 0
    NOTHING_TO_DEPLOY = 1  # runs by its .drv path what the newest commit builds too
    SILENT = 2
    PINNED = 3
    NOT_APPLIED = 4  # was told to run what it could fetch
    AWAITING_RELEASE = 5
    ROLLING_OUT = 6
    NOT_CACHED = 7
    EVALUATION_FAILED = 8
    NOT_EVALUATED = 9
    BUILD_FAILED = 10
    NOT_BUILT = 11
    NOT_IN_FLAKE = 12
    NOT_KNOWN = 13
    PREDICTED = 14  # runs the newest commit, which the central builder has not built yet
    REWRITTEN = 15  # runs a commit that was newest until the history was rewritten
    LEFT_BEHIND = 16  # runs a commit that was rewritten away some time ago


STATUS_OF_NEWEST = {
    Story.NOTHING_TO_DEPLOY: _STATUS_ID["cache-pushed"],
    Story.SILENT: _STATUS_ID["cache-pushed"],
    Story.PINNED: _STATUS_ID["cache-pushed"],
    Story.NOT_APPLIED: _STATUS_ID["cache-pushed"],
    Story.AWAITING_RELEASE: _STATUS_ID["cache-pushed"],
    Story.ROLLING_OUT: _STATUS_ID["cache-pushed"],
    Story.NOT_CACHED: _STATUS_ID["build-complete"],
    Story.EVALUATION_FAILED: _STATUS_ID["dry-run-failed"],
    Story.NOT_EVALUATED: _STATUS_ID["dry-run-pending"],
    Story.BUILD_FAILED: _STATUS_ID["build-failed"],
    Story.NOT_BUILT: _STATUS_ID["build-in-progress"],
    Story.PREDICTED: _STATUS_ID["build-in-progress"],
}
"""What became of the newest commit's derivation of the host, where it has one."""

POLICY = {
    Story.PINNED: "pinned",
    Story.NOT_APPLIED: "auto_latest",
    Story.AWAITING_RELEASE: "manual",
    Story.ROLLING_OUT: "auto_latest",
}
"""The deployment_policy of those whose story depends on it."""

_WITHOUT_DERIVATION = (Story.NOT_IN_FLAKE, Story.NOT_KNOWN)
# Told first, because few hosts are of the flake that they are about.
_OF_ONE_FLAKE = (Story.REWRITTEN, Story.NOT_KNOWN)
_IN_TURN = (*_OF_ONE_FLAKE, *(s for s in Story if s not in (Story.NONE, *_OF_ONE_FLAKE)))


@dataclass(frozen=True)
class Stories:
    """The stories, one value a host.

    Attributes:
        story: a Story.
        commit: which one the host runs at last; -1 without a story.
        newest: the newest that it should run; -1 without a story.
        second: from when it has run `commit`.
    """

    story: Integers
    commit: Integers
    newest: Integers
    second: Integers

    def told_by(self, host: Integers, commit: Integers) -> Integers:
        """The story that a host's build of a commit is part of, as the newest one."""
        return np.where(commit == self.newest[host], self.story[host], int(Story.NONE))

    def generation(self, commits: Commits, hosts: Hosts, builds: Builds) -> Integers:
        """By build, a number that is equal where the output is."""
        host, commit = builds.host, builds.commit
        touched = commits.generation[commit, hosts.module[host]]
        story = self.told_by(host, commit)
        before = commits.generation[self.commit[host], hosts.module[host]]
        told = np.where(story == Story.NOTHING_TO_DEPLOY, before, touched + _OF_ITS_OWN)
        # Else a commit beside it, which is on the branch, would be taken for the one that it runs.
        is_left = (self.story[host] == Story.LEFT_BEHIND) & (commit == self.commit[host])
        told = np.where(is_left, touched + 2 * _OF_ITS_OWN, told)
        return np.where((story == Story.NONE) & ~is_left, touched, told)

    def based_on(self, host: Integers, commit: Integers) -> Integers:
        """By build, the commit that the output is named after."""
        same = self.told_by(host, commit) == Story.NOTHING_TO_DEPLOY
        return np.where(same, self.commit[host], commit)

    def is_left_out(self, host: Integers, commit: Integers) -> Flags:
        """Which builds have no derivation."""
        return np.isin(self.told_by(host, commit), _WITHOUT_DERIVATION)

    def retell(self, events: Events) -> Events:
        """The events, with the stories' last deployments in place of what would follow."""
        told = np.flatnonzero(self.story != Story.NONE)
        kept = (self.story[events.host] == Story.NONE) | (events.second < self.second[events.host])
        last = Events(
            host=told,
            second=self.second[told],
            commit=self.commit[told],
            build=np.full(len(told), int(Build.NORMAL)),
        )
        return events.where(kept).then(last)


def no_stories(spec: DemoFleet) -> Stories:
    """A fleet in which no host has one."""
    nothing = (np.full(spec.systems, -1) for _ in range(3))
    return Stories(np.zeros(spec.systems, dtype=np.int64), *nothing)


def draw_stories(spec: DemoFleet, plan: FlakePlan, commits: Commits, hosts: Hosts) -> Stories:
    """Gives some ordinary hosts a story; older generations have no columns to tell one in."""
    stories = no_stories(spec)
    if not spec.is_newest:
        return stories
    rng = np.random.default_rng([spec.seed, 9])
    until = spec.until_us // MICROSECONDS
    ordinary = np.flatnonzero(hosts.kind == HostKind.ORDINARY)
    # The first two are special already, see `systems_table`.
    free = rng.permutation(ordinary[2:]).tolist()
    for _ in range(min(1 + spec.systems // _HOSTS_FOR_EACH_AGAIN, _MOST_OF_EACH)):
        for story in _IN_TURN:
            told = next(_tellings(story, free, spec, plan, commits=commits, hosts=hosts), None)
            if told is not None:
                host, commit, newest = told
                free.remove(host)
                ready = int(commits.built[commit]) + 300
                second = max(ready, int(hosts.start[host]) + 60)
                for values, value in zip(
                    (stories.story, stories.commit, stories.newest, stories.second),
                    (int(story), commit, newest, min(second, until - 600)),
                    strict=True,
                ):
                    values[host] = value
    return stories


def _tellings(
    story: Story,
    free: list[int],
    spec: DemoFleet,
    plan: FlakePlan,
    *,
    commits: Commits,
    hosts: Hosts,
) -> Iterator[tuple[int, int, int]]:
    """Hosts that a story can be told of, each with its commit and the newest one."""
    until = spec.until_us // MICROSECONDS
    for host in free:
        flake = int(hosts.flake[host])
        newest = commits.newest_visible(flake, until)
        if newest is None or newest == commits.first[flake]:
            continue
        if not _fits(story, flake, plan):
            continue
        commit = newest - 1
        if story is Story.PREDICTED:
            commit = newest
        elif story is Story.REWRITTEN:
            commit = newest + 1
        elif story is Story.LEFT_BEHIND:
            commit = newest - _WAY_BACK
        elif story is Story.SILENT:
            ready = np.flatnonzero(commits.built < until - _SILENT_FOR)
            ready = ready[(ready >= commits.first[flake]) & (ready < newest)]
            commit = int(ready[-1]) if len(ready) else -1
        there = max(commit, int(commits.first[flake]))
        if commit == there and hosts.created[host] <= commits.pushed[commit]:
            yield host, commit, newest


def _fits(story: Story, flake: int, plan: FlakePlan) -> bool:
    if story is Story.REWRITTEN:
        return flake == plan.rewritten
    # Of that flake's head no evaluation is recorded; see `pipelines.demo.feeds`.
    if story in _WITHOUT_DERIVATION:
        return (flake == plan.rewritten) is (story is Story.NOT_KNOWN)
    return True
