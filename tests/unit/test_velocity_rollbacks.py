"""What deployment velocity makes of first reports and of rollbacks, worked out by hand.

Flake `infra` has the commits c1 (day 1, 00:00), c2 (day 2, 08:00), c3 (day 2, 12:00) and c4 (day 3,
10:00). Hosts begin on c1, on day 1.
"""

from tests.fleets import at
from tests.unit.velocity_cases import (
    DAYS,
    HOUR,
    MINUTE,
    Days,
    assert_told,
    web_deployed,
)


@DAYS
def test_the_first_report_of_a_host_is_no_deployment(days: Days) -> None:
    (row,) = days(web_deployed((2, at(2, 9))), at(3))

    assert_told(
        row,
        {
            "host_deployments": 0,
            "hosts_deployed": 0,
            "change_lead_time_p50_seconds": None,
            "change_lead_time_count": 0,
            "change_fail_rate_rollback_proxy": None,
            "batch_size_p50": None,
            # c1 and c2 are known to run on a host from here on.
            "commits_first_deployed": 2,
        },
    )


@DAYS
def test_a_rollback(days: Days) -> None:
    fleet = web_deployed((1, at(1, 6)), (2, at(2, 9)), (1, at(2, 9.5)), (3, at(2, 13)))

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "host_deployments": 3,
            "hosts_deployed": 1,
            "rollbacks": 1,
            # Of the three, the one of 09:00 failed; the rollback came half an hour later.
            "change_fail_rate_rollback_proxy": 1 / 3,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": 30 * MINUTE,
            # c2 became live at 09:00 and not again at 13:00, when c3 did: one hour each.
            "change_lead_time_count": 2,
            "change_lead_time_p50_seconds": 1 * HOUR,
            "change_lead_time_p90_seconds": 1 * HOUR,
            # The upgrades include c2, then c2 and c3.
            "batch_size_p50": 1.5,
            "batch_size_p90": 1.9,
            "commits_first_deployed": 2,
        },
    )


@DAYS
def test_a_rollback_after_midnight(days: Days) -> None:
    fleet = web_deployed((1, at(1, 6)), (3, at(2, 23)), (1, at(3, 1)))

    (day_of_deployment,) = days(fleet, at(3))
    (day_of_rollback,) = days(fleet, at(4))

    # When the first day closes nothing has failed yet; the second day's only deployment is the
    # rollback, which did not fail.
    assert_told(
        day_of_deployment,
        {
            "host_deployments": 1,
            "rollbacks": 0,
            "change_fail_rate_rollback_proxy": 0.0,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": None,
        },
    )
    assert_told(
        day_of_rollback,
        {
            "host_deployments": 1,
            "rollbacks": 1,
            "change_fail_rate_rollback_proxy": 0.0,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": 2 * HOUR,
        },
    )


@DAYS
def test_a_rollback_of_the_first_report_says_nothing_of_a_failure(days: Days) -> None:
    (row,) = days(web_deployed((2, at(2, 9)), (1, at(2, 10))), at(3))

    assert_told(
        row,
        {
            "host_deployments": 1,
            "rollbacks": 1,
            "change_fail_rate_rollback_proxy": 0.0,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": None,
        },
    )
