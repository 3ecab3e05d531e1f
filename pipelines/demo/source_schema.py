"""The schema of a Crystal Forge database: our own DDL, for the demo fleet and for tests.

Belongs here: what the fleet database looks like, in its three generations, with the indexes that
it really has and no others. Does not belong here: any row, other than the closed list of build
statuses, which the real database's migrations insert too.
"""

from typing import Literal, LiteralString

import psycopg

Generation = Literal["newest", "newer", "older"]

# id, name, is_terminal, is_success, in the order of a derivation's life.
DERIVATION_STATUSES: tuple[tuple[int, str, bool, bool], ...] = (
    (1, "dry-run-pending", False, False),
    (2, "dry-run-scheduled", False, False),
    (3, "dry-run-in-progress", False, False),
    (4, "dry-run-complete", True, True),
    (5, "dry-run-failed", True, False),
    (6, "build-pending", False, False),
    (7, "build-in-progress", False, False),
    (8, "build-complete", True, True),
    (9, "build-failed", True, False),
    (10, "complete", True, True),
    (11, "failed", True, False),
    (12, "cache-pushed", True, True),
)


def deployed_path_column(generation: Generation) -> LiteralString:
    """The column of system_states that holds the deployed path."""
    return "derivation_path" if generation == "older" else "store_path"


def create_source_schema(connection: psycopg.Connection, generation: Generation) -> None:
    """Creates every table of the fleet database in `public`, required and optional, empty.

    `derivation_statuses` alone holds its rows. The caller commits.

    Args:
        connection: to an empty database, as a user who may create tables in `public`.
        generation: "newer" has `system_states.store_path`, `derivations.store_path` with its index,
            `commits.evaluation_status`, and `systems.deployment_policy` and
            `system_configuration_name`; "older" has `system_states.derivation_path` instead;
            "newest" has what "newer" has, and what makes "latest" and "last seen" true: the state
            of each flake's feed, commits off the branch, predicted outputs, pushes to caches, and
            an index on heartbeats.

    Raises:
        psycopg.errors.DuplicateTable: the database already has such a table.
    """
    create_source_tables(connection, generation)
    create_source_constraints(connection, generation)


def create_source_tables(connection: psycopg.Connection, generation: Generation) -> None:
    """Creates the tables without keys and indexes, for a load that adds those when it is done."""
    connection.execute(_TABLES)
    connection.execute(_OLDER_COLUMNS if generation == "older" else _NEWER_COLUMNS)
    if generation == "newest":
        connection.execute(_NEWEST_COLUMNS)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.derivation_statuses (id, name, is_terminal, is_success) "
            "VALUES (%s, %s, %s, %s)",
            DERIVATION_STATUSES,
        )


def create_source_constraints(connection: psycopg.Connection, generation: Generation) -> None:
    """Adds the keys and indexes to the tables of `create_source_tables`."""
    connection.execute(_CONSTRAINTS)
    if generation != "older":
        connection.execute(_NEWER_CONSTRAINTS)
    if generation == "newest":
        connection.execute(_NEWEST_CONSTRAINTS)


_TABLES: LiteralString = """
CREATE TABLE public.environments (
    id uuid DEFAULT gen_random_uuid(),
    name text NOT NULL
);

CREATE TABLE public.derivation_statuses (
    id int NOT NULL,
    name text NOT NULL,
    is_terminal boolean NOT NULL,
    is_success boolean NOT NULL
);

CREATE TABLE public.flakes (
    id serial,
    name text NOT NULL,
    repo_url text NOT NULL
);

CREATE TABLE public.commits (
    id serial,
    flake_id int NOT NULL,
    git_commit_hash text NOT NULL,
    commit_timestamp timestamptz NOT NULL
);

CREATE TABLE public.derivations (
    id serial,
    commit_id int,
    derivation_type text NOT NULL CHECK (derivation_type IN ('nixos', 'package')),
    derivation_name text NOT NULL,
    derivation_path text,
    status_id int NOT NULL,
    scheduled_at timestamptz,
    completed_at timestamptz
);

CREATE TABLE public.systems (
    id uuid DEFAULT gen_random_uuid(),
    hostname text NOT NULL,
    environment_id uuid,
    is_active boolean DEFAULT true,
    flake_id int,
    created_at timestamptz DEFAULT now()
);

CREATE TABLE public.system_states (
    id serial,
    hostname text NOT NULL,
    change_reason text NOT NULL
        CHECK (change_reason IN ('startup', 'config_change', 'state_delta', 'cf_deployment')),
    os text,
    kernel text,
    nixos_version text,
    agent_version text,
    memory_gb double precision,
    uptime_secs bigint,
    cpu_brand text,
    cpu_cores int,
    board_serial text,
    product_uuid text,
    rootfs_uuid text,
    chassis_serial text,
    bios_version text,
    cpu_microcode text,
    network_interfaces jsonb,
    primary_mac_address text,
    primary_ip_address text,
    gateway_ip text,
    selinux_status text,
    tpm_present boolean,
    secure_boot_enabled boolean,
    fips_mode boolean,
    timestamp timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.agent_heartbeats (
    id bigserial,
    system_state_id int NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now()
);
"""

_NEWER_COLUMNS: LiteralString = """
ALTER TABLE public.system_states ADD COLUMN store_path text NOT NULL;
ALTER TABLE public.commits ADD COLUMN evaluation_status text
    CHECK (evaluation_status IN ('pending', 'in_progress', 'complete', 'failed'));
ALTER TABLE public.derivations ADD COLUMN store_path text;
ALTER TABLE public.systems
    ADD COLUMN deployment_policy text
        CHECK (deployment_policy IN ('manual', 'auto_latest', 'pinned')),
    ADD COLUMN system_configuration_name text;
"""

_NEWEST_COLUMNS: LiteralString = """
ALTER TABLE public.flakes
    ADD COLUMN branch text,
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN sync_status text CHECK (sync_status IN ('syncing', 'synced', 'error')),
    ADD COLUMN last_sync_at timestamptz,
    ADD COLUMN last_sync_error text,
    ADD COLUMN snapshot_ready_at timestamptz;
ALTER TABLE public.commits
    ADD COLUMN source_archived boolean NOT NULL DEFAULT false,
    ADD COLUMN first_parent_sha text,
    ADD COLUMN first_parent_resolved boolean;
ALTER TABLE public.derivations ADD COLUMN expected_store_path text;
ALTER TABLE public.systems ADD COLUMN desired_target text;
ALTER TABLE public.system_states
    ADD COLUMN generation_matches_current_store_path boolean,
    ADD COLUMN boot_id text;

CREATE TABLE public.flake_branch_commit_snapshot (
    flake_id int NOT NULL,
    commit_id int NOT NULL,
    position int NOT NULL,
    observed_at timestamptz NOT NULL
);

CREATE TABLE public.cache_push_jobs (
    id serial,
    derivation_id int NOT NULL,
    status text NOT NULL
        CHECK (status IN ('pending', 'in_progress', 'completed', 'failed')),
    completed_at timestamptz,
    attempts int NOT NULL DEFAULT 0
);
"""

_OLDER_COLUMNS: LiteralString = """
ALTER TABLE public.system_states ADD COLUMN derivation_path text NOT NULL;
"""

_CONSTRAINTS: LiteralString = """
ALTER TABLE public.environments ADD PRIMARY KEY (id), ADD UNIQUE (name);
ALTER TABLE public.derivation_statuses ADD PRIMARY KEY (id), ADD UNIQUE (name);
ALTER TABLE public.flakes ADD PRIMARY KEY (id), ADD UNIQUE (repo_url);
ALTER TABLE public.commits
    ADD PRIMARY KEY (id),
    ADD UNIQUE (flake_id, git_commit_hash),
    ADD FOREIGN KEY (flake_id) REFERENCES public.flakes (id);
ALTER TABLE public.derivations
    ADD PRIMARY KEY (id),
    ADD UNIQUE (derivation_path),
    ADD FOREIGN KEY (commit_id) REFERENCES public.commits (id),
    ADD FOREIGN KEY (status_id) REFERENCES public.derivation_statuses (id);
ALTER TABLE public.systems
    ADD PRIMARY KEY (id),
    ADD UNIQUE (hostname),
    ADD FOREIGN KEY (environment_id) REFERENCES public.environments (id),
    ADD FOREIGN KEY (flake_id) REFERENCES public.flakes (id);
CREATE INDEX idx_systems_hostname ON public.systems (hostname);
ALTER TABLE public.system_states ADD PRIMARY KEY (id);
ALTER TABLE public.agent_heartbeats
    ADD PRIMARY KEY (id),
    ADD FOREIGN KEY (system_state_id) REFERENCES public.system_states (id);
"""

_NEWER_CONSTRAINTS: LiteralString = """
CREATE INDEX idx_derivations_store_path ON public.derivations (store_path);
"""

_NEWEST_CONSTRAINTS: LiteralString = """
CREATE INDEX idx_derivations_expected_store_path ON public.derivations (expected_store_path)
    WHERE expected_store_path IS NOT NULL;
CREATE INDEX idx_agent_heartbeats_state ON public.agent_heartbeats
    (system_state_id, timestamp DESC);
ALTER TABLE public.flake_branch_commit_snapshot
    ADD PRIMARY KEY (flake_id, commit_id),
    ADD UNIQUE (flake_id, position),
    ADD FOREIGN KEY (flake_id) REFERENCES public.flakes (id),
    ADD FOREIGN KEY (commit_id) REFERENCES public.commits (id);
ALTER TABLE public.cache_push_jobs
    ADD PRIMARY KEY (id),
    ADD FOREIGN KEY (derivation_id) REFERENCES public.derivations (id);
"""
