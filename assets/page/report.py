"""The report page: from published frames to one self-contained HTML file.

Belongs here: what the page takes, and how much of it a person reads. Does not belong here: what a
section says (the modules beside this one), how it looks (the templates).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from assets.page.adoption import newest_commits
from assets.page.changes import Change, changes_since
from assets.page.document import fill_template
from assets.page.figures import Figure, adoption_figures, lead_time_figures, movement_figures
from assets.page.flake_names import FlakeNames, flake_names
from assets.page.movement import fleet_days, lead_times, recent
from assets.page.overview import count_statuses, flakes_without_systems, lagging_flakes
from assets.page.triage import needing_attention
from assets.publishing.unusable import UnusableRows, in_sentences

# What a person reads; the files that the page names hold the rest.
ATTENTION_LIMIT = 400
FLAKES_LIMIT = 20
CHARTED_FLAKES_LIMIT = 6
CHARTED_COMMITS_LIMIT = 5
CHANGED_SYSTEMS_LIMIT = 50
CHANGED_FLAKES_LIMIT = 8
UNUSABLE_LIMIT = 20
WINDOW_DAYS = 90


@dataclass(frozen=True)
class FleetReportInputs:
    """What the page is made of. Frames have the columns that `assets.schemas` names.

    Attributes:
        status: today's `system_deployment_status`, in its order.
        previous_status: the snapshot before it, or None where there is none.
        flake_status: today's `flake_deployment_status`, in its order.
        velocity: `deployment_velocity` of up to 90 days; None or empty where not computed.
        rollouts: `commit_rollouts` as of today; None or empty where not computed.
        adoption: what `assets.compute.adoption.adoption_curves` gives for them, likewise.
        snapshot_at: the instant that the page describes.
        extracted_at: when the source tables were read.
        unusable: the source rows that can't be used, by whom they are about.
        status_file: the Parquet file of `status`, relative to the folder of the reports.
    """

    status: pd.DataFrame
    previous_status: pd.DataFrame | None
    flake_status: pd.DataFrame
    velocity: pd.DataFrame | None
    rollouts: pd.DataFrame | None
    adoption: pd.DataFrame | None
    snapshot_at: pd.Timestamp
    extracted_at: pd.Timestamp
    unusable: Sequence[UnusableRows]
    status_file: str

    @property
    def snapshot_date(self) -> date:
        """The day (UTC) that the page stands for."""
        return _day(self.snapshot_at)

    @property
    def previous_snapshot_at(self) -> pd.Timestamp | None:
        """The instant that `previous_status` describes; None where there is no row to tell it."""
        if self.previous_status is None or self.previous_status.empty:
            return None
        instant: pd.Timestamp = self.previous_status["snapshot_at"].iloc[0]
        return instant


def render_fleet_report(inputs: FleetReportInputs) -> str:
    """Renders the page; the same inputs give the same text.

    Returns:
        An HTML document that needs no other file and no network.
    """
    names = flake_names([inputs.flake_status, inputs.status, inputs.velocity, inputs.rollouts])
    return fill_template(
        "report.html.j2",
        inputs=inputs,
        since=_since(inputs),
        unusable=in_sentences(inputs.unusable, UNUSABLE_LIMIT),
        **_standing(inputs, names),
        **_movement(inputs, names),
        adoption=_adoption(inputs, names),
        changes=_changes(inputs, names),
    )


def _standing(inputs: FleetReportInputs, names: FlakeNames) -> dict[str, Any]:
    counts = count_statuses(inputs.status, inputs.previous_status)
    return {
        "total": len(inputs.status),
        "counts": counts,
        "up_to_date": next(each.systems for each in counts if each.status == "up_to_date"),
        "flakes": lagging_flakes(inputs.flake_status, names, FLAKES_LIMIT),
        "flakes_with_systems": int((inputs.flake_status["systems_total"] > 0).sum()),
        "undeployed_flakes": flakes_without_systems(inputs.flake_status, names, FLAKES_LIMIT),
        "without_flake": int(inputs.status["flake_id"].isna().sum()),
        "attention": needing_attention(inputs.status, names, ATTENTION_LIMIT),
    }


def _movement(inputs: FleetReportInputs, names: FlakeNames) -> dict[str, Any]:
    nothing: dict[str, Any] = {"days": (), "movement": (), "lead_times": ()}
    if inputs.velocity is None:
        return nothing
    window = recent(inputs.velocity, inputs.snapshot_date, WINDOW_DAYS)
    if window.empty:
        return nothing
    days = fleet_days(window)
    return {
        "days": days,
        "movement": movement_figures(days),
        "lead_times": lead_time_figures(lead_times(window, names, CHARTED_FLAKES_LIMIT)),
    }


def _adoption(inputs: FleetReportInputs, names: FlakeNames) -> tuple[Figure, ...]:
    if inputs.rollouts is None or inputs.adoption is None:
        return ()
    return adoption_figures(
        newest_commits(
            inputs.rollouts,
            inputs.adoption,
            inputs.snapshot_at,
            names,
            flakes_limit=CHARTED_FLAKES_LIMIT,
            commits_limit=CHARTED_COMMITS_LIMIT,
        )
    )


def _changes(inputs: FleetReportInputs, names: FlakeNames) -> tuple[Change, ...] | None:
    if inputs.previous_status is None:
        return None
    return changes_since(
        inputs.status,
        inputs.previous_status,
        names,
        systems_limit=CHANGED_SYSTEMS_LIMIT,
        flakes_limit=CHANGED_FLAKES_LIMIT,
    )


def _since(inputs: FleetReportInputs) -> str:
    """What the page calls the day that it compares with."""
    before = inputs.previous_snapshot_at
    if before is None or _day(before) == inputs.snapshot_date - timedelta(days=1):
        return "yesterday"
    return _day(before).isoformat()


def _day(snapshot_at: pd.Timestamp) -> date:
    """The day (UTC) that a snapshot stands for: the end of a day belongs to it."""
    return (snapshot_at.tz_convert("UTC") - pd.Timedelta(1, "us")).date()
