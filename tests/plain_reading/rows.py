"""The fleet's tables as plain rows."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Flake:
    id: int
    name: str
    repo_url: str
    branch: str | None = None
    deleted_at: datetime | None = None
    sync_status: str | None = None
    last_sync_at: datetime | None = None
    last_sync_error: str | None = None
    snapshot_ready_at: datetime | None = None


@dataclass(frozen=True)
class Commit:
    id: int
    flake_id: int
    git_commit_hash: str
    commit_timestamp: datetime
    evaluation_status: str | None = None
    source_archived: bool | None = None


@dataclass(frozen=True)
class Derivation:
    id: int
    commit_id: int | None
    derivation_type: str
    derivation_name: str
    derivation_path: str | None
    store_path: str | None
    status_id: int
    completed_at: datetime | None
    expected_store_path: str | None = None


@dataclass(frozen=True)
class System:
    id: str
    hostname: str
    environment_id: str | None
    is_active: bool | None
    flake_id: int | None
    system_configuration_name: str | None
    created_at: datetime | None
    deployment_policy: str | None = None
    desired_target: str | None = None


@dataclass(frozen=True)
class State:
    id: int
    hostname: str
    deployed_path: str
    timestamp: datetime


@dataclass(frozen=True)
class DerivationStatus:
    id: int
    name: str
    is_success: bool
    is_terminal: bool | None = None


@dataclass(frozen=True)
class Environment:
    id: str
    name: str


@dataclass(frozen=True)
class BranchCommit:
    flake_id: int
    commit_id: int
    position: int
    observed_at: datetime


@dataclass(frozen=True)
class CachePush:
    derivation_id: int
    completed_at: datetime | None


@dataclass(frozen=True)
class Heartbeat:
    system_state_id: int
    timestamp: datetime


@dataclass(frozen=True)
class Fleet:
    """All tables of one fleet; None for an optional table that the fleet does not have.

    Of the rows that can't be used only what they are about is left: the hostnames of systems, the
    ids of flakes.
    """

    flakes: tuple[Flake, ...] = ()
    commits: tuple[Commit, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    systems: tuple[System, ...] = ()
    system_states: tuple[State, ...] = ()
    derivation_statuses: tuple[DerivationStatus, ...] | None = None
    environments: tuple[Environment, ...] | None = None
    flake_branch_commit_snapshot: tuple[BranchCommit, ...] | None = None
    cache_push_jobs: tuple[CachePush, ...] | None = None
    agent_heartbeats: tuple[Heartbeat, ...] | None = None
    unusable_hostnames: tuple[str, ...] = ()
    unusable_flake_ids: tuple[int, ...] = ()
