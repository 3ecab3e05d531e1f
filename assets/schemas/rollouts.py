"""How far each commit got: its way through the systems of its flake.

The descriptions are the definitions: a test holds the computation to them.
"""

from dataclasses import replace

from assets.schemas.dictionary import Dataset, count, identifier, instant, text
from assets.schemas.status import SYSTEM_DEPLOYMENT_STATUS
from assets.schemas.velocity import STATUS_AT_EACH_INSTANT

NEWEST_BY_ENVIRONMENT = 500
"""Commits of each flake that are told of by environment; so many a fleet keeps of a branch, too."""

COMMIT_ROLLOUTS = Dataset(
    name="commit_rollouts",
    grain="one row a commit on the branch",
    description=(
        "How far each commit visible at `snapshot_at` got among the systems of its flake, and "
        "when; a commit with `source_archived` is on no branch and has no row. A system runs a "
        "commit while that is its current commit in `system_deployment_status` taken at that "
        "instant: from its deployment or, where the commit leaves the output that the system runs "
        "unchanged, from the commit's own timestamp. A commit has reached a system once the system "
        "runs it or a later commit of the flake, in commit order and on the branch or not; and "
        "stays so after a rollback."
    ),
    key=("commit_id",),
    record_counts=("hosts_eligible", "hosts_reached"),
    order_by="flake_name, flake_id, then the newest commit first (commit_timestamp, commit_id)",
    columns=(
        identifier("commit_id", "The commit.", derived_from=("commits.id",)),
        text("commit_hash", "Git hash.", derived_from=("commits.git_commit_hash",)),
        instant(
            "commit_timestamp",
            "When the commit was made.",
            derived_from=("commits.commit_timestamp",),
        ),
        identifier("flake_id", "Flake of the commit.", derived_from=("commits.flake_id",)),
        text(
            "flake_name",
            "Name of that flake.",
            nullable=True,
            repeated=True,
            derived_from=("flakes.name",),
        ),
        count(
            "hosts_eligible",
            "hosts",
            "Systems associated with the flake at `snapshot_at`; only these count in this row.",
            derived_from=STATUS_AT_EACH_INSTANT,
        ),
        count(
            "hosts_reached",
            "hosts",
            "Of these, the systems that have reached the commit.",
            derived_from=STATUS_AT_EACH_INSTANT,
        ),
        count(
            "hosts_current",
            "hosts",
            "Of these, the systems that run exactly this commit at `snapshot_at`.",
            derived_from=STATUS_AT_EACH_INSTANT,
        ),
        instant(
            "first_deployed_at",
            "When the commit reached the first of them; null until it happens.",
            nullable=True,
            derived_from=STATUS_AT_EACH_INSTANT,
        ),
        *(
            instant(
                f"reached_{percent}_percent_at",
                f"When the number of them that it had reached came to at least {percent} % of "
                "`hosts_eligible`; null until it happens.",
                nullable=True,
                derived_from=STATUS_AT_EACH_INSTANT,
            )
            for percent in (50, 90, 100)
        ),
        SYSTEM_DEPLOYMENT_STATUS["snapshot_date"],
        SYSTEM_DEPLOYMENT_STATUS["snapshot_at"],
    ),
)

_ENVIRONMENT = replace(
    SYSTEM_DEPLOYMENT_STATUS["environment"],
    description="Environment of the systems, as in `system_deployment_status`; null for those of "
    "which none is recorded.",
    derived_from=(f"{SYSTEM_DEPLOYMENT_STATUS.name}.environment",),
)
_OF_COMMIT = (
    *("commit_id", "commit_hash", "commit_timestamp", "flake_id", "flake_name"),
    *("snapshot_date", "snapshot_at"),
)

COMMIT_ROLLOUTS_BY_ENVIRONMENT = Dataset(
    name="commit_rollouts_by_environment",
    grain="one row a commit and environment",
    description=(
        f"The same of each environment by itself, of the newest {NEWEST_BY_ENVIRONMENT} commits of "
        "each flake's branch: an environment has a row where it has a system of the flake at "
        "`snapshot_at`, so that a commit's counts add up to those in `commit_rollouts`. Older "
        "commits are in `commit_rollouts` alone."
    ),
    key=("commit_id", "environment"),
    record_counts=COMMIT_ROLLOUTS.record_counts,
    order_by=f"{COMMIT_ROLLOUTS.order_by}, then environment (null last)",
    columns=(
        *(COMMIT_ROLLOUTS[name] for name in _OF_COMMIT[:5]),
        _ENVIRONMENT,
        *(
            replace(
                column,
                description=column.description.replace(
                    "Systems associated with the flake",
                    "Systems of the environment that are associated with the flake",
                ),
            )
            for column in COMMIT_ROLLOUTS.columns
            if column.name not in _OF_COMMIT
        ),
        *(COMMIT_ROLLOUTS[name] for name in _OF_COMMIT[5:]),
    ),
)
