"""`flakelag history HOST`: what one system ran, from the published deployments alone."""

import datetime as dt
import difflib
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow.compute as pc

from pipelines.commands.published import (
    DEPLOYMENTS_DATASET,
    UnreadableReportsError,
    latest_snapshot,
    partition_files,
    read_columns,
    rows_of,
)
from pipelines.commands.terminal import (
    Display,
    NoAnswerError,
    TextColumn,
    minute,
    now,
    reports_dir_option,
    table_lines,
    write,
)
from pipelines.printable import duration, printable

_EVENT_COLUMNS = (
    "hostname",
    "deployed_at",
    "system_state_id",
    "deployment_kind",
    "derivation_path",
    "flake_name",
    "commit_hash",
    "commit_timestamp",
    "previous_commit_hash",
    "commits_included",
    "lead_time_seconds",
)

_OUTCOME_COLOURS = {"running": "green", "rolled back": "red"}

Event = dict[str, Any]


_HELP = """Show what HOST ran, when, and how each deployment went, newest first.

Reads the published deployments; neither the fleet's database nor Dagster has to run. A
deployment is the first report of another path than before. Times are UTC.

\b
Columns:
  DEPLOYED  when the host first reported it
  KIND      initial, upgrade, rollback, rebuild (same commit, another path),
            flake_change, or untraced (the path has no known commit)
  COMMIT    commit that it runs
  COMMITS   commits that an upgrade brought
  LEAD      from the commit to the deployment; negative where clocks disagree
  RAN       how long it ran, until now if it still does
  OUTCOME   running, replaced, or rolled back (the next deployment was a rollback)
Columns stand two spaces apart or more, `-` means that there is no value.

\b
Exit status:
  0  the host is known, even if it was never deployed
  2  no answer: wrong usage, an unknown host, or nothing readable is published

\b
Examples:
  flakelag history web-1
  flakelag history web-1 --limit 5
  flakelag history web-1 --json | jq '.deployments[] | select(.outcome == "rolled back")'

--json writes hostname and deployments: a list of objects with the columns of the published
deployments, ended_at and ran_seconds (both null while it runs) and outcome.
"""


@click.command(help=_HELP)
@click.argument("host")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Show the newest N deployments only."
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@reports_dir_option
def history(host: str, limit: int | None, as_json: bool, reports_dir: Path) -> None:
    """Show what HOST ran, when, and how each deployment went, newest first."""
    # An argument that is no text can't be any host's name, nor can Arrow compare it.
    host = host.encode(errors="backslashreplace").decode()
    try:
        files = partition_files(reports_dir, DEPLOYMENTS_DATASET)
        events = _events_of(host, files)
    except UnreadableReportsError as error:
        raise NoAnswerError(str(error)) from None
    if not events:
        _require_known(host, reports_dir, files)
    shown = _with_outcomes(events)[::-1][:limit]
    if as_json:
        write([json.dumps({"hostname": host, "deployments": shown}, allow_nan=False)])
    elif not events:
        write([f"{printable(host)} has never been deployed."])
    else:
        write([*_summary(host, events), *_table(shown)])


def _events_of(host: str, files: Iterable[Path]) -> list[Event]:
    """The host's deployments in order, over all days."""
    events: list[Event] = []
    for file in files:
        table = read_columns(file, _EVENT_COLUMNS)
        # A pattern may match more hosts than this one; Arrow narrows the rows, Python decides.
        near = table.filter(pc.match_substring(table["hostname"], host))
        events.extend(event for event in rows_of(near) if event["hostname"] == host)
    return sorted(events, key=lambda event: (event["deployed_at"], event["system_state_id"]))


def _require_known(host: str, reports_dir: Path, files: Sequence[Path]) -> None:
    """Accepts a host that the newest snapshot has, though it was never deployed.

    Raises:
        NoAnswerError: nothing that is published knows the host; names those that are alike.
    """
    try:
        snapshot = latest_snapshot(reports_dir, ["hostname"])
        known = set(snapshot["hostname"].to_pylist())
    except UnreadableReportsError:
        # Deployments alone may be published: then they alone tell which hosts there are.
        known = set()
    if host in known:
        return
    for file in files:
        known.update(pc.unique(read_columns(file, ["hostname"])["hostname"]).to_pylist())
    containing = sorted(name for name in known if host.casefold() in name.casefold())
    alike = [*difflib.get_close_matches(host, known, n=5), *containing]
    suggestions = ", ".join(printable(name) for name in list(dict.fromkeys(alike))[:5])
    raise NoAnswerError(
        f"{printable(host)} is not among the {len(known)} hosts that are published in "
        f"{reports_dir}. " + (f"Did you mean {suggestions}?" if suggestions else "None is alike.")
    )


def _with_outcomes(events: Sequence[Event]) -> list[Event]:
    """Adds what only the host's next deployment tells: when and how each one ended."""
    told = []
    for event, successor in itertools.zip_longest(events, events[1:]):
        if successor is None:
            end: Event = {"ended_at": None, "ran_seconds": None, "outcome": "running"}
        else:
            is_rolled_back = successor["deployment_kind"] == "rollback"
            end = {
                "ended_at": successor["deployed_at"],
                "ran_seconds": _seconds_between(event["deployed_at"], successor["deployed_at"]),
                "outcome": "rolled back" if is_rolled_back else "replaced",
            }
        told.append({**event, **end})
    return told


def _seconds_between(start: str, end: str) -> float:
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()


def _summary(host: str, events: Sequence[Event]) -> list[str]:
    rollbacks = sum(event["deployment_kind"] == "rollback" for event in events)
    return [
        f"{printable(host)}. Deployments: {len(events)}, of these rollbacks: {rollbacks}. "
        f"First: {minute(events[0]['deployed_at'])}",
        "",
    ]


def _table(events: Sequence[Event]) -> list[str]:
    def texts(name: str) -> list[str | None]:
        return [event[name] for event in events]

    instant = now().isoformat()
    included = [event["commits_included"] for event in events]
    return table_lines(
        [
            TextColumn("DEPLOYED", [minute(event["deployed_at"]) for event in events]),
            TextColumn("KIND", texts("deployment_kind")),
            TextColumn("FLAKE", texts("flake_name"), width=24),
            TextColumn("COMMIT", texts("commit_hash"), width=8),
            TextColumn(
                "COMMITS", [None if n is None else str(n) for n in included], is_number=True
            ),
            TextColumn("LEAD", [_span(event["lead_time_seconds"]) for event in events]),
            TextColumn("RAN", [_span(_ran_seconds(event, instant)) for event in events]),
            TextColumn("OUTCOME", texts("outcome"), colours=_OUTCOME_COLOURS),
        ],
        Display.of_stdout(),
    )


def _ran_seconds(event: Event, instant: str) -> float:
    ran: float | None = event["ran_seconds"]
    return _seconds_between(event["deployed_at"], instant) if ran is None else ran


def _span(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)
