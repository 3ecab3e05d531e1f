"""Sensors that alert people: of failed runs and checks, of systems far behind, of dead feeds."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg

from pipelines.alerts.conditions import (
    Links,
    feeds_in_trouble,
    feeds_not_current,
    systems_behind,
    too_far_behind,
)
from pipelines.alerts.decisions import decide_on_runs, decide_on_systems
from pipelines.alerts.finished_runs import end_of_log, runs_finished_after
from pipelines.alerts.messages import compose
from pipelines.alerts.state import AlertsBusyError, AlertState, AlertStateFile
from pipelines.settings import Settings
from pipelines.store.published import (
    FLAKE_DATASET,
    STATUS_DATASET,
    UnreadableReportsError,
    partition_files,
    read_columns,
    rows_of,
)

SECONDS_BETWEEN_LOOKS = 60

NO_WEBHOOK = "ALERT_WEBHOOK_URL is not set: there are no alerts."

_STATUS_COLUMNS = (
    *("hostname", "flake_name", "commits_behind", "hours_behind", "behind_since"),
    "behind_reason",
)
_FLAKE_COLUMNS = (
    *("flake_id", "flake_name", "systems_total", "snapshot_at"),
    *("feed_status", "feed_checked_at", "feed_error"),
)


def build_sensors(settings_provider: Callable[[], Settings]) -> list[dg.SensorDefinition]:
    """The sensors of flakelag.

    They run by default, and skip as long as no webhook is set: setting `ALERT_WEBHOOK_URL` is all
    that it takes. Their names stay: Dagster knows by them whether somebody has stopped one.

    Args:
        settings_provider: gives the settings anew at each tick.
    """

    @dg.sensor(
        name="tell_of_failures",
        description="Posts failed runs and failed asset checks to the webhook, each once.",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def tell_of_failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        settings = settings_provider()
        return _dispatch(
            settings, "failures", lambda state: _look_at_runs(state, settings, context)
        )

    @dg.sensor(
        name="tell_of_systems_behind",
        description=(
            "Posts the systems that are newly behind by more than ALERT_COMMITS_BEHIND commits or "
            "ALERT_HOURS_BEHIND hours to the webhook, each once until it has caught up."
        ),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def tell_of_systems_behind() -> dg.SkipReason:
        settings = settings_provider()
        return _dispatch(
            settings, "systems_behind", lambda state: _look_at_systems(state, settings)
        )

    @dg.sensor(
        name="tell_of_feeds",
        description=(
            "Posts the flakes whose repository the fleet's server can't read, or has not read for "
            "FEED_STALE_HOURS, to the webhook, each once until it is read again."
        ),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def tell_of_feeds() -> dg.SkipReason:
        settings = settings_provider()
        return _dispatch(settings, "feeds", lambda state: _look_at_feeds(state, settings))

    return [tell_of_failures, tell_of_systems_behind, tell_of_feeds]


def _dispatch(
    settings: Settings, name: str, look: Callable[[AlertState], AlertState]
) -> dg.SkipReason:
    url = settings.alert_webhook_url
    if url is None:
        return dg.SkipReason(NO_WEBHOOK)
    # An HTTP client, which no run needs, and without a webhook no sensor.
    from pipelines.alerts.delivery import post  # noqa: PLC0415
    from pipelines.alerts.dispatch import dispatch  # noqa: PLC0415

    file = AlertStateFile(settings.reports_dir, name)
    try:
        return dg.SkipReason(dispatch(file, look, lambda message: post(url, message), _now()))
    except (AlertsBusyError, UnreadableReportsError) as reason:
        return dg.SkipReason(str(reason))


def _look_at_runs(
    state: AlertState, settings: Settings, context: dg.SensorEvaluationContext
) -> AlertState:
    if not isinstance(state.position, int):
        # What failed before anybody asked for alerts is no news.
        return state.model_copy(update={"position": end_of_log(context.instance)})
    # As in `_dispatch`.
    from pipelines.alerts.dispatch import with_decision  # noqa: PLC0415

    links = _links(settings)
    finished = runs_finished_after(
        context.instance, state.position, lambda run: _is_of_this_location(context, run)
    )
    decision = decide_on_runs(state.alerted, finished.outcomes, state.undelivered_of_runs, links)
    after = with_decision(state, decision, finished.position, compose(decision.new, _now(), links))
    return after.model_copy(update={"undelivered_of_runs": tuple(decision.new)})


def _look_at_systems(state: AlertState, settings: Settings) -> AlertState:
    file = partition_files(settings.reports_dir, STATUS_DATASET)[-1]
    commits, hours = settings.alert_commits_behind, settings.alert_hours_behind
    position = f"{_version_of(file)} {(commits, hours)}"
    if position == state.position:
        return state
    rows = rows_of(read_columns(file, _STATUS_COLUMNS))
    # As in `_dispatch`.
    from pipelines.alerts.dispatch import with_decision  # noqa: PLC0415

    standing = systems_behind(rows, commits=commits, hours=hours)
    decision = decide_on_systems(state.alerted - state.undelivered, standing)
    is_first = state.position is None or (
        state.pending is not None and state.pending.alert.get("heading") is not None
    )
    heading = None
    if is_first:
        # What has stood before anybody asked for alerts is summed up, and not called new.
        heading = (
            f"{len(standing):,} of {len(rows):,} systems {'is' if len(standing) == 1 else 'are'} "
            f"{too_far_behind(commits=commits, hours=hours)}. From now on, alerts name those that "
            "become so. The furthest behind:"
        )
    return with_decision(
        state, decision, position, compose(decision.new, _now(), _links(settings), heading)
    )


def _look_at_feeds(state: AlertState, settings: Settings) -> AlertState:
    file = partition_files(settings.reports_dir, FLAKE_DATASET)[-1]
    position = _version_of(file)
    if position == state.position:
        return state
    # As in `_dispatch`.
    from pipelines.alerts.dispatch import with_decision  # noqa: PLC0415

    rows = rows_of(read_columns(file, _FLAKE_COLUMNS))
    alerted = state.alerted - state.undelivered
    decision = decide_on_systems(alerted, feeds_not_current(rows))
    in_trouble = replace(decision, alerted=decision.alerted | (alerted & feeds_in_trouble(rows)))
    message = compose(decision.new, _now(), _links(settings))
    return with_decision(state, in_trouble, position, message)


def _version_of(file: Path) -> str:
    """Tells versions of the newest file apart.

    Asked for before reading: if the file is replaced in between, the next tick looks again.
    """
    return f"{file.parent.name} {file.stat().st_mtime_ns}"


def _links(settings: Settings) -> Links:
    return Links(settings.flakelag_ui_url, settings.flakelag_report_url)


def _is_of_this_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether the run is of this project, where a Dagster instance serves several.

    Runs of the `flakelag` command have no origin; the name of their job tells.
    """
    ours = context.code_location_origin
    its = run.remote_job_origin
    if ours is not None and its is not None:
        location = its.repository_origin.code_location_origin.location_name
        return bool(location == ours.location_name)
    return context.repository_def is None or context.repository_def.has_job(run.job_name)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
