"""Report pages for tests: snapshots written by hand or drawn by a seed, in the datasets' schemas.

Belongs here: how a page's inputs are made. Does not belong here: what a page must say.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from assets.compute.fleet import frame_from_arrow
from assets.page import FleetReportInputs
from assets.publishing.unusable import UnusableRows
from assets.schemas import (
    COMMIT_ROLLOUTS,
    DEPLOYMENT_VELOCITY,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)

NOW = datetime(2026, 11, 23, 9, 17, tzinfo=UTC)
TODAY = NOW.date()
STATUS_FILE = f"system_deployment_status/date={TODAY}/data.parquet"

HOSTILE_NAMES = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror="document.title=1">',
    "</script><script>document.title='broken'</script>",
    "' onclick='document.title=1",
    "{{ 7 * 7 }}",
    "\u202emoc.elgoog\u202c",
    "\u05e9\u05dc\u05d5\u05dd-\u0645\u0631\u062d\u0628\u0627",
    "x" * 253,
    "z" + "\u0301" * 100,
    "&lt;b&gt;",
)

Row = dict[str, Any]


def frame(dataset: Dataset, rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a frame of the dataset; a column that a row leaves out is null, 0 or false."""
    blanks = {pa.int64(): 0, pa.float64(): 0.0, pa.bool_(): False, pa.string(): ""}
    snapshot = {"snapshot_at": NOW, "extracted_at": NOW, "snapshot_date": TODAY}
    complete = [
        {
            column.name: None if column.nullable else blanks.get(column.type)
            for column in dataset.columns
        }
        | {name: value for name, value in snapshot.items() if name in dataset.column_names}
        | row
        for row in rows
    ]
    return frame_from_arrow(pa.Table.from_pylist(complete, schema=dataset.arrow_schema))


def no_deployment(hostname: str, **columns: Any) -> Row:
    """A registered system that was never deployed."""
    return {
        "hostname": hostname,
        "deployment_status": "no_deployment",
        "status_description": "System registered but never deployed",
        "is_registered": True,
        "flake_id": 1,
        "flake_name": "core",
    } | columns


def unknown(hostname: str, **columns: Any) -> Row:
    """A system whose path is not in derivations."""
    return {
        "hostname": hostname,
        "deployment_status": "unknown",
        "status_description": "Deployed path is not in derivations",
        "unknown_reason": "path_not_in_derivations",
        "is_registered": True,
        "flake_id": 1,
        "flake_name": "core",
        "deployment_time": NOW - timedelta(days=3),
        "last_reported_at": NOW - timedelta(hours=2),
    } | columns


def behind(hostname: str, commits: int = 3, **columns: Any) -> Row:
    """A system that is some commits behind, a day for each."""
    since = NOW - timedelta(days=commits)
    return {
        "hostname": hostname,
        "deployment_status": "behind",
        "status_description": f"Behind by {commits} commit(s)",
        "commits_behind": commits,
        "hours_behind": 24.0 * commits,
        "behind_since": since,
        "is_registered": True,
        "flake_id": 1,
        "flake_name": "core",
        "current_commit_hash": f"{commits:040x}",
        "current_commit_timestamp": since - timedelta(days=1),
        "deployment_time": since,
        "last_reported_at": NOW - timedelta(hours=2),
        "environment": "production",
    } | columns


def up_to_date(hostname: str, **columns: Any) -> Row:
    """A system that runs the latest commit."""
    return (
        behind(hostname, 0)
        | {
            "deployment_status": "up_to_date",
            "status_description": "Running latest commit",
            "hours_behind": None,
            "behind_since": None,
        }
        | columns
    )


def status_frame(*rows: Row) -> pd.DataFrame:
    """A snapshot of system_deployment_status; the rows stand in triage order."""
    return frame(SYSTEM_DEPLOYMENT_STATUS, rows)


def flake_status_of(status: pd.DataFrame) -> pd.DataFrame:
    """The flakes of a snapshot, counted."""
    rows: list[Row] = []
    for (flake_id, flake_name), systems in status.groupby(["flake_id", "flake_name"]):
        counts = systems["deployment_status"].value_counts()
        behind_by = systems["commits_behind"].dropna().astype("int64")
        rows.append(
            {
                "flake_id": flake_id,
                "flake_name": flake_name,
                "systems_total": len(systems),
                **{f"systems_{name}": int(count) for name, count in counts.items()},
                "commits_behind_p50": behind_by.median() if len(behind_by) else None,
                "commits_behind_p90": behind_by.quantile(0.9) if len(behind_by) else None,
                "commits_behind_max": int(behind_by.max()) if len(behind_by) else None,
                "latest_commit_hash": f"{flake_id:08x}" * 5,
                "latest_commit_timestamp": NOW - timedelta(hours=5),
                "latest_commit_age_hours": 5.0,
                "live_commit_count": systems["current_commit_hash"].nunique(),
                "oldest_live_commit_timestamp": NOW - timedelta(days=40),
            }
        )
    rows.sort(key=lambda row: -row.get("systems_behind", 0))
    return frame(FLAKE_DEPLOYMENT_STATUS, rows)


def velocity_of(flakes: dict[int, str], days: int = 90, seed: int = 1) -> pd.DataFrame:
    """A believable deployment_velocity."""
    draw = random.Random(seed)
    rows: list[Row] = []
    for day in range(days):
        for flake_id, flake_name in flakes.items():
            deployed = draw.random() < 0.5
            within = sorted(draw.uniform(0.5, 1) for _ in range(4))
            lagging = draw.randint(0, 20)
            rows.append(
                {
                    "snapshot_date": TODAY - timedelta(days=days - 1 - day),
                    "flake_id": flake_id,
                    "flake_name": flake_name,
                    "new_commits": draw.randint(0, 5),
                    "host_deployments": draw.randint(1, 30) if deployed else 0,
                    "rollbacks": 1 if draw.random() < 0.05 else 0,
                    "change_lead_time_count": 40 if deployed else 0,
                    "change_lead_time_p50_seconds": draw.uniform(2e3, 2e5) if deployed else None,
                    "change_lead_time_p90_seconds": draw.uniform(2e5, 3e6) if deployed else None,
                    "systems_total": 60,
                    "systems_behind": lagging,
                    "systems_unknown": 2,
                    "systems_no_deployment": 1,
                    "systems_up_to_date": 57 - lagging,
                    "host_hours": 24.0 * 60,
                    "up_to_date_share": within[0],
                    "within_1_commit_share": within[1],
                    "within_5_commits_share": within[2],
                    "within_20_commits_share": within[3],
                    "within_24_hours_share": within[1],
                    "within_168_hours_share": within[3],
                }
            )
    return frame(DEPLOYMENT_VELOCITY, rows)


def rollouts_of(flakes: dict[int, str], hosts: int = 40) -> pd.DataFrame:
    """A believable commit_rollouts: the newer a commit, the less far it has got."""
    rows: list[Row] = []
    for flake_id, flake_name in flakes.items():
        for position in range(8):
            made_at = NOW - timedelta(hours=5 + 31 * position)
            reached = min(hosts, position * hosts // 5)
            rows.append(
                {
                    "commit_id": flake_id * 1000 - position,
                    "commit_hash": f"{flake_id * 1000 - position:08x}" * 5,
                    "commit_timestamp": made_at,
                    "flake_id": flake_id,
                    "flake_name": flake_name,
                    "hosts_eligible": hosts,
                    "hosts_reached": reached,
                    "hosts_current": 3,
                    "first_deployed_at": made_at + timedelta(hours=2) if reached else None,
                    **{
                        f"reached_{percent}_percent_at": made_at + timedelta(hours=percent / 2)
                        if reached >= hosts * percent / 100
                        else None
                        for percent in (50, 90, 100)
                    },
                }
            )
    return frame(COMMIT_ROLLOUTS, rows)


def adoption_of(rollouts: pd.DataFrame) -> pd.DataFrame:
    """Adoption curves that end where the rollouts do, one host every half hour."""
    steps = [
        {
            "flake_id": row["flake_id"],
            "commit_id": row["commit_id"],
            "reached_at": row["first_deployed_at"] + timedelta(hours=host / 2),
            "hosts_reached": host + 1,
        }
        for row in rollouts.to_dict("records")
        for host in range(row["hosts_reached"])
    ]
    columns = ["flake_id", "commit_id", "reached_at", "hosts_reached"]
    return pd.DataFrame(steps, columns=columns).astype({"reached_at": "datetime64[us, UTC]"})


def inputs_of(
    status: pd.DataFrame,
    *,
    previous_status: pd.DataFrame | None = None,
    velocity: pd.DataFrame | None = None,
    rollouts: pd.DataFrame | None = None,
    adoption: pd.DataFrame | None = None,
    unusable: Sequence[UnusableRows] = (),
) -> FleetReportInputs:
    """A page's inputs around one snapshot."""
    return FleetReportInputs(
        status=status,
        previous_status=previous_status,
        flake_status=flake_status_of(status),
        velocity=velocity,
        rollouts=rollouts,
        adoption=adoption,
        snapshot_at=pd.Timestamp(NOW),
        extracted_at=pd.Timestamp(NOW),
        unusable=unusable,
        status_file=STATUS_FILE,
    )


def drawn_fleet(systems: int, flakes: int, seed: int = 1) -> FleetReportInputs:
    """A fleet of any size with every status, its past and its rollouts."""
    draw = random.Random(seed)
    names = {number: f"flake-{number}" for number in range(1, flakes + 1)}
    previous, now = ([], [])  # type: tuple[list[Row], list[Row]]
    for number in range(systems):
        flake_id = min(int(draw.paretovariate(0.8)), flakes)
        where = {"flake_id": flake_id, "flake_name": names[flake_id]}
        hostname = f"host-{number:05d}"
        for snapshot in (previous, now):
            kind = draw.choices(
                [no_deployment, unknown, behind, up_to_date], [0.02, 0.04, 0.3, 0.64]
            )[0]
            row = (
                behind(hostname, draw.randint(1, 60), **where)
                if kind is behind
                else kind(hostname, **where)
            )
            if draw.random() > 0.003:
                snapshot.append(row)
    for snapshot in (previous, now):
        snapshot.sort(key=triage_order)
    for row in previous:
        row["snapshot_at"] = datetime.combine(TODAY, datetime.min.time(), UTC)
    rollouts = rollouts_of(names)
    return inputs_of(
        status_frame(*now),
        previous_status=status_frame(*previous),
        velocity=velocity_of(names),
        rollouts=rollouts,
        adoption=adoption_of(rollouts),
    )


def triage_order(row: Row) -> tuple[int, int, str]:
    """The order of system_deployment_status, as a sort key."""
    order = ("no_deployment", "unknown", "behind", "up_to_date", "ahead")
    commits_behind = row.get("commits_behind") or 0
    return order.index(row["deployment_status"]), -commits_behind, row["hostname"]


def hostile_fleet() -> FleetReportInputs:
    """A fleet in which every name, hash and environment is hostile."""
    flakes = dict(enumerate(HOSTILE_NAMES, start=1))
    rows = []
    for flake_id, name in flakes.items():
        named: Row = {"flake_id": flake_id, "flake_name": name, "environment": name}
        rows += [
            no_deployment(name, **named),
            unknown(
                f"u{name}"[:253], unknown_reason="flake_mismatch", current_flake_name=name, **named
            ),
            behind(f"b{name}"[:253], current_commit_hash=name, **named),
        ]
    rows.sort(key=triage_order)
    previous = [up_to_date(row["hostname"], flake_name=row["flake_name"]) for row in rows]
    rollouts = rollouts_of(flakes)
    rollouts["commit_hash"] = [HOSTILE_NAMES[row % len(flakes)] for row in range(len(rollouts))]
    return inputs_of(
        status_frame(*rows),
        previous_status=status_frame(*previous),
        velocity=velocity_of(flakes),
        rollouts=rollouts,
        adoption=adoption_of(rollouts),
    )
