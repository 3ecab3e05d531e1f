"""The stages of deployment velocity, commit to built to first host, worked out by hand.

Flake `infra` has the commits c1 (day 1, 00:00), c2 (day 2, 08:00), c3 (day 2, 12:00) and c4 (day 3,
10:00). Hosts begin on c1, on day 1.
"""

from dataclasses import replace
from datetime import datetime

from tests.fleets import BUILD_STATUSES, FAILED, at, nixos
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import (
    DAYS,
    HOUR,
    INFRA,
    MINUTE,
    Days,
    assert_told,
    web_deployed,
)

BUILT_LATER = (
    nixos(1, 1, "/web-1", completed_at=at(1, 1)),
    nixos(2, 2, "/web-2", completed_at=at(2, 8.5)),
    nixos(3, 2, "/db-2", name="db", completed_at=at(2, 8.25)),
    nixos(4, 2, "/app-2", name="app", completed_at=at(2, 8.125), status_id=FAILED),
    nixos(5, 3, "/web-3", completed_at=at(2, 13)),
    nixos(6, 3, "/tool-3", name="tool", completed_at=at(2, 12.25), derivation_type="package"),
)
STAGED = replace(INFRA, derivations=BUILT_LATER, derivation_statuses=BUILD_STATUSES)


def staged(*states: tuple[int, datetime]) -> Fleet:
    """The fleet with build results, and with the deployments of `web`."""
    return replace(STAGED, system_states=web_deployed(*states).system_states)


@DAYS
def test_from_commit_to_build_to_first_host(days: Days) -> None:
    (row,) = days(staged((1, at(1, 6)), (3, at(2, 14))), at(3))

    # c2 is built at 08:15, for db, as the first success: after 15 minutes, and 5.75 hours before
    # the deployment; c3 after an hour, an hour before it. p90 lies at rank 0.9 of 0 to 1.
    assert_told(
        row,
        {
            "commit_to_built_count": 2,
            "commit_to_built_p50_seconds": (15 + 60) / 2 * MINUTE,
            "commit_to_built_p90_seconds": (15 + 0.9 * 45) * MINUTE,
            "built_to_first_host_count": 2,
            "built_to_first_host_p50_seconds": (1 + 5.75) / 2 * HOUR,
            "built_to_first_host_p90_seconds": (1 + 0.9 * 4.75) * HOUR,
            "negative_stage_count": 0,
        },
    )


@DAYS
def test_a_commit_deployed_before_it_was_built(days: Days) -> None:
    (row,) = days(staged((1, at(1, 6)), (3, at(2, 12.5))), at(3))

    # c2 waited from 08:15; c3 was built half an hour after it ran.
    assert_told(
        row,
        {
            "commit_to_built_count": 2,
            "built_to_first_host_count": 1,
            "built_to_first_host_p50_seconds": 4.25 * HOUR,
            "negative_stage_count": 1,
        },
    )


@DAYS
def test_what_takes_no_time_at_all_counts(days: Days) -> None:
    at_once = nixos(2, 2, "/web-2", completed_at=at(2, 8))
    fleet = replace(staged((1, at(1, 6)), (2, at(2, 8))), derivations=(BUILT_LATER[0], at_once))

    (row,) = days(fleet, at(3))

    # c2 is made, built and deployed at 08:00.
    assert_told(
        row,
        {
            "change_lead_time_count": 1,
            "change_lead_time_p50_seconds": 0.0,
            "negative_lead_time_count": 0,
            "commit_to_built_count": 1,
            "commit_to_built_p90_seconds": 0.0,
            "built_to_first_host_count": 1,
            "built_to_first_host_p90_seconds": 0.0,
            "negative_stage_count": 0,
        },
    )


@DAYS
def test_a_build_that_has_not_ended_is_left_out(days: Days) -> None:
    (row,) = days(staged((1, at(1, 6)), (3, at(2, 12.5))), at(2, 13))

    assert_told(
        row,
        {
            "commits_first_deployed": 2,
            "commit_to_built_count": 1,
            "built_to_first_host_count": 1,
            "negative_stage_count": 0,
        },
    )


@DAYS
def test_what_ran_before_the_first_report_has_no_stages(days: Days) -> None:
    (row,) = days(staged((2, at(2, 9))), at(3))

    assert_told(row, {"commits_first_deployed": 2, "commit_to_built_count": 0})


@DAYS
def test_no_stages_without_build_results(days: Days) -> None:
    fleet = replace(staged((1, at(1, 6)), (3, at(2, 14))), derivation_statuses=None)

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "commits_first_deployed": 2,
            "commit_to_built_p50_seconds": None,
            "built_to_first_host_p90_seconds": None,
            "commit_to_built_count": 0,
        },
    )
