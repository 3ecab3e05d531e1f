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
    "flake_has_no_commits",
)

DEPLOYMENT_KINDS = ("initial", "upgrade", "rollback", "rebuild", "flake_change", "untraced")
