"""The schema of a Crystal Forge database: our own DDL, for the demo fleet and for tests.

Belongs here: what the fleet database looks like, in both of its generations, with the indexes that
it really has and no others. Does not belong here: any row, other than the closed list of build
statuses, which the real database's migrations insert too.
"""

from typing import Literal, LiteralString

import psycopg

Generation = Literal["newer", "older"]

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
    return "store_path" if generation == "newer" else "derivation_path"


def create_source_schema(connection: psycopg.Connection, generation: Generation) -> None:
    """Creates every table of the fleet database in `public`, required and optional, empty.

    `derivation_statuses` alone holds its rows. The caller commits.

    Args:
        connection: to an empty database, as a user who may create tables in `public`.
        generation: "newer" has `system_states.store_path`, `derivations.store_path` with its index,
            `commits.evaluation_status`, and `systems.deployment_policy` and
            `system_configuration_name`; "older" has `system_states.derivation_path` instead.

    Raises:
        psycopg.errors.DuplicateTable: the database already has such a table.
    """
    connection.execute(_COMMON)
    if generation == "newer":
        connection.execute(_NEWER)
    else:
        connection.execute(_OLDER)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.derivation_statuses (id, name, is_terminal, is_success) "
            "VALUES (%s, %s, %s, %s)",
            DERIVATION_STATUSES,
        )


_COMMON: LiteralString = """
CREATE TABLE public.environments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE
);

CREATE TABLE public.derivation_statuses (
    id int PRIMARY KEY,
    name text NOT NULL UNIQUE,
    is_terminal boolean NOT NULL,
    is_success boolean NOT NULL
);

CREATE TABLE public.flakes (
    id serial PRIMARY KEY,
    name text NOT NULL,
    repo_url text NOT NULL UNIQUE
);

CREATE TABLE public.commits (
    id serial PRIMARY KEY,
    flake_id int NOT NULL REFERENCES public.flakes (id),
    git_commit_hash text NOT NULL,
    commit_timestamp timestamptz NOT NULL,
    UNIQUE (flake_id, git_commit_hash)
);

CREATE TABLE public.derivations (
    id serial PRIMARY KEY,
    commit_id int REFERENCES public.commits (id),
    derivation_type text NOT NULL CHECK (derivation_type IN ('nixos', 'package')),
    derivation_name text NOT NULL,
    derivation_path text UNIQUE,
    status_id int NOT NULL REFERENCES public.derivation_statuses (id),
    scheduled_at timestamptz,
    completed_at timestamptz
);

CREATE TABLE public.systems (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hostname text NOT NULL UNIQUE,
    environment_id uuid REFERENCES public.environments (id),
    is_active boolean DEFAULT true,
    flake_id int REFERENCES public.flakes (id),
    created_at timestamptz DEFAULT now()
);
CREATE INDEX idx_systems_hostname ON public.systems (hostname);

CREATE TABLE public.system_states (
    id serial PRIMARY KEY,
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
    id bigserial PRIMARY KEY,
    system_state_id int NOT NULL REFERENCES public.system_states (id),
    timestamp timestamptz NOT NULL DEFAULT now()
);
"""

_NEWER: LiteralString = """
ALTER TABLE public.system_states ADD COLUMN store_path text NOT NULL;
ALTER TABLE public.commits ADD COLUMN evaluation_status text
    CHECK (evaluation_status IN ('pending', 'in_progress', 'complete', 'failed'));
ALTER TABLE public.derivations ADD COLUMN store_path text;
CREATE INDEX idx_derivations_store_path ON public.derivations (store_path);
ALTER TABLE public.systems
    ADD COLUMN deployment_policy text
        CHECK (deployment_policy IN ('manual', 'auto_latest', 'pinned')),
    ADD COLUMN system_configuration_name text;
"""

_OLDER: LiteralString = """
ALTER TABLE public.system_states ADD COLUMN derivation_path text NOT NULL;
"""
