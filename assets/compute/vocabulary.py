"""The closed sets of words of the data products; importing them costs nothing.

They stand apart from the computations because a command that has to answer within a second can't
wait for pandas.
"""

# In triage order: what a person should look at first comes first.
DEPLOYMENT_STATUSES = ("no_deployment", "unknown", "behind", "up_to_date", "ahead")

# In the order in which they are tried.
UNKNOWN_REASONS = (
    "registration_unusable",
    "path_not_in_derivations",
    "derivation_without_commit",
    "flake_mismatch",
    "flake_unusable",
    "flake_deleted",
    "flake_has_no_commits",
)

NOT_RECORDED = "not_recorded"
"""Of what the fleet database does not say, or no longer says of a day of the past."""

DEPLOYMENT_POLICIES = ("pinned", "manual", "auto_latest")

FEED_STATUSES = ("failing", "stale", "current", NOT_RECORDED)

LIVENESS = ("alive", "late", "missing", "silent", NOT_RECORDED)

# In the order in which they are tried.
BEHIND_REASONS = (
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

DEPLOYMENT_KINDS = ("initial", "upgrade", "rollback", "rebuild", "flake_change", "untraced")
