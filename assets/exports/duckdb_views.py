"""The views that analysts open in DuckDB, as SQL derived from the datasets.

Belongs here: which views there are, their words, the statements that create them. Does not belong
here: DuckDB itself, files; see `assets.analysts`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from assets.compute.forges import BASE, COMMIT, HASH, HEAD
from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.layout import PARTITION_FILE, PARTITION_KEY
from assets.schemas import (
    COMMIT_ROLLOUTS,
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    PUBLISHED_DATASETS,
    QUARANTINE,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)

REPORTS_VARIABLE = "flakelag_reports"
"""The DuckDB variable that says where the reports are, for sessions in which we can't tell."""

# Of the others only all days together make sense: they hold what happened, not how things stand.
SNAPSHOTS = (
    SYSTEM_DEPLOYMENT_STATUS,
    FLAKE_DEPLOYMENT_STATUS,
    COMMIT_ROLLOUTS,
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
    QUARANTINE,
)

# Those of the document "System Deployment Status View".
DOCUMENT_COLUMNS = (
    "hostname",
    "deployment_status",
    "commits_behind",
    "current_commit_hash",
    "latest_commit_hash",
    "current_commit_timestamp",
    "latest_commit_timestamp",
    "current_derivation_path",
    "deployment_time",
    "flake_name",
    "status_description",
)

# DuckDB's default temporary folder is `<path of the database>.tmp`: the one thing that a view can
# learn of where it lies. Brackets keep what is a wildcard elsewhere from being one in a folder.
# The newest day is that of the newest file, not of the newest row: a day may have no row.
_MACROS = (
    rf"""
CREATE MACRO reports_folder() AS regexp_replace(
    coalesce(
        getvariable('{REPORTS_VARIABLE}') || '/',
        regexp_replace(current_setting('temp_directory'), '[^/\\]*$', '')
    ),
    '([*?[])', '[\1]', 'g'
)
""",
    "CREATE MACRO files_of(dataset) AS "
    f"reports_folder() || dataset || '/{PARTITION_KEY}*/{PARTITION_FILE}'",
    "CREATE MACRO day_of(file) AS regexp_extract("
    rf"file, '{PARTITION_KEY}([^/\\]+)[/\\]{re.escape(PARTITION_FILE)}$', 1)::DATE",
    """
CREATE MACRO newest_day(dataset) AS (
    SELECT max(day_of(file))
    FROM glob(files_of(dataset))
)
""",
    f"CREATE MACRO is_git_hash(text) AS coalesce(regexp_full_match(text, '{HASH}'), false)",
    f"""
CREATE MACRO commit_url(template, hash) AS
    CASE WHEN is_git_hash(hash) THEN replace(template, '{COMMIT}', hash) END
""",
    f"""
CREATE MACRO comparison_url(template, base, head) AS
    CASE WHEN is_git_hash(base) AND is_git_hash(head) AND base <> head
    THEN replace(replace(template, '{BASE}', base), '{HEAD}', head) END
""",
)


class _Link(NamedTuple):
    """A column of addresses at a forge."""

    name: str
    description: str
    expression: str


def _of_own_commit(expression: str) -> str:
    """Of another flake's commit the snapshot does not say where it can be looked at."""
    return f"CASE WHEN unknown_reason IS DISTINCT FROM 'flake_mismatch' THEN {expression} END"


# The files have only the templates, which are the same for all commits of a flake.
LINKS = {
    SYSTEM_DEPLOYMENT_STATUS: (
        _Link(
            "current_commit_url",
            "Page of the current commit.",
            _of_own_commit("commit_url(flake.commit_url_template, current_commit_hash)"),
        ),
        _Link(
            "latest_commit_url",
            "Page of the latest commit.",
            "commit_url(flake.commit_url_template, newest.latest_commit_hash)",
        ),
        _Link(
            "comparison_url",
            "Page of what the latest commit has and the current one has not.",
            _of_own_commit(
                "comparison_url(flake.comparison_url_template, current_commit_hash, "
                "newest.latest_commit_hash)"
            ),
        ),
    ),
    COMMIT_ROLLOUTS: (
        _Link(
            "commit_url",
            "Page of the commit.",
            "commit_url(flake.commit_url_template, commit_hash)",
        ),
    ),
}
"""By dataset, what its view with links has besides."""

_DATE = ("date", "The day (UTC) of the file; only the files of the days asked for are read.")


@dataclass(frozen=True)
class AnalystView:
    """A view over the published files.

    Attributes:
        name: of the view.
        description: for people who browse the views.
        select: what it shows.
        comments: of its columns, by name.
    """

    name: str
    description: str
    select: str
    comments: dict[str, str]

    def statements(self) -> Iterator[str]:
        """The SQL that creates the view and describes it and its columns."""
        yield f"CREATE VIEW {self.name} AS\n{self.select}"
        yield f"COMMENT ON VIEW {self.name} IS {sql_literal(self.description)}"
        for column, comment in self.comments.items():
            yield f"COMMENT ON COLUMN {self.name}.{column} IS {sql_literal(comment)}"


def views_for_analysts() -> list[AnalystView]:
    """All views, each after those that it reads."""
    return [
        *(_all_days(dataset) for dataset in PUBLISHED_DATASETS),
        *(_newest_day(dataset) for dataset in SNAPSHOTS),
        *(_newest_day_with_links(dataset, links) for dataset, links in LINKS.items()),
        _document_view(),
        _deployment_history_with_end(),
    ]


def analyst_statements() -> list[str]:
    """The SQL that turns an empty DuckDB database beside the datasets' folders into the views.

    The views find the files from where their database lies when it is opened, or from the variable
    `flakelag_reports`. DuckDB asks for at least one file of each dataset at creation.
    """
    return [
        *(macro.strip() for macro in _MACROS),
        *(statement for view in views_for_analysts() for statement in view.statements()),
    ]


def sql_literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _all_days(dataset: Dataset) -> AnalystView:
    columns = ",\n    ".join((*dataset.column_names, "date"))
    # By name, so that days from before an upgrade lack its new columns instead of hiding them.
    select = (
        f"SELECT\n    {columns}\n"
        f"FROM read_parquet(files_of('{dataset.name}'), hive_partitioning = true, "
        "union_by_name = true)"
    )
    return AnalystView(
        dataset.name,
        f"{dataset.description} {dataset.grain.capitalize()}; all published days.",
        select,
        _comments(dataset),
    )


def _newest_day(dataset: Dataset) -> AnalystView:
    return AnalystView(
        _latest(dataset),
        f"{dataset.description} {dataset.grain.capitalize()}; the newest day only.",
        f"FROM {dataset.name}\nWHERE date = newest_day('{dataset.name}')",
        _comments(dataset),
    )


def _newest_day_with_links(dataset: Dataset, links: tuple[_Link, ...]) -> AnalystView:
    urls = "".join(f",\n    {link.expression} AS {link.name}" for link in links)
    return AnalystView(
        f"{_latest(dataset)}_with_links",
        f"{dataset.description} {dataset.grain.capitalize()}; the newest day only, with links to "
        "the forge, null where it is not known for certain.",
        f"SELECT\n    newest.*{urls}\nFROM {_latest(dataset)} AS newest\n"
        f"LEFT JOIN {FLAKE_DEPLOYMENT_STATUS.name} AS flake USING (flake_id, date)",
        _comments(dataset) | {link.name: link.description for link in links},
    )


def _document_view() -> AnalystView:
    columns = ",\n    ".join(DOCUMENT_COLUMNS)
    triage = ", ".join(sql_literal(status) for status in DEPLOYMENT_STATUSES)
    comments = _comments(SYSTEM_DEPLOYMENT_STATUS)
    return AnalystView(
        "view_system_deployment_status",
        "Where each system stands relative to the latest commit of its flake, in the newest "
        "snapshot, in triage order.",
        f"SELECT\n    {columns}\nFROM {_latest(SYSTEM_DEPLOYMENT_STATUS)}\n"
        f"ORDER BY list_position([{triage}], deployment_status), commits_behind DESC NULLS LAST, "
        "hostname",
        {name: comments[name] for name in DOCUMENT_COLUMNS},
    )


def _deployment_history_with_end() -> AnalystView:
    return AnalystView(
        "deployment_history_with_end",
        "The deployments of all published days, with when each ended: when the host's next "
        "published deployment began.",
        "SELECT\n    *,\n    lead(deployed_at) OVER (\n"
        "        PARTITION BY hostname ORDER BY deployed_at, system_state_id\n"
        f"    ) AS ended_at\nFROM {DEPLOYMENTS.name}",
        _comments(DEPLOYMENTS)
        | {
            "ended_at": "When the host's next published deployment began; null if there is none: "
            "it still runs, unless days are missing."
        },
    )


def _latest(dataset: Dataset) -> str:
    return f"latest_{dataset.name}"


def _comments(dataset: Dataset) -> dict[str, str]:
    return {
        column.name: column.description
        if column.unit is None
        else f"{column.description} ({column.unit})"
        for column in dataset.columns
    } | dict([_DATE])
