"""`flakelag history HOST`: what one system ran, from the published deployments alone."""

import difflib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow.compute as pc

from assets.publishing.display import display_name
from pipelines.commands.deployment_record import (
    REPLACED,
    ROLLED_BACK,
    RUNNING,
    UNKNOWN,
    NewestSnapshot,
    PublishedDays,
    Row,
    newest_snapshot,
    published_days,
    published_events,
    seconds_between,
    with_outcomes,
)
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
    DEPLOYMENTS_DATASET,
    UnreadableReportsError,
    partition_files,
    read_columns,
)

_OUTCOME_COLOURS = {RUNNING: "green", ROLLED_BACK: "red", UNKNOWN: "yellow"}

_SPANS_NAMED = 3


_HELP = f"""Show what HOST ran, when, and how each deployment went, newest first.

Reads the published deployments; neither the fleet's database nor Dagster has to run. A
deployment is the first report of another path than before. Times are UTC. Only deployments of
published days are shown, save for what the host runs now, which the newest snapshot knows too;
the second line says which days are published and which are missing between.

\b
Columns:
  DEPLOYED  when the host first reported it
  KIND      initial, upgrade, rollback, rebuild (same commit, another path),
            flake_change, or untraced (the path has no known commit); `-` where the
            deployment's day is not published and the newest snapshot alone knows it
  COMMIT    commit that it runs
  COMMITS   commits that an upgrade brought
  LEAD      from the commit to the deployment; negative where clocks disagree
  RAN       how long it ran, until now if it still does
  OUTCOME   {RUNNING}, {REPLACED}, {ROLLED_BACK} (the next deployment was a rollback), or
            {UNKNOWN} (its end may lie on a day that is not published)
Columns stand two spaces apart or more, `-` means that there is no value. Names of more than 64
characters are shortened; --json has them whole.

\b
Exit status:
  0  the host is known, even if it was never deployed
  2  no answer: wrong usage, an unknown host, or nothing readable is published

\b
Examples:
  flakelag history web-1
  flakelag history web-1 --limit 5
  flakelag history web-1 --json | jq '.deployments[] | select(.outcome == "rolled back")'

--json writes hostname, published_days (first, last, and the list of those missing between) and
deployments: a list of objects with the columns of the published deployments, source
(`deployments`, or `snapshot` for one that only the newest snapshot knows), ended_at and
ran_seconds (both null while it runs, and where days are missing that may hold its end),
ended_at_known (false in the latter case) and outcome.
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
        snapshot = newest_snapshot(host, reports_dir)
        days = published_days(files, snapshot)
        events = published_events(host, files)
        if not events:
            _require_known(host, reports_dir, snapshot, files)
    except UnreadableReportsError as error:
        raise NoAnswerError(str(error)) from None
    deployments = with_outcomes(events, days, snapshot)
    shown = deployments[::-1][:limit]
    if as_json:
        answer = {"hostname": host, "published_days": _as_json(days), "deployments": shown}
        write([json.dumps(answer, allow_nan=False)])
    elif _was_never_deployed(events, snapshot):
        write([f"{display_name(host)} has never been deployed."])
    else:
        table = ["", *_table(shown)] if shown else []
        write([_summary(host, events), _record(days, deployments), *table])


def _require_known(
    host: str, reports_dir: Path, snapshot: NewestSnapshot | None, files: Sequence[Path]
) -> None:
    """Accepts a host that the newest snapshot has, though no deployment of it is published.

    Raises:
        NoAnswerError: nothing that is published knows the host; names those that are alike.
    """
    known = set(snapshot.hostnames) if snapshot else set()
    if host in known:
        return
    for file in files:
        known.update(pc.unique(read_columns(file, ["hostname"])["hostname"]).to_pylist())
    raise NoAnswerError(
        f"{display_name(host)} is not among the {len(known)} hosts that are published in "
        f"{reports_dir}. {_suggestion(host, known)}"
    )


def _suggestion(host: str, known: Collection[str]) -> str:
    # Of what is shown: comparing texts without end takes time without end.
    wanted, shown = display_name(host), sorted(map(display_name, known))
    containing = [name for name in shown if wanted.casefold() in name.casefold()]
    alike = [*difflib.get_close_matches(wanted, shown, n=5), *containing]
    names = ", ".join(list(dict.fromkeys(alike))[:5])
    return f"Did you mean {names}?" if names else "None is alike."


def _was_never_deployed(events: Sequence[Row], snapshot: NewestSnapshot | None) -> bool:
    return (
        not events
        and snapshot is not None
        and snapshot.host is not None
        and snapshot.host["deployment_status"] == "no_deployment"
    )


def _as_json(days: PublishedDays) -> dict[str, Any]:
    return {
        "first": days.first.isoformat(),
        "last": days.last.isoformat(),
        "missing": [day.isoformat() for day in days.missing],
    }


def _summary(host: str, events: Sequence[Row]) -> str:
    rollbacks = sum(event["deployment_kind"] == "rollback" for event in events)
    first = f" First of them: {to_the_minute(events[0]['deployed_at'])}" if events else ""
    return (
        f"{display_name(host)}. Published deployments: {len(events)}, of these rollbacks: "
        f"{rollbacks}.{first}"
    )


def _record(days: PublishedDays, deployments: Sequence[Row]) -> str:
    """Says what the table can't show for want of days."""
    record = f"Published days: {days.first} to {days.last}"
    if days.missing:
        spans = days.missing_spans()
        named = [f"{a}" if a == b else f"{a} to {b}" for a, b in spans[:_SPANS_NAMED]]
        more = ", …" if len(spans) > _SPANS_NAMED else ""
        plural = "day" if len(days.missing) == 1 else "days"
        record += f", {len(days.missing)} {plural} missing ({', '.join(named)}{more})"
    # Nothing goes before an initial deployment.
    is_whole = not days.missing and deployments and deployments[0]["deployment_kind"] == "initial"
    if is_whole:
        return f"{record}."
    unpublished = [str(day) for day in days.missing[:1]] + [
        event["deployed_at"][:10] for event in deployments if event["source"] == "snapshot"
    ]
    start = min(unpublished, default="YYYY-MM-DD")
    return (
        f"{record}; deployments of other days are not shown. `make backfill FROM={start}` "
        "fills them."
    )


def _table(events: Sequence[Row]) -> list[str]:
    def texts(name: str) -> list[str | None]:
        return [event[name] for event in events]

    instant = now().isoformat()
    included = [event["commits_included"] for event in events]
    return table_lines(
        [
            TextColumn("DEPLOYED", [to_the_minute(event["deployed_at"]) for event in events]),
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


def _ran_seconds(event: Row, instant: str) -> float | None:
    if event["outcome"] == RUNNING:
        return seconds_between(event["deployed_at"], instant)
    ran: float | None = event["ran_seconds"]
    return ran


def _span(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)
