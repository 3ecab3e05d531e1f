"""The source tables, as they are staged after reading the fleet database.

Only the columns that a computation needs; `package` derivations stay in the database. Both
generations of the fleet's schema come out alike: what one of them lacks is null, and the path that
a state reports is `deployed_path` whichever name the source gives it.
"""

from assets.schemas.dictionary import (
    Dataset,
    count,
    flag,
    identifier,
    instant,
    text,
)

FLAKES = Dataset(
    name="flakes",
    grain="one row a flake",
    description="The flakes (git repositories of NixOS configurations) that the fleet builds from.",
    key=("id",),
    order_by="id",
    columns=(
        identifier("id", "Primary key of the flake."),
        text("name", "Name of the flake; not unique."),
        text("repo_url", "URL of the flake's repository; unique."),
    ),
)

COMMITS = Dataset(
    name="commits",
    grain="one row a commit of a flake",
    description="The commits of each flake, as Crystal Forge recorded them.",
    key=("id",),
    order_by="id",
    columns=(
        identifier("id", "Primary key of the commit."),
        identifier("flake_id", "Flake that the commit belongs to."),
        text("git_commit_hash", "Git hash; unique within a flake."),
        instant("commit_timestamp", "When the commit was made, by the committer's clock."),
    ),
)

DERIVATIONS = Dataset(
    name="derivations",
    grain="one row a derivation other than a package",
    description="The derivations built from commits; package derivations are left in the database.",
    key=("id",),
    order_by="id",
    columns=(
        identifier("id", "Primary key of the derivation."),
        identifier("commit_id", "Commit that it was evaluated from.", nullable=True),
        text("derivation_type", "`nixos` for a system's configuration.", repeated=True),
        text("derivation_name", "Name of the configuration, normally the hostname.", repeated=True),
        text("derivation_path", "Path of the `.drv` file; unique where set.", nullable=True),
        text("store_path", "Built output; several commits can share one.", nullable=True),
        identifier("status_id", "Build status, see `derivation_statuses`."),
        instant("completed_at", "When the build ended.", nullable=True),
    ),
)

SYSTEMS = Dataset(
    name="systems",
    grain="one row a registered system",
    description="The systems that are registered with the fleet.",
    key=("hostname",),
    order_by="hostname",
    columns=(
        text("id", "Primary key of the system (a UUID)."),
        text("hostname", "Name of the system; unique."),
        text("environment_id", "Environment of the system (a UUID).", nullable=True, repeated=True),
        flag(
            "is_active",
            "False once the system is deactivated; null counts as active.",
            nullable=True,
        ),
        identifier("flake_id", "Flake that the system is registered to, now.", nullable=True),
        text(
            "system_configuration_name",
            "`derivation_name` of this system; null means the hostname.",
            nullable=True,
        ),
        instant("created_at", "When the system was registered.", nullable=True),
    ),
)

SYSTEM_STATES = Dataset(
    name="system_states",
    grain="one row a report of a host",
    description="What each host reported to run, and when; most reports are no deployment.",
    key=("id",),
    order_by="id",
    columns=(
        identifier("id", "Primary key of the state."),
        text("hostname", "Host that reported; it need not be registered.", repeated=True),
        text("deployed_path", "Path of the running system.", repeated=True),
        instant("timestamp", "When the report arrived, by the server's clock."),
    ),
)

DERIVATION_STATUSES = Dataset(
    name="derivation_statuses",
    grain="one row a build status",
    description="What each build status means; empty where the fleet does not record it.",
    key=("id",),
    order_by="id",
    columns=(
        identifier("id", "Primary key of the status."),
        text("name", "Name of the status."),
        flag("is_success", "Whether a derivation of this status was built successfully."),
    ),
)

ENVIRONMENTS = Dataset(
    name="environments",
    grain="one row an environment",
    description="The environments of the fleet; empty where the fleet does not record them.",
    key=("id",),
    order_by="id",
    columns=(
        text("id", "Primary key of the environment (a UUID)."),
        text("name", "Name of the environment."),
    ),
)

REQUIRED_TABLES = (FLAKES, COMMITS, DERIVATIONS, SYSTEMS, SYSTEM_STATES)
OPTIONAL_TABLES = (DERIVATION_STATUSES, ENVIRONMENTS)
SOURCE_TABLES = REQUIRED_TABLES + OPTIONAL_TABLES

UNUSABLE_ROW_REASONS = (
    "infinite_timestamp",
    "absurd_timestamp",
    "undecodable_text",
    "missing_value",
    "empty_hostname",
    "hostname_too_long",
    "path_too_long",
    "duplicate_key",
)

QUARANTINE = Dataset(
    name="quarantine",
    grain="one row a source row that can't be used",
    description=(
        "Rows of the source tables that can't be used, with the reason and the raw text; for every "
        "table, rows read = rows staged + rows here."
    ),
    key=("source_table", "row_number"),
    order_by="source_table, row_number",
    columns=(
        text("source_table", "Source table, as `schema.table`.", repeated=True),
        count("row_number", "rows", "Position among the table's quarantined rows, from 1."),
        text(
            "row_key", "The row's primary key, as text; null where it can't be read.", nullable=True
        ),
        text("source_column", "The column at fault.", repeated=True),
        text("reason", "Why the row can't be used.", allowed=UNUSABLE_ROW_REASONS),
        text(
            "raw_text",
            "The offending value, of a longer one the first 1,000 characters; undecodable bytes "
            "are escaped as `\\xNN`.",
        ),
        instant("extracted_at", "When the row was read."),
        text(
            "hostname",
            "Host that the row of `systems` or `system_states` is about; null where it can't be "
            "read.",
            nullable=True,
        ),
        identifier(
            "flake_id",
            "Flake that the row of `commits`, `flakes` or `systems` is about; null where it can't "
            "be read.",
            nullable=True,
        ),
    ),
)
