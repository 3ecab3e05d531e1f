"""What is published about one host's deployments, and how much of it may be missing.

Belongs here: putting the days together and telling what follows from them. Does not belong here:
words for people; see `pipelines.commands.history`.
"""

import datetime as dt
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pipelines.store.published import (
    STATUS_DATASET,
    UnreadableReportsError,
    day_of,
    partition_files,
    read_columns,
    rows_of,
)

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

# What an event calls it, by what the snapshot calls it.
_EVENT_COLUMN_OF = {
    "hostname": "hostname",
    "deployment_time": "deployed_at",
    "current_derivation_path": "derivation_path",
    "current_flake_name": "flake_name",
    "current_commit_hash": "commit_hash",
    "current_commit_timestamp": "commit_timestamp",
}

RUNNING = "running"
REPLACED = "replaced"
ROLLED_BACK = "rolled back"
UNKNOWN = "unknown"

_DAY = dt.timedelta(days=1)

Row = dict[str, Any]


@dataclass(frozen=True)
class PublishedDays:
    """The days (UTC) whose deployments are published.

    Attributes:
        first: the first of them.
        last: the last of them, or the newest snapshot's day if that is later.
        missing: the days between that are not published, in order.
    """

    first: dt.date
    last: dt.date
    missing: Sequence[dt.date]

    def lack_any_between(self, after: dt.date, before: dt.date) -> bool:
        """Whether a day strictly between the two is missing."""
        return bisect_right(self.missing, after) < bisect_left(self.missing, before)

    def missing_spans(self) -> list[tuple[dt.date, dt.date]]:
        """The missing days as unbroken spans, each with its first and last day."""
        spans: list[tuple[dt.date, dt.date]] = []
        for day in self.missing:
            if spans and spans[-1][1] + _DAY == day:
                spans[-1] = (spans[-1][0], day)
            else:
                spans.append((day, day))
        return spans


@dataclass(frozen=True)
class NewestSnapshot:
    """The newest `system_deployment_status`.

    Attributes:
        day: (UTC) that it stands for.
        hostnames: that it has.
        host: the row of the host that is asked for; None if it has none.
    """

    day: dt.date
    hostnames: frozenset[str]
    host: Row | None


def newest_snapshot(host: str, reports_dir: Path) -> NewestSnapshot | None:
    """Reads the newest snapshot; None if none is readable: deployments alone may be published."""
    columns = [*_EVENT_COLUMN_OF, "deployment_status"]
    try:
        file = partition_files(reports_dir, STATUS_DATASET)[-1]
        table = read_columns(file, columns)
    except UnreadableReportsError:
        return None
    of_host = _rows_of_host(host, table)
    return NewestSnapshot(
        day=day_of(file),
        hostnames=frozenset(table["hostname"].to_pylist()),
        host=of_host[0] if of_host else None,
    )


def published_days(files: Sequence[Path], snapshot: NewestSnapshot | None) -> PublishedDays:
    """The days of the deployments' files."""
    days = {day_of(file) for file in files}
    first, last = min(days), max(days)
    if snapshot is not None:
        last = max(last, snapshot.day)
    between = (first + _DAY * number for number in range((last - first).days + 1))
    return PublishedDays(first, last, [day for day in between if day not in days])


def published_events(host: str, files: Iterable[Path]) -> list[Row]:
    """The host's deployments in order, over all published days."""
    events = [
        event for file in files for event in _rows_of_host(host, read_columns(file, _EVENT_COLUMNS))
    ]
    return sorted(events, key=lambda event: (event["deployed_at"], event["system_state_id"]))


def with_outcomes(
    events: Sequence[Row], days: PublishedDays, snapshot: NewestSnapshot | None
) -> list[Row]:
    """Adds how each deployment ended, and the current one if only the snapshot knows it.

    Adds `source` (`deployments`, or `snapshot` for a deployment whose day is not published),
    `ended_at` (null while it runs, and where it is not known), `ended_at_known` (false where days
    are missing that may hold the end), `ran_seconds` (null as `ended_at` is) and `outcome`.
    """
    current = _unpublished_current(events, snapshot)
    is_confirmed = current is None and _confirms(snapshot, events)
    told = []
    for event, successor in itertools.zip_longest(events, events[1:]):
        if successor is not None:
            end = _end(event, successor, days)
        elif current is not None:
            end = _END_UNKNOWN
        elif is_confirmed or not days.lack_any_between(_day(event), days.last + _DAY):
            end = _NOT_ENDED
        else:
            end = _END_UNKNOWN
        told.append({**event, "source": "deployments", **end})
    if current is not None:
        told.append({**current, "source": "snapshot", **_NOT_ENDED})
    return told


_NOT_ENDED: Row = {
    "ended_at": None,
    "ended_at_known": True,
    "ran_seconds": None,
    "outcome": RUNNING,
}
_END_UNKNOWN: Row = {**_NOT_ENDED, "ended_at_known": False, "outcome": UNKNOWN}


def _end(event: Row, successor: Row, days: PublishedDays) -> Row:
    if days.lack_any_between(_day(event), _day(successor)):
        return _END_UNKNOWN
    is_rolled_back = successor["deployment_kind"] == "rollback"
    return {
        "ended_at": successor["deployed_at"],
        "ended_at_known": True,
        "ran_seconds": seconds_between(event["deployed_at"], successor["deployed_at"]),
        "outcome": ROLLED_BACK if is_rolled_back else REPLACED,
    }


def _unpublished_current(events: Sequence[Row], snapshot: NewestSnapshot | None) -> Row | None:
    """What the host runs by the snapshot, if that began after its last published deployment."""
    if snapshot is None or snapshot.host is None:
        return None
    began = snapshot.host["deployment_time"]
    if began is None or (events and events[-1]["deployed_at"] >= began):
        return None
    return dict.fromkeys(_EVENT_COLUMNS) | {
        event_column: snapshot.host[column] for column, event_column in _EVENT_COLUMN_OF.items()
    }


def _confirms(snapshot: NewestSnapshot | None, events: Sequence[Row]) -> bool:
    """Whether the snapshot says that the last published deployment still runs."""
    if snapshot is None or snapshot.host is None or not events:
        return False
    began: str | None = snapshot.host["deployment_time"]
    return began is not None and began == events[-1]["deployed_at"]


def seconds_between(start: str, end: str) -> float:
    """From one ISO instant to another."""
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()


def _rows_of_host(host: str, table: Any) -> list[Row]:
    # A pattern may match more hosts than this one; Arrow narrows the rows, Python decides.
    near = table.filter(pc.match_substring(table["hostname"], host))
    return [row for row in rows_of(near) if row["hostname"] == host]


def _day(event: Row) -> dt.date:
    return dt.date.fromisoformat(event["deployed_at"][:10])
