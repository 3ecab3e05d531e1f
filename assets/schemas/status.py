"""The status datasets: where each system, and each flake, stands at one instant."""

from assets.compute.vocabulary import (
    BEHIND_REASONS,
    DEPLOYMENT_STATUSES,
    FEED_STATUSES,
    LIVENESS,
    UNKNOWN_REASONS,
)
from assets.schemas.dictionary import (
    DATE,
    Column,
    Dataset,
    count,
    flag,
    identifier,
    instant,
    number,
    text,
)

_SNAPSHOT_COLUMNS = (
    Column("snapshot_date", DATE, "The day (UTC) that the snapshot stands for."),
    instant(
        "snapshot_at",
        "The instant T that the row describes: the moment of reading for today's snapshot, the "
        "end of the day for a past day's.",
    ),
    instant("extracted_at", "When the source tables were read."),
)

SYSTEM_DEPLOYMENT_STATUS = Dataset(
    name="system_deployment_status",
    grain="one row a hostname",
    description=(
        "Whether each system runs the latest commit of its flake, and if not, how far behind it is "
        "and since when."
    ),
    key=("hostname",),
    order_by=(
        "no_deployment, unknown, behind, up_to_date, ahead; then commits_behind descending, then "
        "hostname"
    ),
    columns=(
        text(
            "hostname",
            "System identifier.",
            derived_from=("systems.hostname", "system_states.hostname"),
        ),
        text(
            "deployment_status",
            "Where the system stands relative to the latest commit of its flake.",
            allowed=DEPLOYMENT_STATUSES,
            derived_from=(
                "system_states.deployed_path",
                "derivations.commit_id",
                "commits.commit_timestamp",
                "systems.flake_id",
            ),
        ),
        text("status_description", "The status in words.", repeated=True),
        text(
            "unknown_reason",
            "Why the status is unknown; null unless unknown.",
            nullable=True,
            allowed=UNKNOWN_REASONS,
            derived_from=("derivations.commit_id", "commits.flake_id", "systems.flake_id"),
        ),
        text(
            "behind_reason",
            "Why a system that is behind is not up to date, and so who has to act; null unless "
            "behind, and for a day filled in later.",
            nullable=True,
            allowed=BEHIND_REASONS,
            derived_from=(
                "derivations.status_id",
                "derivation_statuses.name",
                "cache_push_jobs.completed_at",
                "commits.evaluation_status",
                "systems.deployment_policy",
                "systems.desired_target",
                "agent_heartbeats.timestamp",
            ),
        ),
        count(
            "commits_behind",
            "commits",
            "Visible commits of the flake's branch after the current one; 0 for up_to_date and "
            "ahead, null for unknown and no_deployment.",
            nullable=True,
            derived_from=(
                "commits.commit_timestamp",
                "commits.flake_id",
                "commits.source_archived",
            ),
        ),
        count(
            "commits_behind_effective",
            "commits",
            "Of the commits counted, those whose `nixos` derivation of this host has another "
            "output than the commit before; 0 means that deploying would change nothing. Null "
            "where the current or any counted commit has no derivation for this host.",
            nullable=True,
            derived_from=(
                "derivations.store_path",
                "derivations.expected_store_path",
                "derivations.derivation_path",
            ),
        ),
        count(
            "commits_behind_deployable",
            "commits",
            "Of the commits counted, those with a built `nixos` derivation of this host: its "
            "status is a success, and not that of a dry run, which only evaluates. Null where "
            "build results are not recorded.",
            nullable=True,
            derived_from=("derivations.status_id", "derivation_statuses.is_success"),
        ),
        count(
            "commits_behind_branch",
            "commits",
            "Commits of the branch after the current one as git counts them, merges included. Null "
            "for unknown and no_deployment, where that is not recorded, and for a day filled in "
            "later.",
            nullable=True,
            derived_from=("flake_branch_commit_snapshot.position", "flakes.snapshot_ready_at"),
        ),
        number(
            "hours_behind",
            "hours",
            "From `behind_since` to `snapshot_at`; null unless behind.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        instant(
            "behind_since",
            "Timestamp of the first commit of the branch after the current one; null unless "
            "behind.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        identifier(
            "flake_id",
            "Associated flake: the registered one, else that of the deployed commit.",
            nullable=True,
            derived_from=("systems.flake_id", "commits.flake_id"),
        ),
        text(
            "flake_name",
            "Name of the associated flake.",
            nullable=True,
            repeated=True,
            derived_from=("flakes.name",),
        ),
        text(
            "current_flake_name",
            "Name of the flake of the current commit.",
            nullable=True,
            repeated=True,
            derived_from=("flakes.name",),
        ),
        text(
            "current_commit_hash",
            "Git hash of the commit that the system runs.",
            nullable=True,
            repeated=True,
            derived_from=("commits.git_commit_hash",),
        ),
        instant(
            "current_commit_timestamp",
            "When the current commit was made.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        text(
            "latest_commit_hash",
            "Git hash of the last visible commit of the associated flake's branch.",
            nullable=True,
            repeated=True,
            derived_from=("commits.git_commit_hash", "commits.source_archived"),
        ),
        instant(
            "latest_commit_timestamp",
            "When the latest commit was made.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        text(
            "feed_status",
            "How the last attempt to read the flake's repository went: whether "
            "`latest_commit_hash` can be believed. Null without a flake.",
            nullable=True,
            allowed=FEED_STATUSES,
            derived_from=("flakes.sync_status", "flakes.last_sync_at"),
        ),
        instant(
            "feed_checked_at",
            "When that attempt began; null where not recorded, and for a day filled in later.",
            nullable=True,
            derived_from=("flakes.last_sync_at",),
        ),
        text(
            "latest_deployable_commit_hash",
            "Git hash of the last visible commit of the associated flake's branch that has a built "
            "`nixos` derivation of this host. Null where there is none or build results are "
            "not recorded.",
            nullable=True,
            repeated=True,
            derived_from=("commits.git_commit_hash", "derivation_statuses.is_success"),
        ),
        count(
            "matching_commit_count",
            "commits",
            "How many commits the running path matches; null for no_deployment.",
            nullable=True,
            derived_from=("derivations.commit_id",),
        ),
        text(
            "current_derivation_path",
            "Path that the system last reported to run; null for no_deployment.",
            nullable=True,
            repeated=True,
            derived_from=("system_states.deployed_path",),
        ),
        instant(
            "deployment_time",
            "First report of the current unbroken run of the same path: a reboot does not move it.",
            nullable=True,
            derived_from=("system_states.timestamp",),
        ),
        instant(
            "last_reported_at",
            "Last visible report of the system.",
            nullable=True,
            derived_from=("system_states.timestamp",),
        ),
        instant(
            "last_seen_at",
            "Last visible report or heartbeat of the system, whichever is later; null for "
            "no_deployment and for a day filled in later.",
            nullable=True,
            derived_from=("system_states.timestamp", "agent_heartbeats.timestamp"),
        ),
        text(
            "liveness",
            "How long before `snapshot_at` that was; null where the system never reported.",
            nullable=True,
            allowed=LIVENESS,
            derived_from=("agent_heartbeats.timestamp",),
        ),
        flag("is_registered", "Whether the hostname is a registered system."),
        text(
            "environment",
            "Name of the system's environment; null where not recorded.",
            nullable=True,
            repeated=True,
            derived_from=("environments.name",),
        ),
        *_SNAPSHOT_COLUMNS,
    ),
)

_ASSOCIATED = f"{SYSTEM_DEPLOYMENT_STATUS.name}.flake_id"
_STATUSES = (_ASSOCIATED, f"{SYSTEM_DEPLOYMENT_STATUS.name}.deployment_status")
_COMMITS_BEHIND = (_ASSOCIATED, f"{SYSTEM_DEPLOYMENT_STATUS.name}.commits_behind")

SYSTEM_COUNTS = (
    count(
        "systems_total", "systems", "Systems associated with the flake.", derived_from=[_ASSOCIATED]
    ),
    *(
        count(f"systems_{status}", "systems", f"Of these, {status}.", derived_from=_STATUSES)
        for status in ("up_to_date", "behind", "ahead", "unknown", "no_deployment")
    ),
)

_REASON_COUNTS = tuple(
    count(
        f"systems_behind_{reason}",
        "systems",
        f"Of the systems that are behind, those whose `behind_reason` is {reason}; null for a day "
        "filled in later.",
        nullable=True,
        derived_from=(_ASSOCIATED, f"{SYSTEM_DEPLOYMENT_STATUS.name}.behind_reason"),
    )
    for reason in BEHIND_REASONS
)

COMMITS_BEHIND_QUANTILES = (
    number(
        "commits_behind_p50",
        "commits",
        "Interpolated median of `commits_behind`; null where no system has one.",
        nullable=True,
        derived_from=_COMMITS_BEHIND,
    ),
    number(
        "commits_behind_p90",
        "commits",
        "Interpolated 90th percentile of `commits_behind`; null where no system has one.",
        nullable=True,
        derived_from=_COMMITS_BEHIND,
    ),
    count(
        "commits_behind_max",
        "commits",
        "Greatest `commits_behind`; null where no system has one.",
        nullable=True,
        derived_from=_COMMITS_BEHIND,
    ),
)

FLAKE_DEPLOYMENT_STATUS = Dataset(
    name="flake_deployment_status",
    grain="one row a flake",
    description="How the systems associated with each flake stand, and how fresh the flake is.",
    key=("flake_id",),
    record_counts=("systems_total",),
    order_by="systems_behind descending, flake_name, flake_id",
    columns=(
        identifier("flake_id", "The flake.", derived_from=("flakes.id",)),
        text("flake_name", "Name of the flake; not unique.", derived_from=("flakes.name",)),
        text("repo_url", "URL of the flake's repository.", derived_from=("flakes.repo_url",)),
        *SYSTEM_COUNTS,
        *_REASON_COUNTS,
        *COMMITS_BEHIND_QUANTILES,
        text(
            "latest_commit_hash",
            "Git hash of the last visible commit of the branch; null where there is none.",
            nullable=True,
            derived_from=("commits.git_commit_hash",),
        ),
        instant(
            "latest_commit_timestamp",
            "When that commit was made.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        number(
            "latest_commit_age_hours",
            "hours",
            "From that commit to `snapshot_at`.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        text(
            "feed_status",
            "How the last attempt to read the repository went: whether `latest_commit_hash` can "
            "be believed.",
            allowed=FEED_STATUSES,
            derived_from=("flakes.sync_status", "flakes.last_sync_at"),
        ),
        instant(
            "feed_checked_at",
            "When that attempt began; null where not recorded, and for a day filled in later.",
            nullable=True,
            derived_from=("flakes.last_sync_at",),
        ),
        text(
            "feed_error",
            "Why an attempt failed, as the server says; at most 300 characters. Null where it says "
            "nothing, and for a day filled in later.",
            nullable=True,
            derived_from=("flakes.last_sync_error",),
        ),
        count(
            "live_commit_count",
            "commits",
            "Distinct commits of the flake that its associated systems run.",
            derived_from=("system_deployment_status.current_commit_hash",),
        ),
        text(
            "oldest_live_commit_hash",
            "Git hash of the oldest of them.",
            nullable=True,
            derived_from=("system_deployment_status.current_commit_hash",),
        ),
        instant(
            "oldest_live_commit_timestamp",
            "When the oldest of them was made.",
            nullable=True,
            derived_from=("system_deployment_status.current_commit_timestamp",),
        ),
        *_SNAPSHOT_COLUMNS,
    ),
)
