"""The short answer at the end of a report: how the fleet stands, and who is furthest behind."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.display import display_name
from assets.publishing.instants import utc_minute
from assets.publishing.layout import file_of
from pipelines import doubts
from pipelines.commands.terminal import Display, TextColumn, table_lines
from pipelines.durations import duration
from pipelines.store.published import STATUS_DATASET, read_columns
from pipelines.units import HOUR

FURTHEST = 5
FLAKES_NAMED = 5

_MEANINGS = {
    "no_deployment": "registered but never deployed",
    "unknown": "what they run can't be compared with their flake; unknown_reason says why",
    "behind": "newer commits are available",
    "up_to_date": "running the latest commit of their flake",
    "ahead": "running a commit newer than expected",
}


def triage_lines(reports_dir: Path, date: dt.date, display: Display) -> list[str]:
    """How many systems of a day's snapshot are in each status, and the five furthest behind.

    Raises:
        UnreadableReportsError: the day's snapshot can't be read.
    """
    table = read_columns(
        reports_dir / file_of(STATUS_DATASET, date),
        [
            "hostname",
            "commits_behind",
            "hours_behind",
            "behind_reason",
            "flake_id",
            "flake_name",
            "environment",
            *doubts.COLUMNS,
        ],
    )
    rows = table.to_pylist()
    if not rows:
        return ["The fleet has no system."]
    counts = Counter(row["deployment_status"] for row in rows)
    # The snapshot is in triage order: the furthest behind come first.
    furthest = [row for row in rows if row["deployment_status"] == "behind"][:FURTHEST]
    lines = [
        f"{len(rows):,} systems as of {utc_minute(rows[0]['snapshot_at'])}",
        *_indented(
            [
                TextColumn("status", list(DEPLOYMENT_STATUSES)),
                TextColumn(
                    "systems",
                    [f"{counts[status]:,}" for status in DEPLOYMENT_STATUSES],
                    is_number=True,
                ),
                TextColumn("", [_MEANINGS[status] for status in DEPLOYMENT_STATUSES]),
            ],
            display,
        ),
    ]
    lines += _feed_lines(rows)
    if furthest:
        lines += ["", f"The {len(furthest)} furthest behind", *_furthest_lines(furthest, display)]
    return lines


def _feed_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flakes of which there can be later commits, most systems first."""
    by_flake: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if doubts.has_doubtful_feed(row) and row["deployment_status"] in doubts.CURRENT_STATUSES:
            by_flake[row["flake_id"]].append(row)
    if not by_flake:
        return []
    flakes = sorted(by_flake.values(), key=len, reverse=True)
    more = len(flakes) - FLAKES_NAMED
    return [
        "",
        "Up to date or ahead only as far as is known:",
        *(
            f"  {len(of_flake):,} of {display_name(str(of_flake[0]['flake_name']), 40)}: "
            f"{doubts.feed_note(of_flake[0])}"
            for of_flake in flakes[:FLAKES_NAMED]
        ),
        *[f"  and of {more} more flakes"] * (more > 0),
    ]


def _furthest_lines(rows: list[dict[str, object]], display: Display) -> list[str]:
    return _indented(
        [
            TextColumn("hostname", [str(row["hostname"]) for row in rows], width=40),
            TextColumn("flake", [str(row["flake_name"]) for row in rows], width=30),
            TextColumn("environment", [str(row["environment"] or "-") for row in rows], width=20),
            TextColumn("commits", [str(row["commits_behind"]) for row in rows], is_number=True),
            TextColumn("for", [duration(float(str(row["hours_behind"])) * HOUR) for row in rows]),
            TextColumn("reason", [str(row["behind_reason"] or "-") for row in rows]),
        ],
        display,
    )


def _indented(columns: list[TextColumn], display: Display) -> list[str]:
    return [f"  {line}" for line in table_lines(columns, display)]
