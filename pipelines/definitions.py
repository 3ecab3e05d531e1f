"""Everything that Dagster is told, in one place; overrides make it testable.

`build_defs` reads no setting and opens no connection: the resources do that when a step first asks.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets import analysts, deployments, history, report, source, status, velocity
from pipelines.jobs import backfill, fleet_status, housekeeping, report_pages
from pipelines.progress import progress_logger
from pipelines.schedules import close_yesterday, refresh_today, remove_old_runs
from pipelines.sensors import build_sensors
from pipelines.settings import read_settings
from pipelines.wiring import RESOURCES


def build_defs(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The assets, jobs, schedules, sensors and resources of flakelag.

    Args:
        overrides: resources that take the place of those of the environment, by name.
    """
    return dg.Definitions(
        assets=[
            source.read_fleet_database,
            status.system_deployment_status,
            status.flake_deployment_status,
            deployments.deployments,
            velocity.deployment_velocity,
            velocity.commit_rollouts,
            velocity.commit_rollouts_by_environment,
            history.deployment_history,
            history.view_system_deployment_status,
            report.fleet_report,
            report.fleet_metrics,
            analysts.analyst_views,
        ],
        jobs=[fleet_status, backfill, report_pages, housekeeping],
        schedules=[refresh_today, close_yesterday, remove_old_runs],
        sensors=build_sensors(read_settings),
        resources={**RESOURCES, **(overrides or {})},
        executor=dg.in_process_executor,
        loggers={"progress": progress_logger},
    )


defs = build_defs()
