"""A plain reading of the currency columns: what share of a day's host time was how current."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from tests.plain_reading.deployments import with_nothing_rewritten
from tests.plain_reading.rows import Fleet
from tests.plain_reading.status import Standing, hosts, standing
from tests.plain_reading.words import Row, hours, visible_states

WITHIN_COMMITS = {
    "within_1_commit_share": 1,
    "within_5_commits_share": 5,
    "within_20_commits_share": 20,
}
WITHIN_HOURS = {"within_24_hours_share": 24, "within_168_hours_share": 168}


SHARES = ("up_to_date_share", *WITHIN_COMMITS, *WITHIN_HOURS)
SEEN_FOR = timedelta(hours=4)


@dataclass
class HostTime:
    """Host time of one flake: all of it, and by share the part that was current.

    Attributes:
        seen: of the part that was current, that in which the host had been seen; None for a day of
            which that can't be known.
    """

    total: timedelta = timedelta(0)
    current: dict[str, timedelta] = field(default_factory=lambda: defaultdict(timedelta))
    seen: dict[str, timedelta] | None = None

    def row(self) -> Row:
        """The currency columns."""
        total, current, seen = self.total, self.current, self.seen
        return {
            "host_hours": hours(total),
            **{name: current[name] / total if total else None for name in SHARES},
            **{
                f"seen_{name}": seen[name] / total if total and seen is not None else None
                for name in SHARES
            },
        }


def currency(
    fleet: Fleet, start: datetime, end: datetime, extracted_at: datetime
) -> dict[int, HostTime]:
    """The host time from start to T, by flake id; at every instant as the status is then.

    But that rewritten history changes nothing.
    """
    is_known = fleet.agent_heartbeats is not None and extracted_at - end <= timedelta(hours=1)
    times: dict[int, HostTime] = defaultdict(
        lambda: HostTime(seen=defaultdict(timedelta) if is_known else None)
    )
    as_made = with_nothing_rewritten(fleet)
    as_made = replace(as_made, flakes=tuple(replace(f, deleted_at=None) for f in fleet.flakes))
    deleted = {f.id: f.deleted_at for f in fleet.flakes if f.deleted_at is not None}
    cuts = [start, *(cut for cut in cuts_of(fleet) if start < cut < end), end]
    for piece_start, piece_end in pairwise(cuts):
        # Nothing becomes visible within a piece, so that its end stands for all of it.
        for hostname in hosts(as_made, piece_end):
            host = standing(as_made, hostname, piece_end)
            if host.flake_id is None:
                continue
            time = times[host.flake_id]
            time.total += piece_end - piece_start
            if host.flake_id in deleted and deleted[host.flake_id] <= piece_start:
                continue
            for name in shares_held(host, piece_end):
                time.current[name] += piece_end - piece_start
                if time.seen is not None and is_seen(fleet, hostname, piece_end, end):
                    time.seen[name] += piece_end - piece_start
    return times


def is_seen(fleet: Fleet, hostname: str, instant: datetime, snapshot_at: datetime) -> bool:
    """Whether, right before an instant, a host's last sign of life was less than 4 hours old."""
    signs = [s.timestamp for s in visible_states(fleet, hostname, instant)]
    for last in visible_states(fleet, hostname, snapshot_at)[-1:]:
        for beat in fleet.agent_heartbeats or ():
            if beat.system_state_id == last.id and beat.timestamp < snapshot_at:
                # It ran from the last state until then, so that each instant between is a sign.
                signs += [min(beat.timestamp, instant)] if last.timestamp < instant else []
    return bool(signs) and instant - max(signs) <= SEEN_FOR


def cuts_of(fleet: Fleet) -> list[datetime]:
    """Every instant at which a status, or whether a host had been seen, can change."""
    commits = {c.commit_timestamp for c in fleet.commits}
    created = {s.created_at for s in fleet.systems if s.created_at is not None}
    deleted = {f.deleted_at for f in fleet.flakes if f.deleted_at is not None}
    aged = {c + timedelta(hours=limit) for c in commits for limit in WITHIN_HOURS.values()}
    signs = {s.timestamp for s in fleet.system_states}
    signs |= {h.timestamp for h in fleet.agent_heartbeats or ()}
    forgotten = {sign + SEEN_FOR for sign in signs}
    return sorted(commits | created | deleted | aged | signs | forgotten)


def shares_held(host: Standing, instant: datetime) -> list[str]:
    """The shares that a host's standing at an instant counts for."""
    if host.counted is None:
        return []
    behind_for = instant - host.counted[0].commit_timestamp if host.counted else timedelta(0)
    up_to_date = ["up_to_date_share"] if host.status == "up_to_date" else []
    within_commits = [n for n, limit in WITHIN_COMMITS.items() if len(host.counted) <= limit]
    within_hours = [n for n, limit in WITHIN_HOURS.items() if behind_for <= timedelta(hours=limit)]
    return [*up_to_date, *within_commits, *within_hours]
