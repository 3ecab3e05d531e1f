"""`flakelag status`: the newest snapshot, in triage order, from its Parquet file alone."""

import datetime as dt
import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.display import LONGEST_LABEL, LONGEST_NAME, display_name
from assets.publishing.layout import published_files
from assets.publishing.unusable import (
    WHOM_ROWS_ARE_ABOUT,
    UnusableRows,
    in_sentences,
    unusable_rows,
)
from assets.schemas import QUARANTINE
from pipelines import doubts
from pipelines.commands.links import system_links, url_templates
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
from pipelines.store.published import (
    UnreadableReportsError,
    latest_snapshot,
    read_columns,
    rows_of,
)

ALL_CURRENT, SOME_NOT_CURRENT = 0, 1

SNAPSHOT_COLUMNS = ("snapshot_date", "snapshot_at", "extracted_at")

_PRINTED_COLUMNS = (
    "hostname",
    "deployment_status",
    "commits_behind",
    "hours_behind",
    "flake_id",
    "flake_name",
    "current_commit_hash",
    "latest_commit_hash",
    "deployment_time",
    "unknown_reason",
    "behind_reason",
    *(name for name in doubts.COLUMNS if name not in ("deployment_status", "snapshot_at")),
    *SNAPSHOT_COLUMNS,
)

_FLAKE_WIDTH = 24
_UNUSABLE_SHOWN = 5

_STATUS_COLOURS = {
    "no_deployment": "magenta",
    "unknown": "yellow",
    "behind": "red",
    "up_to_date": "green",
    "ahead": "cyan",
    # In doubt.
    "up_to_date?": "yellow",
    "ahead?": "yellow",
}

Row = dict[str, Any]


_HELP = """Show where every system stands, those that need attention first.

Reads the newest published snapshot; neither the fleet's database nor Dagster has to run. The
order is no_deployment, unknown, behind (most commits first), up_to_date, ahead. Times are UTC.

\b
Columns:
  STATUS    no_deployment, unknown, behind, up_to_date or ahead; with a question mark where
            the reading of the flake's repository is old or failed, so that there can be later
            commits: REASON says as of when
  COMMITS   commits of the flake that the system has not got
  HOURS     hours since the first of these was made
  CURRENT   commit that the system runs
  LATEST    latest commit of its flake
  DEPLOYED  when it began to run what it runs
  REASON    why the status is unknown (unknown_reason); why it is behind, and so who has to
            act (behind_reason); and what speaks against the status
Columns stand two spaces apart or more, `-` means that there is no value. Names of more than 64
characters are shortened; --json has them whole. Above the table stands what is uncertain because
rows of the fleet's database can't be used.

\b
Exit status:
  0  every system shown is up_to_date or ahead, and none with a question mark
  1  some system shown is not (--limit makes no difference)
  2  no answer: wrong usage, or no readable snapshot

\b
Examples:
  flakelag status --limit 20                     what to look at first
  flakelag status --status behind --flake infra  one flake's laggards
  flakelag status --status unknown --status no_deployment
  flakelag status >/dev/null || echo "the fleet lags"
  flakelag status --json | jq -r '.systems[] | select(.hours_behind > 168) | .hostname'

--json writes snapshot_at, extracted_at, snapshot_date, snapshot_age_seconds, systems_total,
counts (by status), unusable_rows (of the fleet's database: how many, of which table, about which
host or flake, and what is uncertain because of them) and systems: a list of objects with every
other column of system_deployment_status, as the data dictionary has them, and current_commit_url,
latest_commit_url and comparison_url at the forge; null where there is no value.
"""


@click.command(help=_HELP)
@click.option(
    "--flake",
    "flakes",
    multiple=True,
    metavar="NAME",
    help="Only systems of the flake with this name; repeat for several.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(DEPLOYMENT_STATUSES),
    help="Only systems in this status; repeat for several.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the first N systems only: those that need attention most.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@reports_dir_option
@click.pass_context
def status(
    context: click.Context,
    flakes: Sequence[str],
    statuses: Sequence[str],
    limit: int | None,
    as_json: bool,
    reports_dir: Path,
) -> None:
    """Show where every system stands, those that need attention first."""
    try:
        table = latest_snapshot(reports_dir, None if as_json else _PRINTED_COLUMNS)
        templates = url_templates(reports_dir) if as_json else {}
    except UnreadableReportsError as error:
        raise NoAnswerError(str(error)) from None
    rows = rows_of(table)
    snapshot = _snapshot(rows)
    unusable = _unusable(reports_dir, rows)
    wanted = _flakes_named(flakes, rows)
    chosen = [
        row
        for row in rows
        if (not flakes or row["flake_name"] in wanted)
        and (not statuses or row["deployment_status"] in statuses)
    ]
    counts = Counter(row["deployment_status"] for row in chosen)
    shown = chosen[:limit]
    age = _age(snapshot)
    if as_json:
        systems = [{**row, **system_links(row, templates)} for row in shown]
        write([_json_text(snapshot, age, counts, unusable, systems)])
    else:
        warnings = in_sentences(unusable, _UNUSABLE_SHOWN)
        write([*_summary(snapshot, age, counts, chosen), *warnings, "", *_table(shown)])
    is_current = counts.keys() <= set(doubts.CURRENT_STATUSES)
    is_certain = not any(map(doubts.has_doubtful_feed, chosen))
    context.exit(ALL_CURRENT if is_current and is_certain else SOME_NOT_CURRENT)


def _snapshot(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NoAnswerError("The newest snapshot holds no system.")
    return {name: rows[0][name] for name in SNAPSHOT_COLUMNS}


def _age(snapshot: Row) -> float:
    """Seconds since the snapshot; a clock that is slow makes none of it negative."""
    age = now() - dt.datetime.fromisoformat(snapshot["snapshot_at"])
    return max(age.total_seconds(), 0.0)


def _flakes_named(flakes: Sequence[str], rows: Sequence[Row]) -> set[str]:
    """The names of the flakes that are asked for, by name or by what is shown of it."""
    known = {row["flake_name"] for row in rows} - {None}
    shown = {
        display_name(name, longest): name
        for name in sorted(known)
        for longest in (LONGEST_NAME, LONGEST_LABEL, _FLAKE_WIDTH)
    }
    for flake in flakes:
        if flake not in known and flake not in shown:
            # Of what is shown: comparing texts without end takes time without end.
            named = sorted(display_name(name) for name in known)
            likely = difflib.get_close_matches(display_name(flake), named, n=5) or named[:20]
            raise click.BadParameter(
                f"no system belongs to a flake named '{display_name(flake)}'; "
                f"there is: {', '.join(likely) or 'none'}.",
                param_hint="--flake",
            )
    return {flake if flake in known else shown[flake] for flake in flakes}


def _unusable(reports_dir: Path, rows: Sequence[Row]) -> tuple[UnusableRows, ...]:
    """The source rows that the newest reading could not use."""
    files = published_files(reports_dir, QUARANTINE.name)
    if not files:
        return ()
    names = {row["flake_id"]: row["flake_name"] for row in rows if row["flake_id"] is not None}
    try:
        return unusable_rows(read_columns(files[-1], WHOM_ROWS_ARE_ABOUT), names)
    except UnreadableReportsError as error:
        raise NoAnswerError(str(error)) from None


def _json_text(
    snapshot: Row,
    age: float,
    counts: Counter[str],
    unusable: Sequence[UnusableRows],
    shown: Sequence[Row],
) -> str:
    return json.dumps(
        {
            **snapshot,
            "snapshot_age_seconds": round(age),
            "systems_total": counts.total(),
            "counts": {name: counts[name] for name in DEPLOYMENT_STATUSES},
            "unusable_rows": [{**asdict(each), "effect": each.effect} for each in unusable],
            "systems": [
                {name: value for name, value in row.items() if name not in SNAPSHOT_COLUMNS}
                for row in shown
            ],
        },
        allow_nan=False,
    )


def _summary(snapshot: Row, age: float, counts: Counter[str], chosen: Sequence[Row]) -> list[str]:
    in_doubt = Counter(row["deployment_status"] for row in chosen if _is_in_doubt(row))
    parts = [
        f"{counts[name]} {name}" + (f" ({in_doubt[name]} in doubt)" * bool(in_doubt[name]))
        for name in DEPLOYMENT_STATUSES
        if counts[name]
    ]
    return [
        f"Snapshot of {to_the_minute(snapshot['snapshot_at'])}, {duration(age)} old. "
        f"Systems: {counts.total()}" + (f" ({', '.join(parts)})" if parts else ""),
    ]


def _is_in_doubt(row: Row) -> bool:
    return row["deployment_status"] in doubts.CURRENT_STATUSES and doubts.has_doubtful_feed(row)


def _table(rows: Sequence[Row]) -> list[str]:
    def texts(name: str) -> list[str | None]:
        return [row[name] for row in rows]

    statuses = [row["deployment_status"] + "?" * _is_in_doubt(row) for row in rows]
    return table_lines(
        [
            TextColumn("HOSTNAME", texts("hostname"), width=40),
            TextColumn("STATUS", statuses, colours=_STATUS_COLOURS),
            TextColumn("COMMITS", [_number(row["commits_behind"]) for row in rows], is_number=True),
            TextColumn("HOURS", [_number(row["hours_behind"]) for row in rows], is_number=True),
            TextColumn("FLAKE", texts("flake_name"), width=_FLAKE_WIDTH),
            TextColumn("CURRENT", texts("current_commit_hash"), width=8),
            TextColumn("LATEST", texts("latest_commit_hash"), width=8),
            TextColumn("DEPLOYED", [to_the_minute(row["deployment_time"]) for row in rows]),
            TextColumn("REASON", [_reason(row) for row in rows]),
        ],
        Display.of_stdout(),
    )


def _reason(row: Row) -> str | None:
    reasons = [row["unknown_reason"], row["behind_reason"], *doubts.doubts_about(row)]
    return "; ".join(filter(None, reasons)) or None


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.1f}" if isinstance(value, float) else str(value)
