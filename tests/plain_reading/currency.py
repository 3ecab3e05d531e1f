"""A plain reading of the currency columns: what share of a day's host time was how current."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from tests.plain_reading.rows import Fleet
from tests.plain_reading.status import Standing, hosts, standing
from tests.plain_reading.words import Row, hours

WITHIN_COMMITS = {
    "within_1_commit_share": 1,
    "within_5_commits_share": 5,
    "within_20_commits_share": 20,
}
WITHIN_HOURS = {"within_24_hours_share": 24, "within_168_hours_share": 168}


@dataclass
class HostTime:
    """Host time of one flake: all of it, and by share the part that was current."""

    total: timedelta = timedelta(0)
    current: dict[str, timedelta] = field(default_factory=lambda: defaultdict(timedelta))

    def row(self) -> Row:
        """The currency columns."""
        names = ("up_to_date_share", *WITHIN_COMMITS, *WITHIN_HOURS)
        return {
            "host_hours": hours(self.total),
            **{name: self.current[name] / self.total if self.total else None for name in names},
        }


def currency(fleet: Fleet, start: datetime, end: datetime) -> dict[int, HostTime]:
    """The host time from start to end, by flake id; at every instant as the status is then."""
    times: dict[int, HostTime] = defaultdict(HostTime)
    cuts = [start, *(cut for cut in cuts_of(fleet) if start < cut < end), end]
    for piece_start, piece_end in pairwise(cuts):
        # Nothing becomes visible within a piece, so that its end stands for all of it.
        for hostname in hosts(fleet, piece_end):
            host = standing(fleet, hostname, piece_end)
            if host.flake_id is not None:
                time = times[host.flake_id]
                time.total += piece_end - piece_start
                for name in shares_held(host, piece_end):
                    time.current[name] += piece_end - piece_start
    return times


def cuts_of(fleet: Fleet) -> list[datetime]:
    """Every instant at which a status can change."""
    commits = {c.commit_timestamp for c in fleet.commits}
    created = {s.created_at for s in fleet.systems if s.created_at is not None}
    aged = {c + timedelta(hours=limit) for c in commits for limit in WITHIN_HOURS.values()}
    return sorted(commits | created | aged | {s.timestamp for s in fleet.system_states})


def shares_held(host: Standing, instant: datetime) -> list[str]:
    """The shares that a host's standing at an instant counts for."""
    if host.counted is None:
        return []
    behind_for = instant - host.counted[0].commit_timestamp if host.counted else timedelta(0)
    up_to_date = ["up_to_date_share"] if host.status == "up_to_date" else []
    within_commits = [n for n, limit in WITHIN_COMMITS.items() if len(host.counted) <= limit]
    within_hours = [n for n, limit in WITHIN_HOURS.items() if behind_for <= timedelta(hours=limit)]
    return [*up_to_date, *within_commits, *within_hours]
