"""The roll-up of deployment_velocity over all flakes, and the lead times that stay by flake."""

from datetime import timedelta

import pytest

from assets.page.flake_names import flake_names
from assets.page.movement import fleet_days, lead_times, recent
from assets.schemas import DEPLOYMENT_VELOCITY
from tests.report_pages import TODAY, Row, frame

YESTERDAY, EARLIER = TODAY - timedelta(days=1), TODAY - timedelta(days=3)


def flake_day(flake_id: int, **columns: object) -> Row:
    return {"flake_id": flake_id, "flake_name": f"flake-{flake_id}"} | columns


def test_counts_are_summed_and_shares_weighted_by_host_hours() -> None:
    velocity = frame(
        DEPLOYMENT_VELOCITY,
        [
            flake_day(
                1, host_deployments=3, systems_behind=2, host_hours=24.0, up_to_date_share=0.5
            ),
            flake_day(
                2, host_deployments=4, systems_behind=1, host_hours=72.0, up_to_date_share=1.0
            ),
            flake_day(3, host_hours=0.0, up_to_date_share=None),
        ],
    )

    (day,) = fleet_days(velocity)

    assert day.day == TODAY
    assert day.measures["host_deployments"] == 7
    assert day.measures["systems_behind"] == 3
    assert day.measures["up_to_date_share"] == pytest.approx((0.5 * 24 + 72) / 96)


def test_a_day_without_host_hours_has_no_share() -> None:
    velocity = frame(DEPLOYMENT_VELOCITY, [flake_day(1, host_hours=0.0, up_to_date_share=None)])

    assert fleet_days(velocity)[0].measures["up_to_date_share"] is None


def test_a_day_that_was_not_computed_is_a_gap_and_not_a_zero() -> None:
    velocity = frame(
        DEPLOYMENT_VELOCITY,
        [
            flake_day(1, snapshot_date=EARLIER, new_commits=2),
            flake_day(1, snapshot_date=TODAY, new_commits=0),
        ],
    )

    assert [(day.day, day.measures["new_commits"]) for day in fleet_days(velocity)] == [
        (EARLIER, 2),
        (TODAY - timedelta(days=2), None),
        (YESTERDAY, None),
        (TODAY, 0),
    ]


def test_the_window_ends_with_the_page_s_day() -> None:
    days = [TODAY + timedelta(days=offset) for offset in (-90, -89, 0, 1)]
    velocity = frame(DEPLOYMENT_VELOCITY, [flake_day(1, snapshot_date=day) for day in days])

    assert list(recent(velocity, TODAY, 90)["snapshot_date"]) == days[1:3]


def test_lead_times_are_those_of_the_flakes_with_most_arrivals() -> None:
    velocity = frame(
        DEPLOYMENT_VELOCITY,
        [
            flake_day(1, change_lead_time_count=1, change_lead_time_p50_seconds=60.0),
            flake_day(2, change_lead_time_count=5, change_lead_time_p50_seconds=90.0),
            flake_day(2, snapshot_date=YESTERDAY, change_lead_time_count=0),
            flake_day(3, change_lead_time_count=3, change_lead_time_p50_seconds=70.0),
            flake_day(4, change_lead_time_count=0),
        ],
    )

    flakes = lead_times(velocity, flake_names([velocity]), limit=2)

    assert [(flake.flake, flake.pairs) for flake in flakes] == [("flake-2", 5), ("flake-3", 3)]
    assert [day.measures["change_lead_time_p50_seconds"] for day in flakes[0].days] == [None, 90.0]
    assert [day.measures["change_lead_time_p50_seconds"] for day in flakes[1].days] == [None, 70.0]
