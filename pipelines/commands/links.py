"""The pages of a system's commits, from the newest published files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.compute.forges import commit_link, comparison_link
from assets.publishing.layout import published_files
from pipelines.store.published import FLAKE_DATASET, read_columns, rows_of

COMMIT_TEMPLATE, COMPARISON_TEMPLATE = "commit_url_template", "comparison_url_template"

Templates = Mapping[Any, Mapping[str, Any]]


def url_templates(reports_dir: Path) -> Templates:
    """By flake_id, the newest templates; empty where no flake is published.

    Raises:
        UnreadableReportsError: they can't be read.
    """
    files = published_files(reports_dir, FLAKE_DATASET)
    if not files:
        return {}
    rows = rows_of(read_columns(files[-1], ["flake_id", COMMIT_TEMPLATE, COMPARISON_TEMPLATE]))
    return {row["flake_id"]: row for row in rows}


def system_links(row: Mapping[str, Any], templates: Templates) -> dict[str, str | None]:
    """Of a row of the status; null where the forge is not known for certain.

    Of another flake's commit the snapshot does not say where it can be looked at.
    """
    flake = templates.get(row["flake_id"], {})
    is_own = row["unknown_reason"] != "flake_mismatch"
    current = row["current_commit_hash"] if is_own else None
    return {
        "current_commit_url": commit_link(flake.get(COMMIT_TEMPLATE), current),
        "latest_commit_url": commit_link(flake.get(COMMIT_TEMPLATE), row["latest_commit_hash"]),
        "comparison_url": comparison_link(
            flake.get(COMPARISON_TEMPLATE), current, row["latest_commit_hash"]
        ),
    }
