"""A plain reading of the contract's table of behind_reason."""

from datetime import datetime

from tests.plain_reading.rows import Commit, Derivation, Fleet, System
from tests.plain_reading.words import built_status_ids, derivations_of_path

REASONS = (
    "nothing_to_deploy",
    "silent",
    "pinned",
    "not_applied",
    "awaiting_release",
    "rolling_out",
    "not_cached",
    "evaluation_failed",
    "not_evaluated",
    "build_failed",
    "not_built",
    "not_in_flake",
    "not_known",
)


def behind_reason(
    fleet: Fleet,
    *,
    system: System | None,
    name: str,
    later: list[Commit],
    effective: int | None,
    liveness: str | None,
    last_seen_at: datetime | None,
) -> str:
    """The first reason that applies to a host that is behind.

    Args:
        fleet: all tables.
        system: its registration, None where it is not registered.
        name: of its configuration.
        later: the visible commits on the branch after the current one, in order.
        effective: its commits_behind_effective.
        liveness: its liveness.
        last_seen_at: its last_seen_at.
    """
    if effective == 0:
        return "nothing_to_deploy"
    if liveness == "silent":
        return "silent"
    if fleet.derivation_statuses is None and any(of_host(fleet, c, name) for c in later):
        return "not_known"
    for commit in later:
        for derivation in of_host(fleet, commit, name):
            if is_built(fleet, derivation) and is_pushed(fleet, derivation):
                return of_deployable(fleet, system, later, last_seen_at)
    return of_undeployable(fleet, later[-1], name)


def of_host(fleet: Fleet, commit: Commit, name: str) -> list[Derivation]:
    """The nixos derivations of a configuration that a commit has, by id."""
    found = [
        d
        for d in fleet.derivations
        if d.commit_id == commit.id and d.derivation_type == "nixos" and d.derivation_name == name
    ]
    return sorted(found, key=lambda d: d.id)


def is_built(fleet: Fleet, derivation: Derivation) -> bool:
    """Whether a derivation is built, as far as that is recorded."""
    return derivation.status_id in built_status_ids(fleet)


def is_pushed(fleet: Fleet, derivation: Derivation) -> bool:
    """Whether one of a derivation's pushes is completed; true where pushes are not recorded."""
    if fleet.cache_push_jobs is None:
        return True
    return any(push.derivation_id == derivation.id for push in fleet.cache_push_jobs)


def of_deployable(
    fleet: Fleet, system: System | None, later: list[Commit], last_seen_at: datetime | None
) -> str:
    """The reason where some later commit is deployable."""
    policy = None if system is None else system.deployment_policy
    if policy == "pinned":
        return "pinned"
    if system is not None and was_told(fleet, system, later, last_seen_at):
        return "not_applied"
    if system is None or policy == "manual":
        return "awaiting_release"
    return "rolling_out" if policy == "auto_latest" else "not_known"


def was_told(
    fleet: Fleet, system: System, later: list[Commit], last_seen_at: datetime | None
) -> bool:
    """Whether the server wants a later commit, and the host was seen since it could be fetched."""
    wanted = derivations_of_path(fleet, system.desired_target or "")
    if not {d.commit_id for d in wanted} & {c.id for c in later}:
        return False
    completions: list[datetime] = []
    for derivation in wanted:
        if fleet.cache_push_jobs is not None:
            completions += [
                push.completed_at
                for push in fleet.cache_push_jobs
                if push.derivation_id == derivation.id and push.completed_at is not None
            ]
        elif is_built(fleet, derivation) and derivation.completed_at is not None:
            completions.append(derivation.completed_at)
    return bool(completions) and last_seen_at is not None and last_seen_at > min(completions)


def of_undeployable(fleet: Fleet, latest: Commit, name: str) -> str:
    """The reason where no later commit is deployable: the latest decides."""
    derivations = of_host(fleet, latest, name)
    if any(is_built(fleet, d) for d in derivations):
        return "not_cached"
    if not derivations:
        return {
            "failed": "evaluation_failed",
            "pending": "not_evaluated",
            "in_progress": "not_evaluated",
            "complete": "not_in_flake",
        }.get(latest.evaluation_status or "", "not_known")
    newest = derivations[-1]
    status = next((s for s in fleet.derivation_statuses or () if s.id == newest.status_id), None)
    if status is None:
        return "not_known"
    if status.name == "dry-run-failed":
        return "evaluation_failed"
    if status.name in ("pending", "queued"):
        return "not_evaluated"
    if status.is_success:
        return "not_built"
    if status.is_terminal is None:
        return "not_known"
    if status.is_terminal:
        return "build_failed"
    return "not_evaluated" if status.name.startswith("dry-run-") else "not_built"
