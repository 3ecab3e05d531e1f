"""A plain reading of the contract's deployments."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from tests.plain_reading.rows import Commit, Fleet, State
from tests.plain_reading.words import (
    Row,
    commit_order,
    commits_of,
    flake_name,
    matching_commits,
    preferred_commit,
    seconds,
    system_of,
    visible_states,
)


@dataclass(frozen=True)
class Event:
    """One host starts to run another path."""

    state: State
    commit: Commit | None
    previous: Commit | None

    @property
    def kind(self) -> str:
        """What this event is, against the host's last earlier event that had a commit."""
        if self.commit is None:
            return "untraced"
        if self.previous is None:
            return "initial"
        if self.commit.flake_id != self.previous.flake_id:
            return "flake_change"
        if self.commit == self.previous:
            return "rebuild"
        later = commit_order(self.commit) > commit_order(self.previous)
        return "upgrade" if later else "rollback"


def with_nothing_rewritten(fleet: Fleet) -> Fleet:
    """The fleet with every commit on its branch: what happened, whatever was rewritten since."""
    return replace(fleet, commits=tuple(replace(c, source_archived=None) for c in fleet.commits))


def events_of(fleet: Fleet, hostname: str, snapshot_at: datetime) -> list[Event]:
    """Walks a host's states in order; each event's commit is resolved as of the event."""
    events: list[Event] = []
    path_before: str | None = None
    previous: Commit | None = None
    for state in visible_states(fleet, hostname, snapshot_at):
        if state.deployed_path != path_before:
            matching = matching_commits(fleet, state.deployed_path)
            flake_id = registered_flake(fleet, hostname, state.timestamp)
            commit = preferred_commit(matching, flake_id, state.timestamp)
            events.append(Event(state, commit, previous))
            previous = commit or previous
        path_before = state.deployed_path
    return events


def registered_flake(fleet: Fleet, hostname: str, instant: datetime) -> int | None:
    """The flake that a host was registered to at an instant: from `created_at` on."""
    system = system_of(fleet, hostname)
    if system is None or hostname in fleet.unusable_hostnames:
        return None
    is_there = system.created_at is None or system.created_at <= instant
    return system.flake_id if is_there else None


def is_flapping(event: Event, events: list[Event]) -> bool:
    """Whether a host, all of whose events are given, has ten or more on the event's UTC day."""
    day = event.state.timestamp.date()
    return len([e for e in events if e.state.timestamp.date() == day]) >= 10


def commits_between(
    fleet: Fleet, before: Commit, until: Commit, snapshot_at: datetime
) -> list[Commit]:
    """The commits of the flake in (before, until], in commit order.

    Of those dated T or later only the last one itself.
    """
    return [
        c
        for c in commits_of(fleet, until.flake_id)
        if commit_order(before) < commit_order(c) <= commit_order(until)
        and (c.commit_timestamp < snapshot_at or c == until)
    ]


def deployment_row(fleet: Fleet, event: Event, events: list[Event], snapshot_at: datetime) -> Row:
    """Writes one event as the contract's columns, as of the T of its own day's partition."""
    state, commit, previous = event.state, event.commit, event.previous
    included = None
    if event.kind == "upgrade" and commit and previous:
        day_ends = datetime.combine(state.timestamp.date() + timedelta(days=1), time(), UTC)
        until = min(day_ends, snapshot_at)
        included = len(commits_between(fleet, previous, commit, until))
    return {
        "deployed_at": state.timestamp,
        "hostname": state.hostname,
        "system_state_id": state.id,
        "deployment_kind": event.kind,
        "derivation_path": state.deployed_path,
        "flake_id": commit.flake_id if commit else None,
        "flake_name": flake_name(fleet, commit.flake_id) if commit else None,
        "commit_id": commit.id if commit else None,
        "commit_hash": commit.git_commit_hash if commit else None,
        "commit_timestamp": commit.commit_timestamp if commit else None,
        "previous_commit_id": previous.id if previous else None,
        "previous_commit_hash": previous.git_commit_hash if previous else None,
        "lead_time_seconds": (
            seconds(state.timestamp - commit.commit_timestamp) if commit else None
        ),
        "commits_included": included,
        "is_flapping": is_flapping(event, events),
    }


def deployments(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The events before an instant, of every host that reported, in order of time."""
    fleet = with_nothing_rewritten(fleet)
    hostnames = {s.hostname for s in fleet.system_states}
    rows = []
    for hostname in hostnames:
        events = events_of(fleet, hostname, snapshot_at)
        for event in events:
            order = (event.state.timestamp, event.state.hostname, event.state.id)
            rows.append((order, deployment_row(fleet, event, events, snapshot_at)))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]
