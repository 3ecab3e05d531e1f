"""A plain reading of what the contract says is only known as of the reading, reasons aside."""

from datetime import datetime, timedelta

from tests.plain_reading.rows import Commit, Fleet, State
from tests.plain_reading.words import Row


def is_known(snapshot_at: datetime, extracted_at: datetime) -> bool:
    """Given where `extracted_at` - T is at most one hour."""
    return extracted_at - snapshot_at <= timedelta(hours=1)


def feed(
    fleet: Fleet,
    flake_id: int | None,
    snapshot_at: datetime,
    extracted_at: datetime,
    stale_hours: float,
) -> Row:
    """feed_status and feed_checked_at of an associated flake."""
    flake = next((f for f in fleet.flakes if f.id == flake_id), None)
    if flake_id is None:
        return {"feed_status": None, "feed_checked_at": None}
    if flake is None or not is_known(snapshot_at, extracted_at):
        return {"feed_status": "not_recorded", "feed_checked_at": None}
    began = flake.last_sync_at
    if flake.sync_status == "error":
        status = "failing"
    elif began is not None and began <= snapshot_at - timedelta(hours=stale_hours):
        status = "stale"
    elif began is not None and flake.sync_status in ("synced", "syncing"):
        status = "current"
    else:
        status = "not_recorded"
    return {"feed_status": status, "feed_checked_at": began}


def last_seen_at(
    fleet: Fleet, states: list[State], snapshot_at: datetime, extracted_at: datetime
) -> datetime | None:
    """The last report, or the newest heartbeat of that state that is visible, if that is later."""
    if not states or not is_known(snapshot_at, extracted_at):
        return None
    heartbeats = [
        heartbeat.timestamp
        for heartbeat in fleet.agent_heartbeats or ()
        if heartbeat.system_state_id == states[-1].id and heartbeat.timestamp < snapshot_at
    ]
    return max([states[-1].timestamp, *heartbeats])


def liveness(
    fleet: Fleet, states: list[State], snapshot_at: datetime, extracted_at: datetime
) -> str | None:
    """How alive a host is; None for one that never reported."""
    if not states:
        return None
    seen_at = last_seen_at(fleet, states, snapshot_at, extracted_at)
    if fleet.agent_heartbeats is None or seen_at is None:
        return "not_recorded"
    unseen = snapshot_at - seen_at
    if unseen <= timedelta(minutes=15):
        return "alive"
    if unseen <= timedelta(hours=1):
        return "late"
    return "missing" if unseen <= timedelta(hours=4) else "silent"


def commits_behind_branch(
    fleet: Fleet, current: Commit | None, snapshot_at: datetime, extracted_at: datetime
) -> int | None:
    """What git would count on the branch after a commit; None where that is not recorded."""
    if current is None or not is_known(snapshot_at, extracted_at):
        return None
    for flake in fleet.flakes:
        if flake.id == current.flake_id and flake.snapshot_ready_at is not None:
            for row in fleet.flake_branch_commit_snapshot or ():
                is_it = row.flake_id == flake.id and row.commit_id == current.id
                if is_it and row.observed_at < snapshot_at:
                    return row.position
    return None
