"""A plain reading of the contract's deployment_velocity."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

from tests.plain_reading.currency import currency
from tests.plain_reading.deployments import (
    Event,
    commits_between,
    events_of,
    is_flapping,
    with_nothing_rewritten,
)
from tests.plain_reading.rows import Commit, Flake, Fleet
from tests.plain_reading.status import flake_deployment_status
from tests.plain_reading.words import (
    Row,
    built_status_ids,
    commit_order,
    commits_of,
    day_described,
    percentile,
    seconds,
)


@dataclass(frozen=True)
class FirstDeployment:
    """A commit and the event that carried it, or a later one, to a first host."""

    commit: Commit
    event: Event


@dataclass(frozen=True)
class Day:
    """One day as seen at its T: from its midnight to T.

    Attributes:
        events: by hostname, those before T, of any day.
    """

    fleet: Fleet
    start: datetime
    end: datetime
    events: dict[str, list[Event]]

    def flaps(self, event: Event) -> bool:
        """Whether an event is one of those that no figure counts."""
        return is_flapping(event, self.events[event.state.hostname])

    def holds(self, instant: datetime) -> bool:
        """Whether an instant is of this day and before T."""
        return self.start <= instant < self.end

    def events_of(self, flake: Flake) -> list[Event]:
        """The day's events of a commit of a flake."""
        return [
            event
            for events in self.events.values()
            for event in events
            if event.commit
            and event.commit.flake_id == flake.id
            and self.holds(event.state.timestamp)
        ]


def deployment_velocity(
    fleet: Fleet, snapshots_at: Iterable[datetime], extracted_at: datetime
) -> list[Row]:
    """The rows of some days, each day as of its T: by date, flake name, flake id."""
    rows = []
    for snapshot_at in snapshots_at:
        flake_status = flake_deployment_status(fleet, snapshot_at, snapshot_at)
        for row in measured_velocity(fleet, [snapshot_at], extracted_at):
            (of_flake,) = [each for each in flake_status if each["flake_id"] == row["flake_id"]]
            for name, value in of_flake.items():
                is_of_reason = name.startswith("systems_behind_")
                if name.startswith(("systems_", "commits_behind_")) and not is_of_reason:
                    row[name] = value
            rows.append(row)
    return rows


def measured_velocity(
    fleet: Fleet, snapshots_at: Iterable[datetime], extracted_at: datetime
) -> list[Row]:
    """The same rows without what a status snapshot says."""
    rows: list[Row] = []
    as_made = with_nothing_rewritten(fleet)
    for snapshot_at in snapshots_at:
        start = datetime.combine(day_described(snapshot_at), time(), UTC)
        hostnames = {s.hostname for s in fleet.system_states}
        events = {hostname: events_of(as_made, hostname, snapshot_at) for hostname in hostnames}
        day = Day(as_made, start, snapshot_at, events)
        host_times = currency(fleet, start, snapshot_at, extracted_at)
        rows.extend(
            {
                "snapshot_date": day_described(snapshot_at),
                "flake_id": flake.id,
                "flake_name": flake.name,
                "snapshot_at": snapshot_at,
                **deployment_columns(day, flake),
                **lead_time_columns(day, flake),
                **host_times[flake.id].row(),
                **stage_columns(day, flake),
            }
            for flake in sorted(fleet.flakes, key=lambda f: (f.name, f.id))
        )
    return rows


def deployment_columns(day: Day, flake: Flake) -> Row:
    """What was made and deployed that day, and what failed."""
    events = [e for e in day.events_of(flake) if not day.flaps(e)]
    deployments = [e for e in events if e.kind not in ("initial", "untraced")]
    batches = [
        len(commits_between(day.fleet, e.previous, e.commit, day.end))
        for e in events
        if e.kind == "upgrade" and e.previous and e.commit
    ]
    failed = [before for before, _ in failures(day) if before in deployments]
    recoveries = [
        seconds(rollback.state.timestamp - before.state.timestamp)
        for before, rollback in failures(day)
        if rollback in events
    ]
    commits = commits_of(day.fleet, flake.id)
    return {
        "new_commits": len([c for c in commits if day.holds(c.commit_timestamp)]),
        "host_deployments": len(deployments),
        "flapping_deployments": len([e for e in day.events_of(flake) if day.flaps(e)]),
        "hosts_deployed": len({e.state.hostname for e in deployments}),
        "commits_first_deployed": len(first_deployments(day, flake)),
        "batch_size_p50": percentile(batches, 0.5),
        "batch_size_p90": percentile(batches, 0.9),
        "rollbacks": len([e for e in events if e.kind == "rollback"]),
        "change_fail_rate_rollback_proxy": (
            len(failed) / len(deployments) if deployments else None
        ),
        "failed_deployment_recovery_p50_seconds_rollback_proxy": percentile(recoveries, 0.5),
    }


def failures(day: Day) -> list[tuple[Event, Event]]:
    """The failed deployments before T, of whatever day, each with the rollback that follows it."""
    return [
        (before, after)
        for events in day.events.values()
        for before, after in pairwise(events)
        if before.kind not in ("initial", "untraced")
        and after.kind == "rollback"
        and not day.flaps(before)
    ]


def lead_time_columns(day: Day, flake: Flake) -> Row:
    """How long the day's (host, commit) pairs took, from the commit until it was live."""
    spans = [
        event.state.timestamp - commit.commit_timestamp for event, commit in live_pairs(day, flake)
    ]
    leads = [seconds(span) for span in spans if span >= timedelta(0)]
    return {
        "change_lead_time_p50_seconds": percentile(leads, 0.5),
        "change_lead_time_p75_seconds": percentile(leads, 0.75),
        "change_lead_time_p90_seconds": percentile(leads, 0.9),
        "change_lead_time_count": len(leads),
        "negative_lead_time_count": len(spans) - len(leads),
    }


def live_pairs(day: Day, flake: Flake) -> list[tuple[Event, Commit]]:
    """The day's upgrades with each commit that they were the first to carry their host to."""
    pairs = []
    for events in day.events.values():
        deployed_before: list[Commit] = []
        for event in events:
            if event.commit is None or event.commit.flake_id != flake.id:
                continue
            is_counted = event.kind == "upgrade" and not day.flaps(event)
            if is_counted and day.holds(event.state.timestamp):
                for commit in commits_of(day.fleet, flake.id):
                    is_carried = commit_order(commit) <= commit_order(event.commit)
                    is_new = all(commit_order(commit) > commit_order(c) for c in deployed_before)
                    is_known = commit.commit_timestamp < day.end or commit == event.commit
                    if is_carried and is_new and is_known:
                        pairs.append((event, commit))
            deployed_before.append(event.commit)
    return pairs


def first_deployments(day: Day, flake: Flake) -> list[FirstDeployment]:
    """The commits that count as reaching their first host that day, with the event that did it."""
    firsts = []
    for commit in commits_of(day.fleet, flake.id):
        events = [
            event
            for events in day.events.values()
            for event in events
            if event.commit
            and event.commit.flake_id == flake.id
            and commit_order(event.commit) >= commit_order(commit)
        ]
        # A commit that is not made yet when it is passed counts once it is made.
        counts_at = [
            event.state.timestamp
            if event.commit == commit
            else max(event.state.timestamp, commit.commit_timestamp)
            for event in events
        ]
        if events and day.holds(min(counts_at)):
            first = min(events, key=event_order)
            if not day.flaps(first):
                firsts.append(FirstDeployment(commit, first))
    return firsts


def event_order(event: Event) -> tuple[datetime, str, int]:
    """The order of deployments."""
    return (event.state.timestamp, event.state.hostname, event.state.id)


def stage_columns(day: Day, flake: Flake) -> Row:
    """How long the day's first deployments took to be built, and from there to a host."""
    to_built, to_host = [], []
    for first in first_deployments(day, flake):
        built = built_at(day, first.commit)
        if first.event.kind == "upgrade" and built is not None:
            to_built.append(seconds(built - first.commit.commit_timestamp))
            to_host.append(seconds(first.event.state.timestamp - built))
    row: Row = {}
    negative = 0
    for name, spans in (("commit_to_built", to_built), ("built_to_first_host", to_host)):
        kept = [span for span in spans if span >= 0]
        negative += len(spans) - len(kept)
        row[f"{name}_p50_seconds"] = percentile(kept, 0.5)
        row[f"{name}_p90_seconds"] = percentile(kept, 0.9)
        row[f"{name}_count"] = len(kept)
    return {**row, "negative_stage_count": negative}


def built_at(day: Day, commit: Commit) -> datetime | None:
    """When the first nixos derivation of a commit was built, if before T."""
    ends = [
        d.completed_at
        for d in day.fleet.derivations
        if d.commit_id == commit.id
        and d.derivation_type == "nixos"
        and d.status_id in built_status_ids(day.fleet)
        and d.completed_at is not None
        and d.completed_at < day.end
    ]
    return min(ends, default=None)
