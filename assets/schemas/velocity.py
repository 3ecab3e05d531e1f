"""How fast commits reach the fleet, and how current it is: each flake's day.

The descriptions are the definitions: a test holds the computation to them.
"""

from assets.schemas.dictionary import (
    Dataset,
    count,
    identifier,
    number,
    taken_from,
    text,
)
from assets.schemas.status import (
    COMMITS_BEHIND_QUANTILES,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_COUNTS,
    SYSTEM_DEPLOYMENT_STATUS,
)

_DEPLOYMENTS_TRACED = (
    "system_states.timestamp",
    "system_states.deployed_path",
    "derivations.commit_id",
    "commits.commit_timestamp",
    "commits.flake_id",
)
STATUS_AT_EACH_INSTANT = (
    *_DEPLOYMENTS_TRACED,
    "systems.flake_id",
    "systems.created_at",
    "systems.is_active",
    "flakes.deleted_at",
)
_BUILDS = (
    *_DEPLOYMENTS_TRACED,
    "derivations.completed_at",
    "derivation_statuses.is_success",
)

_LEAD_TIMES = (
    number(
        "change_lead_time_p50_seconds",
        "seconds",
        "Interpolated median of deployed_at - commit_timestamp over the (host, commit) pairs that "
        "became live that day; null without a pair. A commit becomes live on a host when an "
        "`upgrade` first carries the host to it or past it: an upgrade gives a pair for each "
        "commit of the flake up to its own that is later than every commit of the flake that the "
        "host deployed before. So a commit first carried by an `initial` or `flake_change` "
        "deployment, or deployed again after a rollback, gives none.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    number(
        "change_lead_time_p75_seconds",
        "seconds",
        "Interpolated 75th percentile of the same.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    number(
        "change_lead_time_p90_seconds",
        "seconds",
        "Interpolated 90th percentile of the same.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    count(
        "change_lead_time_count",
        "pairs",
        "The (host, commit) pairs that these percentiles stand on.",
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    count(
        "negative_lead_time_count",
        "pairs",
        "Pairs left out because the commit is dated after its deployment (clock skew). Of the "
        "commits dated `snapshot_at` or later only the deployed one itself can be among them, so "
        "that a commit made later never changes a closed day.",
        derived_from=_DEPLOYMENTS_TRACED,
    ),
)

_DEPLOYMENTS = (
    count(
        "new_commits",
        "commits",
        "Commits of the flake made that day, before `snapshot_at`.",
        derived_from=("commits.commit_timestamp",),
    ),
    count(
        "host_deployments",
        "deployments",
        "Deployments that day of a commit of the flake, other than `initial` (and `untraced`, "
        "which have no flake); hosts since deactivated count too.",
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    count(
        "hosts_deployed",
        "hosts",
        "Distinct hosts among these deployments.",
        derived_from=("system_states.hostname", *_DEPLOYMENTS_TRACED),
    ),
    count(
        "commits_first_deployed",
        "commits",
        "Commits that reached their first host that day: a deployment of any kind, of the commit "
        "or of a later one of the flake. A commit dated after the deployment that passed it "
        "counts once it is made or is itself deployed, whichever is first.",
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    *_LEAD_TIMES,
    number(
        "batch_size_p50",
        "commits",
        "Interpolated median of `commits_included` of the day's upgrades; null without one.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    number(
        "batch_size_p90",
        "commits",
        "Interpolated 90th percentile of the same.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    count(
        "rollbacks",
        "deployments",
        "Deployments of kind `rollback` that day.",
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    number(
        "change_fail_rate_rollback_proxy",
        "share",
        "Failed deployments / host_deployments, of the day of the deployment; null without one. A "
        "deployment other than `initial` failed when the host's next deployment is a rollback, "
        "before `snapshot_at`: one rolled back after the day has closed shows in the later day's "
        "`rollbacks` only.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
    number(
        "failed_deployment_recovery_p50_seconds_rollback_proxy",
        "seconds",
        "Interpolated median of the rollback's deployed_at - the failed deployment's, over the "
        "rollbacks of the day that directly follow a failed deployment (of whatever day); null "
        "without one.",
        nullable=True,
        derived_from=_DEPLOYMENTS_TRACED,
    ),
)

_CURRENCY = (
    number(
        "host_hours",
        "hours",
        "Host time of the day: the time from 00:00 UTC to `snapshot_at`, summed over the systems, "
        "in which a system is associated with the flake as in `system_deployment_status` taken at "
        "that instant. So a system registered to the flake counts from `created_at` (always where "
        "null), one registered to none or not registered while it runs a commit of the flake, and "
        "a deactivated one never.",
        derived_from=STATUS_AT_EACH_INSTANT,
    ),
    number(
        "up_to_date_share",
        "share",
        "Share of `host_hours` in which the system's status at that instant is up_to_date, every "
        "instant counted and none sampled, but that it takes no notice of `source_archived`: "
        "what was the latest commit before history was rewritten stays so, in its time. Time as "
        "unknown or no_deployment counts as not current, that of a flake from its `deleted_at` on "
        "among it. Null where `host_hours` is 0, as before any system existed.",
        nullable=True,
        derived_from=STATUS_AT_EACH_INSTANT,
    ),
    *(
        number(
            f"within_{commits}_commit{'s' if commits > 1 else ''}_share",
            "share",
            "Share of `host_hours` in which the system's commits_behind at that instant is at "
            f"most {commits}; so ahead counts, unknown and no_deployment do not. Null where "
            "`host_hours` is 0.",
            nullable=True,
            derived_from=STATUS_AT_EACH_INSTANT,
        )
        for commits in (1, 5, 20)
    ),
    *(
        number(
            f"within_{hours}_hours_share",
            "share",
            "Share of `host_hours` in which the system's status at that instant is up_to_date or "
            f"ahead, or is behind with hours_behind at most {hours}; unknown and no_deployment do "
            "not count. Null where `host_hours` is 0.",
            nullable=True,
            derived_from=STATUS_AT_EACH_INSTANT,
        )
        for hours in (24, 168)
    ),
)

_SEEN_AT_EACH_INSTANT = (
    *STATUS_AT_EACH_INSTANT,
    "agent_heartbeats.system_state_id",
    "agent_heartbeats.timestamp",
)
_SEEN_CURRENCY = (
    number(
        "seen_up_to_date_share",
        "share",
        "Share of `host_hours` that `up_to_date_share` counts and in which the system had been "
        "seen less than 4 hours before. Signs of life are each state, and every instant from the "
        "last state before `snapshot_at` to its newest heartbeat before `snapshot_at`: the agent "
        "writes a state at each start, so it ran all that time. The heartbeats of earlier states "
        "are not read, so it is what can be shown, and never more than `up_to_date_share`. Null "
        "where `host_hours` is 0, where the fleet records no heartbeats, in days that were read "
        "more than one hour after `snapshot_at`, and in days published by a version before 0.2.",
        nullable=True,
        derived_from=_SEEN_AT_EACH_INSTANT,
    ),
    *(
        number(
            f"seen_{share}",
            "share",
            f"The same of `{share}`.",
            nullable=True,
            derived_from=_SEEN_AT_EACH_INSTANT,
        )
        for share in (column.name for column in _CURRENCY[2:])
    ),
)

_STAGES = (
    number(
        "commit_to_built_p50_seconds",
        "seconds",
        "Interpolated median of built - commit_timestamp over the commits counted in the day's "
        "`commits_first_deployed` that an `upgrade` carried to their first host. A commit is built "
        "at the earliest completed_at of its built `nixos` derivations, of whichever "
        "host; one not built before `snapshot_at` is left out. Null where there is none or build "
        "results are not recorded.",
        nullable=True,
        derived_from=_BUILDS,
    ),
    number(
        "commit_to_built_p90_seconds",
        "seconds",
        "Interpolated 90th percentile of the same.",
        nullable=True,
        derived_from=_BUILDS,
    ),
    count(
        "commit_to_built_count",
        "commits",
        "Commits that these percentiles stand on.",
        derived_from=_BUILDS,
    ),
    number(
        "built_to_first_host_p50_seconds",
        "seconds",
        "Interpolated median, over the same commits, of deployed_at - built, where deployed_at is "
        "that of the upgrade.",
        nullable=True,
        derived_from=_BUILDS,
    ),
    number(
        "built_to_first_host_p90_seconds",
        "seconds",
        "Interpolated 90th percentile of the same.",
        nullable=True,
        derived_from=_BUILDS,
    ),
    count(
        "built_to_first_host_count",
        "commits",
        "Commits that these percentiles stand on.",
        derived_from=_BUILDS,
    ),
    count(
        "negative_stage_count",
        "spans",
        "Spans left out of the two stages because they are negative: built before the commit's "
        "timestamp (clock skew), or first deployed before it was built.",
        derived_from=_BUILDS,
    ),
)

DEPLOYMENT_VELOCITY = Dataset(
    name="deployment_velocity",
    grain="one row a day (UTC) and flake",
    description=(
        "How fast each flake's commits reach its hosts, after DORA's measures, and how current its "
        "systems were. Every flake has a row every day; counts are 0 and percentiles null where "
        "nothing happened. A deployment belongs to the flake of its commit and the day of its "
        "deployed_at."
    ),
    key=("snapshot_date", "flake_id"),
    record_counts=(
        "new_commits",
        "host_deployments",
        "commits_first_deployed",
        "change_lead_time_count",
        "systems_total",
        "host_hours",
    ),
    known_at_reading=tuple(column.name for column in _SEEN_CURRENCY),
    order_by="snapshot_date, flake_name, flake_id",
    columns=(
        SYSTEM_DEPLOYMENT_STATUS["snapshot_date"],
        identifier("flake_id", "The flake.", derived_from=("flakes.id",)),
        text(
            "flake_name",
            "Name of the flake; not unique.",
            repeated=True,
            derived_from=("flakes.name",),
        ),
        *_DEPLOYMENTS,
        *taken_from(FLAKE_DEPLOYMENT_STATUS.name, (*SYSTEM_COUNTS, *COMMITS_BEHIND_QUANTILES)),
        *_CURRENCY,
        *_STAGES,
        SYSTEM_DEPLOYMENT_STATUS["snapshot_at"],
        count(
            "flapping_deployments",
            "deployments",
            "Deployments that day of a commit of the flake by hosts with 10 or more deployments "
            "on that day, see `is_flapping` of deployments; no other figure counts them. Null in "
            "days published by a version before 0.2.",
            nullable=True,
            derived_from=("system_states.hostname", "system_states.timestamp"),
        ),
        *_SEEN_CURRENCY,
    ),
)
