"""A fleet for the report page in which everything occurs that can be known of a status.

Belongs here: every feed status, liveness and reason to be behind, side by side. Does not belong
here: the rows that it is made of (`tests.report_pages`), what a page must say.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from assets.compute.forges import commit_pages
from assets.compute.vocabulary import BEHIND_REASONS
from assets.page import FleetReportInputs
from assets.page.wording import plain_records
from assets.schemas import FLAKE_DEPLOYMENT_STATUS
from tests.report_pages import (
    NOW,
    TODAY,
    Row,
    adoption_of,
    behind,
    frame,
    inputs_of,
    no_deployment,
    rollouts_of,
    status_frame,
    triage_order,
    unknown,
    up_to_date,
    velocity_of,
)

FEED_ERROR = "fatal: could not read from remote repository: Permission denied (publickey)"


def evident_fleet() -> FleetReportInputs:
    """A fleet in which every feed status, liveness and reason to be behind occurs.

    Flake 1 is read; 2 fails and is at no known forge; 3 is stale; of 4 nothing is recorded, and it
    has gone quiet.
    """
    flakes = {1: "core", 2: "edge", 3: "kiosk", 4: "lab"}
    feeds: dict[int, Row] = {
        1: {"feed_status": "current", "feed_checked_at": NOW - timedelta(minutes=3)},
        2: {"feed_status": "failing", "feed_checked_at": NOW - timedelta(days=3)},
        3: {"feed_status": "stale", "feed_checked_at": NOW - timedelta(hours=5)},
        4: {"feed_status": "not_recorded", "feed_checked_at": None},
    }
    seen = {
        "alive": timedelta(minutes=2),
        "late": timedelta(minutes=40),
        "missing": timedelta(hours=2),
        "silent": timedelta(days=9),
        "not_recorded": timedelta(days=2),
    }

    def evidence(flake_id: int, liveness: str) -> Row:
        return feeds[flake_id] | {
            "flake_id": flake_id,
            "flake_name": flakes[flake_id],
            "current_flake_name": flakes[flake_id],
            "latest_commit_hash": f"{flake_id:08x}" * 5,
            "liveness": liveness,
            "last_seen_at": NOW - seen[liveness],
        }

    rows = [
        behind(
            f"{reason.replace('_', '-')}-{number}",
            3 * place + number + 1,
            behind_reason=reason,
            **evidence(1 + place % 4, "silent" if reason == "silent" else "alive"),
        )
        for place, reason in enumerate(BEHIND_REASONS)
        for number in range(place % 7 + 1)
    ]
    rows += [
        up_to_date(
            f"{flakes[flake_id]}-{liveness.replace('_', '-')}", **evidence(flake_id, liveness)
        )
        for flake_id in flakes
        for liveness in seen
    ]
    rows += [
        up_to_date("rewritten", commits_behind_branch=4, **evidence(1, "alive")),
        up_to_date("early", **evidence(2, "alive")) | {"deployment_status": "ahead"},
        no_deployment("new", **feeds[1]),
        unknown("stray", **evidence(1, "missing")),
    ]
    rows.sort(key=triage_order)
    previous = [
        up_to_date(row["hostname"], **evidence(2, "alive"))
        if row["deployment_status"] == "behind"
        else behind(row["hostname"])
        for row in rows
    ]
    for row in previous:
        row["snapshot_at"] = datetime.combine(TODAY, datetime.min.time(), UTC)
    status = status_frame(*rows)
    quiet = {"flake_id": 4, "flake_name": "lab", "age_hours": 400.0, "usual_gap_hours": 30.0}
    rollouts = rollouts_of(flakes)
    inputs = inputs_of(
        status,
        previous_status=status_frame(*previous),
        quiet_flakes=pd.DataFrame([quiet]),
        velocity=velocity_of(flakes),
        rollouts=rollouts,
        adoption=adoption_of(rollouts),
    )
    reasons = status.groupby(["flake_id", "behind_reason"]).size()
    pages = commit_pages("github:example/fleet")
    assert pages is not None
    rows = [
        record
        | feeds[record["flake_id"]]
        | {
            f"systems_behind_{reason}": int(reasons.get((record["flake_id"], reason), 0))
            for reason in BEHIND_REASONS
        }
        | {
            "feed_error": FEED_ERROR if record["flake_id"] == 2 else None,
            "commit_url_template": None if record["flake_id"] == 2 else pages.commit,
            "comparison_url_template": None if record["flake_id"] == 2 else pages.comparison,
        }
        for record in plain_records(inputs.flake_status)
    ]
    return replace(inputs, flake_status=frame(FLAKE_DEPLOYMENT_STATUS, rows))
