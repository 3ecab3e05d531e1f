"""`flakelag commit HASH`: where one commit has arrived, from the published files alone."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from assets.compute.forges import commit_link, comparison_link
from assets.publishing.display import display_name
from pipelines.commands.commit_record import (
    CommitRecord,
    Row,
    commit_record,
    commits_called,
    published_fleet,
)
from pipelines.commands.deployment_record import seconds_between
from pipelines.commands.terminal import (
    Display,
    NoAnswerError,
    TextColumn,
    now,
    reports_dir_option,
    table_lines,
    to_the_minute,
    write,
)
from pipelines.durations import duration
from pipelines.store.published import UnreadableReportsError

EVERYWHERE, NOT_EVERYWHERE = 0, 1

_SHORTEST_PREFIX = 4
_CANDIDATES_NAMED = 10
_HOSTS_NAMED = 5
_LATER_NAMED = 5

_MILESTONES = {
    "first system": "first_deployed_at",
    "half": "reached_50_percent_at",
    "nine tenths": "reached_90_percent_at",
    "all": "reached_100_percent_at",
}

_HELP = """Show where the commit HASH has arrived, and which systems have not got it, and why.

HASH may be the beginning of a git hash. Reads the newest published snapshot; neither the fleet's
database nor Dagster has to run. A system has a commit when it runs it or a later one of its flake.
Times are UTC.

\b
Columns of the systems that do not run it:
  ENVIRONMENT  of the systems
  REASON       behind_reason, else unknown_reason, else the status
  SYSTEMS      how many there are
  WENT BACK    how many of these had it on a published day
  NAMES        the first of them, those furthest behind first; --json has all

\b
Exit status:
  0  every system of the flake runs it or a later commit
  1  some system does not
  2  no answer: wrong usage, no such commit or several, or no readable snapshot

\b
Examples:
  flakelag commit 3f9c1a7
  flakelag commit 3f9c1a7 --json | jq -r '.missing[] | select(.reason == "not_applied") | .hostname'

--json writes commit (with the columns of commit_rollouts, where it has a row there), is_on_branch,
is_visible, snapshot_at, url, systems_running, missing and later: lists of objects.
"""


@click.command(help=_HELP)
@click.argument("commit_hash", metavar="HASH")
@click.option("--flake", metavar="NAME", help="Of the flake with this name, where several match.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@reports_dir_option
@click.pass_context
def commit(
    context: click.Context,
    commit_hash: str,
    flake: str | None,
    as_json: bool,
    reports_dir: Path,
) -> None:
    """Show where the commit HASH has arrived, and which systems have not got it, and why."""
    prefix = commit_hash.lower()
    if len(prefix) < _SHORTEST_PREFIX or not set(prefix) <= set("0123456789abcdef"):
        raise click.BadParameter(
            f"'{display_name(commit_hash)}' is not the beginning of a git hash: at least "
            f"{_SHORTEST_PREFIX} of the characters 0-9 and a-f.",
            param_hint="HASH",
        )
    try:
        fleet = published_fleet(reports_dir)
        found = commits_called(prefix, fleet)
        record = commit_record(_only(found, prefix, flake), fleet)
    except UnreadableReportsError as error:
        raise NoAnswerError(str(error)) from None
    write([_json_text(record)] if as_json else _lines(record))
    context.exit(NOT_EVERYWHERE if record.missing else EVERYWHERE)


def _only(found: Sequence[Row], prefix: str, flake: str | None) -> Row:
    """The one commit that is meant.

    Raises:
        NoAnswerError: none or several are; names them.
    """
    of_flake = [row for row in found if flake in (None, row["flake_name"])]
    if len(of_flake) == 1:
        return of_flake[0]
    if not of_flake:
        of = "" if flake is None else f" of a flake named '{display_name(flake)}'"
        raise NoAnswerError(
            f"No commit{of} that is published begins with {prefix}. It is not there before the "
            "first report after the fleet database has it."
        )
    named = [
        f"  {display_name(row['commit_hash'])} of {display_name(row['flake_name'] or '-')}, made "
        f"{to_the_minute(row['commit_timestamp'])}"
        for row in of_flake[:_CANDIDATES_NAMED]
    ]
    more = len(of_flake) - len(named)
    raise NoAnswerError(
        f"{len(of_flake)} commits begin with {prefix}; give more of the hash, or --flake:\n"
        + "\n".join(named + [f"  and {more} more"] * bool(more))
    )


def _json_text(record: CommitRecord) -> str:
    systems = ("hostname", "environment", "reason", "went_back", "commits_behind")
    return json.dumps(
        {
            "commit": record.commit,
            "is_on_branch": record.is_on_branch,
            "is_visible": record.is_visible,
            "snapshot_at": record.snapshot_at,
            "url": _link(record, record.commit["commit_hash"]),
            "systems_running": len(record.running),
            "missing": [
                {name: row[name] for name in systems}
                | {"current_commit_hash": row["current_commit_hash"], "url": _missing(record, row)}
                for row in record.missing
            ],
            "later": [row | {"url": _link(record, row["commit_hash"])} for row in record.later],
        },
        allow_nan=False,
    )


def _lines(record: CommitRecord) -> list[str]:
    commit = record.commit
    lines = [
        f"Commit {display_name(commit['commit_hash'])} of "
        f"{display_name(commit['flake_name'] or '-')}, made "
        f"{to_the_minute(commit['commit_timestamp'])}; {_place(record)}."
    ]
    link = _link(record, commit["commit_hash"])
    lines += [link] if link else []
    systems = len(record.running) + len(record.missing)
    age = max(seconds_between(record.snapshot_at, now().isoformat()), 0)
    lines.append(
        f"Snapshot of {to_the_minute(record.snapshot_at)}, {duration(age)} old. Of {systems} "
        f"systems of the flake, {len(record.running)} run it or a later commit."
    )
    if record.is_on_branch:
        lines += ["", *_milestones(commit)]
    if record.missing:
        lines += ["", f"{len(record.missing)} do not run it:", *_missing_lines(record.missing)]
    if record.later:
        lines += ["", f"After it came {len(record.later)}, the next first:"]
        lines += _later_lines(record.later)
    return lines


def _place(record: CommitRecord) -> str:
    if record.is_on_branch:
        return "on the branch"
    if record.is_visible:
        return "not on the branch: its history was rewritten without it"
    return "dated after the snapshot, so not counted yet"


def _milestones(commit: Row) -> list[str]:
    made_at = commit["commit_timestamp"]
    reached = [commit[column] for column in _MILESTONES.values()]
    spans = [None if at is None else duration(seconds_between(made_at, at)) for at in reached]
    return table_lines(
        [
            TextColumn("REACHED", list(_MILESTONES)),
            TextColumn("AT", [to_the_minute(at) for at in reached]),
            TextColumn("AFTER", spans),
        ],
        Display.of_stdout(),
    )


def _missing_lines(missing: Sequence[Row]) -> list[str]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in missing:
        groups[row["environment"] or "-", row["reason"]].append(row)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    names = [
        ", ".join(display_name(row["hostname"], 40) for row in rows[:_HOSTS_NAMED])
        + (f", and {len(rows) - _HOSTS_NAMED} more" if len(rows) > _HOSTS_NAMED else "")
        for _, rows in ordered
    ]
    went_back = [sum(row["went_back"] for row in rows) for _, rows in ordered]
    return table_lines(
        [
            TextColumn("ENVIRONMENT", [environment for (environment, _), _ in ordered], width=24),
            TextColumn("REASON", [reason for (_, reason), _ in ordered]),
            TextColumn("SYSTEMS", [str(len(rows)) for _, rows in ordered], is_number=True),
            TextColumn("WENT BACK", [str(count) for count in went_back], is_number=True),
            TextColumn("NAMES", names),
        ],
        Display.of_stdout(),
    )


def _later_lines(later: Sequence[Row]) -> list[str]:
    shown = later[:_LATER_NAMED]
    lines = table_lines(
        [
            TextColumn("COMMIT", [row["commit_hash"] for row in shown], width=12),
            TextColumn("MADE", [to_the_minute(row["commit_timestamp"]) for row in shown]),
            TextColumn("REACHED", [str(row["hosts_reached"]) for row in shown], is_number=True),
        ],
        Display.of_stdout(),
    )
    more = len(later) - len(shown)
    return lines + [f"and {more} more"] * bool(more)


def _link(record: CommitRecord, commit_hash: str) -> str | None:
    return commit_link(_template(record, "commit_url_template"), commit_hash)


def _missing(record: CommitRecord, system: Row) -> str | None:
    """Where a system's commit and the one that is asked for can be compared."""
    if system["unknown_reason"] == "flake_mismatch":
        return None
    template = _template(record, "comparison_url_template")
    return comparison_link(template, system["current_commit_hash"], record.commit["commit_hash"])


def _template(record: CommitRecord, column: str) -> Any:
    return None if record.flake is None else record.flake[column]
