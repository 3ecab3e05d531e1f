"""The report page: from published frames to one self-contained HTML file."""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

import jinja2
import pandas as pd

from assets.page.adoption import newest_commits
from assets.page.changes import changes_since
from assets.page.charts import STATUS_STYLES
from assets.page.figures import adoption_figures, lead_time_figures, movement_figures
from assets.page.flake_names import flake_names
from assets.page.movement import fleet_days, lead_times, recent
from assets.page.overview import (
    ATTENTION_STATUSES,
    count_statuses,
    lagging_flakes,
)
from assets.page.triage import needing_attention
from assets.page.wording import (
    NOT_KNOWN,
    STATUS_LABELS,
    change,
    counted,
    grouped,
    minute,
    percentage,
    short_hash,
    span,
    utc_minute,
    visible,
)

# What a person reads; the files that the page names hold the rest.
ATTENTION_LIMIT = 400
FLAKES_LIMIT = 20
CHARTED_FLAKES_LIMIT = 6
CHARTED_COMMITS_LIMIT = 5
CHANGED_SYSTEMS_LIMIT = 50
CHANGED_FLAKES_LIMIT = 8
WINDOW_DAYS = 90

_CHANGE_LABELS = {
    "newly_behind": "newly behind",
    "became_unknown": "became unknown",
    "recovered": "recovered",
    "appeared": "appeared",
    "vanished": "vanished",
}


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
    status_file: str

    @property
    def snapshot_date(self) -> date:
        """The day (UTC) that the page stands for; the end of a day belongs to it."""
        return (self.snapshot_at - pd.Timedelta(1, "us")).tz_convert("UTC").date()


def render_fleet_report(inputs: FleetReportInputs) -> str:
    """Renders the page; the same inputs give the same text.

    Returns:
        An HTML document that needs no other file and no network.
    """
    names = flake_names([inputs.flake_status, inputs.status, inputs.velocity, inputs.rollouts])
    counts = count_statuses(inputs.status, inputs.previous_status)
    velocity = _unless_empty(inputs.velocity)
    if velocity is not None:
        velocity = _unless_empty(recent(velocity, inputs.snapshot_date, WINDOW_DAYS))
    rollouts = _unless_empty(inputs.rollouts)
    days = () if velocity is None else fleet_days(velocity)
    return _template().render(
        snapshot_at=inputs.snapshot_at,
        extracted_at=inputs.extracted_at,
        snapshot_date=inputs.snapshot_date,
        status_file=inputs.status_file,
        total=len(inputs.status),
        counts=counts,
        up_to_date=next(count.systems for count in counts if count.status == "up_to_date"),
        flakes=lagging_flakes(inputs.flake_status, names, FLAKES_LIMIT),
        flakes_with_systems=int((inputs.flake_status["systems_total"] > 0).sum()),
        without_flake=int(inputs.status["flake_id"].isna().sum()),
        attention=needing_attention(inputs.status, names, ATTENTION_LIMIT),
        attention_statuses=ATTENTION_STATUSES,
        days=days,
        movement=movement_figures(days) if days else (),
        lead_times=()
        if velocity is None
        else lead_time_figures(lead_times(velocity, names, CHARTED_FLAKES_LIMIT)),
        adoption=()
        if rollouts is None or inputs.adoption is None
        else adoption_figures(
            newest_commits(
                rollouts,
                inputs.adoption,
                inputs.snapshot_at,
                names,
                flakes_limit=CHARTED_FLAKES_LIMIT,
                commits_limit=CHARTED_COMMITS_LIMIT,
            )
        ),
        changes=None
        if inputs.previous_status is None
        else changes_since(
            inputs.status,
            inputs.previous_status,
            names,
            systems_limit=CHANGED_SYSTEMS_LIMIT,
            flakes_limit=CHANGED_FLAKES_LIMIT,
        ),
        previous_snapshot_at=_snapshot_at(inputs.previous_status),
        **_page_parts(),
    )


def _snapshot_at(status: pd.DataFrame | None) -> pd.Timestamp | None:
    return None if status is None or status.empty else status["snapshot_at"].iloc[0]


def _unless_empty(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    return None if frame is None or frame.empty else frame


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assets.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "change": change,
        "counted": counted,
        "grouped": grouped,
        "minute": minute,
        "percentage": percentage,
        "short_hash": short_hash,
        "span": span,
        "utc_minute": utc_minute,
        "visible": visible,
    }
    environment.globals |= {
        "CHANGE_LABELS": _CHANGE_LABELS,
        "NOT_KNOWN": NOT_KNOWN,
        "STATUS_LABELS": STATUS_LABELS,
        "STATUS_STYLES": STATUS_STYLES,
    }
    return environment.get_template("report.html.j2")


def _page_parts() -> dict[str, str]:
    folder = files("assets.page") / "templates"
    style = (folder / "report.css").read_text("utf-8")
    script = (folder / "filter.js").read_text("utf-8")
    return {
        "style": style,
        "script": script,
        "security_policy": _security_policy(style, script),
    }


def _security_policy(style: str, script: str) -> str:
    """Forbids all network, and every style and script but the page's own.

    So a name that slipped through the escaping could still neither run nor fetch anything.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {_fingerprints([style])}",
            f"script-src {_fingerprints([script])}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _fingerprints(texts: Iterable[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
