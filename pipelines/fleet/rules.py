"""What single columns of the source are put up with: which may be missing, long or unusable.

Belongs here: exceptions to the rule that the dictionary of columns gives, table by table. Does not
belong here: what they do to a statement (`queries`), to a batch (`assets.compute.quarantine`) or
to the question whether the database can be read at all (`preflight`).
"""

from collections.abc import Mapping

from assets.schemas.dictionary import Column, text
from assets.schemas.source import (
    CACHE_PUSH_JOBS,
    COMMITS,
    DERIVATION_STATUSES,
    DERIVATIONS,
    FLAKES,
    SYSTEM_STATES,
    SYSTEMS,
)

Columns = Mapping[str, tuple[str, ...]]

# What came in with a later version of the fleet's schema, and has a safe reading without it.
_FOUND_BY_LOOKING: Columns = {
    FLAKES.name: (
        "branch",
        "deleted_at",
        "sync_status",
        "last_sync_at",
        "last_sync_error",
        "snapshot_ready_at",
    ),
    COMMITS.name: ("evaluation_status", "source_archived"),
    DERIVATIONS.name: ("expected_store_path",),
    SYSTEMS.name: ("deployment_policy", "desired_target"),
    DERIVATION_STATUSES.name: ("is_terminal",),
    CACHE_PUSH_JOBS.name: ("completed_at",),
}


def _together(one: Columns, other: Columns) -> Columns:
    return {name: (*one.get(name, ()), *other.get(name, ())) for name in {**one, **other}}


OPTIONAL_COLUMNS = _together(
    _FOUND_BY_LOOKING,
    {DERIVATIONS.name: ("store_path",), SYSTEMS.name: ("system_configuration_name",)},
)
"""Columns that some databases lack; they are read as null."""

DISPENSABLE_COLUMNS = _together(
    _FOUND_BY_LOOKING, {DERIVATIONS.name: ("completed_at",), SYSTEMS.name: ("created_at",)}
)
"""Nullable columns without which a row can be used safely.

A value that can't be used becomes null and its row stays: without the derivation, every system that
runs it would be unknown because of a mere build time; and a system without `created_at` counts as
registered since ever. One that may also be missing counts as missing when its type is no use.
"""

PATH_COLUMNS: Columns = {
    DERIVATIONS.name: ("derivation_path", "store_path", "expected_store_path"),
    SYSTEM_STATES.name: ("deployed_path",),
    SYSTEMS.name: ("desired_target",),
}
"""Columns that hold paths; no longer text than a path is read."""

EXCERPTS: Mapping[str, Mapping[str, int]] = {FLAKES.name: {"last_sync_error": 300}}
"""Columns of which only the beginning is read, and how many characters of it."""

CHOSEN_BY: Mapping[str, Column] = {
    CACHE_PUSH_JOBS.name: text("status", "What became of the push.", nullable=True)
}
"""By table, the column that says which rows are read, and is not read itself."""


def is_optional(table: str, column: str) -> bool:
    """Whether a database may lack the column."""
    return column in OPTIONAL_COLUMNS.get(table, ())


def is_dispensable(table: str, column: str) -> bool:
    """Whether a value of the column that can't be used becomes null."""
    return column in DISPENSABLE_COLUMNS.get(table, ())
