"""A plain reading of the contract's system_deployment_status, and of the flakes' roll-up of it."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from tests.plain_reading import behind_reason, evidence
from tests.plain_reading.rows import Commit, Fleet, State, System
from tests.plain_reading.words import (
    Row,
    built_status_ids,
    commit_order,
    configuration_name,
    day_described,
    derivations_of_path,
    flake_name,
    hours,
    is_blank,
    matching_commits,
    on_branch,
    percentile,
    system_of,
    visible_commits,
    visible_states,
)

TRIAGE_ORDER = ("no_deployment", "unknown", "behind", "up_to_date", "ahead")

UNKNOWN_DESCRIPTIONS = {
    "registration_unusable": "Registration of the system can't be used",
    "path_not_in_derivations": "Deployed path is not in derivations",
    "derivation_without_commit": "Deployed derivation is not linked to a commit",
    "flake_mismatch": "Deployed commit belongs to another flake than the system is registered to",
    "flake_unusable": "Associated flake's own row can't be used",
    "flake_deleted": "Associated flake has been deleted",
    "flake_has_no_commits": "Associated flake has no commit yet",
}


@dataclass(frozen=True)
class Standing:
    """Where one host stands at an instant, before it is written as a row."""

    hostname: str
    system: System | None
    is_registered: bool
    states: list[State]
    path: str | None
    matching: list[Commit]
    current: Commit | None
    flake_id: int | None
    commits: list[Commit]
    status: str
    unknown_reason: str | None

    @property
    def latest(self) -> Commit | None:
        """The last visible commit of the associated flake that is on the branch."""
        return self.commits[-1] if self.commits else None

    @property
    def counted(self) -> list[Commit] | None:
        """The visible commits on the branch after the current one; None where it can't be said."""
        if self.current is None or self.status in ("unknown", "no_deployment"):
            return None
        current = commit_order(self.current)
        return [c for c in self.commits if commit_order(c) > current]


def system_deployment_status(
    fleet: Fleet, snapshot_at: datetime, extracted_at: datetime, feed_stale_hours: float = 2
) -> list[Row]:
    """The rows of system_deployment_status, in the contract's order."""
    standings = [standing(fleet, hostname, snapshot_at) for hostname in hosts(fleet, snapshot_at)]
    standings.sort(key=triage_order)
    return [status_row(fleet, s, snapshot_at, extracted_at, feed_stale_hours) for s in standings]


def triage_order(host: Standing) -> tuple[int, int, str]:
    """No_deployment first, ahead last; most behind first; then hostname, by code point."""
    return (TRIAGE_ORDER.index(host.status), -len(host.counted or []), host.hostname)


def registered_system(fleet: Fleet, hostname: str, instant: datetime) -> System | None:
    """The registration of a hostname that is visible at an instant."""
    system = system_of(fleet, hostname)
    if system is None or (system.created_at is not None and system.created_at >= instant):
        return None
    return system


def hosts(fleet: Fleet, instant: datetime) -> set[str]:
    """The hostnames that have a row.

    Those registered and visible, or reporting, and never deactivated; and those whose registration
    can't be used.
    """
    registered = {
        s.hostname for s in fleet.systems if registered_system(fleet, s.hostname, instant)
    }
    reporting = {s.hostname for s in fleet.system_states if s.timestamp < instant}
    deactivated = {s.hostname for s in fleet.systems if s.is_active is False}
    return (registered | reporting) - deactivated | set(fleet.unusable_hostnames)


def standing(fleet: Fleet, hostname: str, instant: datetime) -> Standing:
    """Finds path, commit, flake and status of one host."""
    is_unusable = hostname in fleet.unusable_hostnames
    system = None if is_unusable else registered_system(fleet, hostname, instant)
    states = visible_states(fleet, hostname, instant)
    path = states[-1].deployed_path if states else None
    flake_id = system.flake_id if system else None
    matching = [] if path is None else matching_commits(fleet, path)
    current = current_commit(matching, flake_id, instant)
    if flake_id is None and current is not None and not is_unusable:
        flake_id = current.flake_id
    commits = on_branch(visible_commits(fleet, flake_id, instant))
    if is_unusable:
        reason: str | None = "registration_unusable"
    elif path is None:
        reason = None
    else:
        reason = unknown_reason(fleet, path, current, flake_id, commits, instant)
    if reason is not None:
        status = "unknown"
    elif path is None or current is None:
        status = "no_deployment"
    elif current == commits[-1]:
        status = "up_to_date"
    elif commit_order(current) < commit_order(commits[-1]):
        status = "behind"
    else:
        status = "ahead"
    return Standing(
        hostname,
        system,
        is_unusable or system is not None,
        states,
        path,
        matching,
        current,
        flake_id,
        commits,
        status,
        reason,
    )


def current_commit(
    matching: list[Commit], flake_id: int | None, instant: datetime
) -> Commit | None:
    """The associated flake's before others, on the branch before others, visible before others."""

    def preference(commit: Commit) -> tuple[bool, bool, bool, tuple[datetime, int]]:
        return (
            commit.flake_id == flake_id,
            not commit.source_archived,
            commit.commit_timestamp < instant,
            commit_order(commit),
        )

    return max(matching, key=preference, default=None)


def unknown_reason(
    fleet: Fleet,
    path: str,
    current: Commit | None,
    flake_id: int | None,
    commits: list[Commit],
    instant: datetime,
) -> str | None:
    """The first reason that applies, registration_unusable aside."""
    if not derivations_of_path(fleet, path):
        return "path_not_in_derivations"
    if current is None:
        return "derivation_without_commit"
    if current.flake_id != flake_id:
        return "flake_mismatch"
    if flake_id in fleet.unusable_flake_ids:
        return "flake_unusable"
    if any(
        flake.id == flake_id and flake.deleted_at is not None and flake.deleted_at <= instant
        for flake in fleet.flakes
    ):
        return "flake_deleted"
    if not commits:
        return "flake_has_no_commits"
    return None


def description(host: Standing) -> str:
    """The status in words."""
    if host.unknown_reason is not None:
        return UNKNOWN_DESCRIPTIONS[host.unknown_reason]
    return {
        "no_deployment": "System registered but never deployed",
        "up_to_date": "Running latest commit",
        "behind": f"Behind by {len(host.counted or [])} commit(s)",
        "ahead": "Running newer commit than expected",
    }[host.status]


def deployment_time(states: list[State]) -> datetime | None:
    """When the current unbroken run of the same path was first reported."""
    first = None
    for state in reversed(states):
        if state.deployed_path != states[-1].deployed_path:
            break
        first = state.timestamp
    return first


def output_of(fleet: Fleet, commit: Commit, name: str) -> str | None:
    """What a commit's nixos derivation of a configuration builds: None where there is none.

    Of several derivations, the one with the greatest id; one without any path is no derivation, and
    a blank text is no path.
    """
    outputs = {}
    for d in fleet.derivations:
        candidates = (d.store_path, d.expected_store_path, d.derivation_path)
        paths = [path for path in candidates if not is_blank(path)]
        is_of_host = d.derivation_type == "nixos" and d.derivation_name == name
        if d.commit_id == commit.id and is_of_host and paths:
            outputs[d.id] = paths[0]
    return outputs[max(outputs)] if outputs else None


def commits_behind_effective(fleet: Fleet, host: Standing) -> int | None:
    """How many of the counted commits change this host's output."""
    if host.counted is None or host.current is None:
        return None
    name = configuration_name(host.system, host.hostname)
    outputs = [output_of(fleet, commit, name) for commit in (host.current, *host.counted)]
    if None in outputs:
        return None
    changes = 0
    for before, after in pairwise(outputs):
        if before != after:
            changes += 1
    return changes


def is_deployable(fleet: Fleet, commit: Commit, name: str) -> bool:
    """Whether a commit has a built nixos derivation of a configuration."""
    return any(
        d.commit_id == commit.id
        and d.derivation_type == "nixos"
        and d.derivation_name == name
        and d.status_id in built_status_ids(fleet)
        for d in fleet.derivations
    )


def status_row(
    fleet: Fleet,
    host: Standing,
    snapshot_at: datetime,
    extracted_at: datetime,
    feed_stale_hours: float,
) -> Row:
    """Writes one host's standing as the contract's columns."""
    current, latest, counted, system = host.current, host.latest, host.counted, host.system
    name = configuration_name(system, host.hostname)
    behind_since = counted[0].commit_timestamp if host.status == "behind" and counted else None
    deployable = [c for c in host.commits if is_deployable(fleet, c, name)]
    builds_recorded = fleet.derivation_statuses is not None
    environment_id = system.environment_id if system else None
    environments = {e.id: e.name for e in fleet.environments or ()}
    return {
        "hostname": host.hostname,
        "deployment_status": host.status,
        "status_description": description(host),
        "unknown_reason": host.unknown_reason,
        "commits_behind": None if counted is None else len(counted),
        "commits_behind_effective": commits_behind_effective(fleet, host),
        "commits_behind_deployable": (
            len([c for c in counted if c in deployable])
            if builds_recorded and counted is not None
            else None
        ),
        "hours_behind": None if behind_since is None else hours(snapshot_at - behind_since),
        "behind_since": behind_since,
        "flake_id": host.flake_id,
        "flake_name": flake_name(fleet, host.flake_id),
        "current_flake_name": flake_name(fleet, current.flake_id) if current else None,
        "current_commit_hash": current.git_commit_hash if current else None,
        "current_commit_timestamp": current.commit_timestamp if current else None,
        "latest_commit_hash": latest.git_commit_hash if latest else None,
        "latest_commit_timestamp": latest.commit_timestamp if latest else None,
        "latest_deployable_commit_hash": deployable[-1].git_commit_hash if deployable else None,
        "matching_commit_count": (None if host.status == "no_deployment" else len(host.matching)),
        "current_derivation_path": host.path,
        "deployment_time": deployment_time(host.states),
        "last_reported_at": host.states[-1].timestamp if host.states else None,
        **evidence.feed(fleet, host.flake_id, snapshot_at, extracted_at, feed_stale_hours),
        "commits_behind_branch": evidence.commits_behind_branch(
            fleet, None if counted is None else current, snapshot_at, extracted_at
        ),
        "last_seen_at": evidence.last_seen_at(fleet, host.states, snapshot_at, extracted_at),
        "liveness": evidence.liveness(fleet, host.states, snapshot_at, extracted_at),
        "behind_reason": reason_of(fleet, host, snapshot_at, extracted_at),
        "is_registered": host.is_registered,
        "environment": None if environment_id is None else environments.get(environment_id),
        "snapshot_date": day_described(snapshot_at),
        "snapshot_at": snapshot_at,
        "extracted_at": extracted_at,
    }


def reason_of(
    fleet: Fleet, host: Standing, snapshot_at: datetime, extracted_at: datetime
) -> str | None:
    """The behind_reason of a host; None unless it is behind."""
    if host.status != "behind" or not evidence.is_known(snapshot_at, extracted_at):
        return None
    return behind_reason.behind_reason(
        fleet,
        system=host.system,
        name=configuration_name(host.system, host.hostname),
        later=host.counted or [],
        effective=commits_behind_effective(fleet, host),
        liveness=evidence.liveness(fleet, host.states, snapshot_at, extracted_at),
        last_seen_at=evidence.last_seen_at(fleet, host.states, snapshot_at, extracted_at),
    )


def flake_deployment_status(
    fleet: Fleet, snapshot_at: datetime, extracted_at: datetime, feed_stale_hours: float = 2
) -> list[Row]:
    """The rows of flake_deployment_status: most systems behind first, then name, then id."""
    standings = [standing(fleet, hostname, snapshot_at) for hostname in hosts(fleet, snapshot_at)]
    rows: list[tuple[tuple[int, str, int], Row]] = []
    for flake in fleet.flakes:
        systems = [s for s in standings if s.flake_id == flake.id]
        behind = [len(s.counted) for s in systems if s.counted is not None]
        commits = on_branch(visible_commits(fleet, flake.id, snapshot_at))
        reasons = [reason_of(fleet, s, snapshot_at, extracted_at) for s in systems]
        is_known = evidence.is_known(snapshot_at, extracted_at)
        latest = commits[-1] if commits else None
        live = {s.current for s in systems if s.current and s.current.flake_id == flake.id}
        oldest = min(live, key=commit_order, default=None)
        counts = {name: len([s for s in systems if s.status == name]) for name in TRIAGE_ORDER}
        row: Row = {
            "flake_id": flake.id,
            "flake_name": flake.name,
            "repo_url": flake.repo_url,
            "systems_total": len(systems),
            **{f"systems_{name}": number for name, number in counts.items()},
            **{
                f"systems_behind_{reason}": reasons.count(reason) if is_known else None
                for reason in behind_reason.REASONS
            },
            "commits_behind_p50": percentile(behind, 0.5),
            "commits_behind_p90": percentile(behind, 0.9),
            "commits_behind_max": max(behind, default=None),
            "latest_commit_hash": latest.git_commit_hash if latest else None,
            "latest_commit_timestamp": latest.commit_timestamp if latest else None,
            "latest_commit_age_hours": (
                hours(snapshot_at - latest.commit_timestamp) if latest else None
            ),
            **evidence.feed(fleet, flake.id, snapshot_at, extracted_at, feed_stale_hours),
            "feed_error": (
                (flake.last_sync_error or "")[:300]
                if is_known and not is_blank(flake.last_sync_error)
                else None
            ),
            "live_commit_count": len(live),
            "oldest_live_commit_hash": oldest.git_commit_hash if oldest else None,
            "oldest_live_commit_timestamp": oldest.commit_timestamp if oldest else None,
            "snapshot_date": day_described(snapshot_at),
            "snapshot_at": snapshot_at,
            "extracted_at": extracted_at,
        }
        rows.append(((-counts["behind"], flake.name, flake.id), row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]
