"""The deployment events: each time a host starts to run another path."""

from dataclasses import replace

from assets.compute.vocabulary import DEPLOYMENT_KINDS
from assets.schemas.dictionary import (
    Dataset,
    count,
    flag,
    identifier,
    instant,
    number,
    taken_from,
    text,
)

DEPLOYMENTS = Dataset(
    name="deployments",
    grain="one row each time a host starts to run another path",
    description=(
        "The deployments of one day (UTC): a state whose path differs from the host's state before "
        "it. What can change later, such as when a deployment ended, is not stored."
    ),
    key=("deployed_at", "hostname", "system_state_id"),
    order_by="deployed_at, hostname, system_state_id",
    columns=(
        instant(
            "deployed_at",
            "When the host first reported the path.",
            derived_from=("system_states.timestamp",),
        ),
        text("hostname", "The host.", derived_from=("system_states.hostname",)),
        identifier(
            "system_state_id",
            "The state that reported the path first.",
            derived_from=("system_states.id",),
        ),
        text(
            "deployment_kind",
            "Against the host's last earlier deployment that had a commit.",
            allowed=DEPLOYMENT_KINDS,
            derived_from=("derivations.commit_id", "commits.commit_timestamp", "commits.flake_id"),
        ),
        text(
            "derivation_path",
            "Path that the host started to run.",
            repeated=True,
            derived_from=("system_states.deployed_path",),
        ),
        identifier(
            "flake_id",
            "Flake of the deployed commit; null for untraced.",
            nullable=True,
            derived_from=("commits.flake_id",),
        ),
        text(
            "flake_name",
            "Name of that flake.",
            nullable=True,
            repeated=True,
            derived_from=("flakes.name",),
        ),
        identifier(
            "commit_id",
            "The deployed commit; null for untraced. Of several commits with this path: one of the "
            "host's associated flake, then one made before `deployed_at`, then the greatest in "
            "commit order. A commit with the same output that is made later changes nothing here.",
            nullable=True,
            derived_from=("derivations.commit_id",),
        ),
        text(
            "commit_hash",
            "Git hash of that commit.",
            nullable=True,
            repeated=True,
            derived_from=("commits.git_commit_hash",),
        ),
        instant(
            "commit_timestamp",
            "When that commit was made.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        identifier(
            "previous_commit_id",
            "Commit of the host's last earlier deployment that had one; null for the first.",
            nullable=True,
            derived_from=("derivations.commit_id",),
        ),
        text(
            "previous_commit_hash",
            "Git hash of that commit.",
            nullable=True,
            repeated=True,
            derived_from=("commits.git_commit_hash",),
        ),
        number(
            "lead_time_seconds",
            "seconds",
            "From the commit to the deployment; negative where the clocks disagree, null for "
            "untraced.",
            nullable=True,
            derived_from=("system_states.timestamp", "commits.commit_timestamp"),
        ),
        count(
            "commits_included",
            "commits",
            "Commits after the previous one up to and with this one; null unless upgrade. Of the "
            "commits dated the day's `snapshot_at` or later only this one counts, so that a commit "
            "made later changes nothing here.",
            nullable=True,
            derived_from=("commits.commit_timestamp",),
        ),
        flag(
            "is_flapping",
            "Whether the host has 10 or more deployments on that day (UTC), as when two machines "
            "report under one name: they say nothing about how fast commits arrive, and no figure "
            "of deployment_velocity but `flapping_deployments` counts them. Null in days "
            "published by a version before 0.2.",
            nullable=True,
            derived_from=("system_states.hostname", "system_states.timestamp"),
        ),
    ),
)

DEPLOYMENT_HISTORY = replace(
    DEPLOYMENTS,
    name="deployment_history",
    description=(
        "All deployments in PostgreSQL, exactly one row an event; the view "
        "`deployment_history_with_end` adds `ended_at`, when the host's next deployment began."
    ),
    columns=taken_from(DEPLOYMENTS.name, DEPLOYMENTS.columns),
)
