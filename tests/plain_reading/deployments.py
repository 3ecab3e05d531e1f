"""A plain reading of the contract's deployments."""

from dataclasses import dataclass
from datetime import datetime

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


def events_of(fleet: Fleet, hostname: str, snapshot_at: datetime) -> list[Event]:
    """Walks a host's states in order; each event's commit is resolved as of the event."""
    system = system_of(fleet, hostname)
    registered_flake = system.flake_id if system else None
    events: list[Event] = []
    path_before: str | None = None
    previous: Commit | None = None
    for state in visible_states(fleet, hostname, snapshot_at):
        if state.deployed_path != path_before:
            matching = matching_commits(fleet, state.deployed_path)
            commit = preferred_commit(matching, registered_flake, state.timestamp)
            events.append(Event(state, commit, previous))
            previous = commit or previous
        path_before = state.deployed_path
    return events


def commits_between(fleet: Fleet, before: Commit, until: Commit) -> list[Commit]:
    """The commits of the flake in (before, until], in commit order."""
    return [
        c
        for c in commits_of(fleet, until.flake_id)
        if commit_order(before) < commit_order(c) <= commit_order(until)
    ]


def deployment_row(fleet: Fleet, event: Event) -> Row:
    """Writes one event as the contract's columns."""
    state, commit, previous = event.state, event.commit, event.previous
    included = None
    if event.kind == "upgrade" and commit and previous:
        included = len(commits_between(fleet, previous, commit))
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
    }


def deployments(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    """The events before an instant, of every host that reported, in order of time."""
    hostnames = {s.hostname for s in fleet.system_states}
    events = [e for hostname in hostnames for e in events_of(fleet, hostname, snapshot_at)]
    events.sort(key=lambda e: (e.state.timestamp, e.state.hostname, e.state.id))
    return [deployment_row(fleet, event) for event in events]
