"""The velocity of random fleets, beside a plain reading of its definitions."""

from dataclasses import replace

import pandas as pd
from hypothesis import given, settings

from assets.compute.deployments import deployments
from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.velocity import deployment_velocity, measure_velocity
from assets.schemas import DEPLOYMENT_VELOCITY, FLAKE_DEPLOYMENT_STATUS
from tests.fleets import assert_rows, fleet_tables
from tests.plain_reading import velocity as plain_reading
from tests.plain_reading.deployments import with_nothing_rewritten
from tests.random_fleets import ANY_SIZES, BUSY, PROFILE, RandomCase, hold, random_cases

OF_STATUS = {
    column.name
    for column in FLAKE_DEPLOYMENT_STATUS.columns
    if column.name in DEPLOYMENT_VELOCITY.column_names
    and column.name.startswith(("systems_", "commits_behind_"))
}
MEASURED = replace(
    DEPLOYMENT_VELOCITY,
    columns=tuple(each for each in DEPLOYMENT_VELOCITY.columns if each.name not in OF_STATUS),
)


def check_measured(case: RandomCase) -> None:
    tables = fleet_tables(case.fleet, case.staging)
    measured = measure_velocity(
        tables,
        index_fleet(tables),
        [pd.Timestamp(each) for each in case.days],
        pd.Timestamp(case.days[-1] + case.delay),
        pairs_at_once=case.at_once,
        pieces_at_once=case.at_once,
    )
    expected = plain_reading.measured_velocity(case.fleet, case.days, case.days[-1] + case.delay)
    assert_rows(MEASURED, measured, expected)


def check_joined(case: RandomCase) -> None:
    tables = fleet_tables(case.fleet, case.staging)
    timeline = index_fleet(tables)
    extracted_at = pd.Timestamp(case.days[-1] + case.delay)
    days = [pd.Timestamp(each) for each in case.days]
    measured = measure_velocity(tables, timeline, days, extracted_at)
    # A run publishes some of the days that were measured together.
    published = case.days[-2:]
    flake_status = []
    for instant in [pd.Timestamp(each) for each in published]:
        status = system_deployment_status(timeline, instant, instant)
        flake_status.append(flake_deployment_status(timeline, status, instant, instant))
    velocity = deployment_velocity(measured, pd.concat(flake_status))
    expected = plain_reading.deployment_velocity(case.fleet, published, case.days[-1] + case.delay)
    assert_rows(DEPLOYMENT_VELOCITY, velocity, expected)


@settings(PROFILE)
@given(random_cases(ANY_SIZES, BUSY))
def test_every_day_is_what_the_definitions_say(case: RandomCase) -> None:
    hold(case, check_measured)


def check_rewritten(case: RandomCase) -> None:
    as_made = with_nothing_rewritten(case.fleet)
    days = [pd.Timestamp(each) for each in case.days]
    told = []
    for fleet in (case.fleet, as_made):
        tables = fleet_tables(fleet, case.staging)
        timeline = index_fleet(tables)
        velocity = measure_velocity(
            tables, timeline, days, pd.Timestamp(case.days[-1] + case.delay)
        )
        told.append((velocity, deployments(timeline, days[-1])))
    for rewritten, made in zip(*told, strict=True):
        pd.testing.assert_frame_equal(rewritten, made)


@settings(PROFILE, max_examples=PROFILE.max_examples // 2)
@given(random_cases(ANY_SIZES, BUSY))
def test_rewriting_history_changes_nothing_that_happened(case: RandomCase) -> None:
    hold(case, check_rewritten)


@settings(PROFILE, max_examples=PROFILE.max_examples // 5)
@given(random_cases(ANY_SIZES))
def test_a_day_has_the_counts_of_its_status_snapshot(case: RandomCase) -> None:
    hold(case, check_joined)
