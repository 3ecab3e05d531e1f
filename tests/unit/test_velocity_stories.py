"""Deployment velocity: small fleets, each telling one story, with the numbers worked out by hand.

Flake `infra` has the commits c1 (day 1, 00:00), c2 (day 2, 08:00), c3 (day 2, 12:00) and c4 (day 3,
10:00). Hosts begin on c1, on day 1.
"""

from dataclasses import replace
from datetime import date, datetime

import pytest

from tests.fleets import BUILD_STATUSES, FAILED, at, commit, flake, nixos, state, system
from tests.plain_reading.rows import Fleet
from tests.unit.velocity_cases import (
    DAYS,
    HOUR,
    MINUTE,
    Days,
    assert_told,
    builds,
    deployed,
)

HOSTS = ("web", "db", "app")
COMMITS = (
    commit(1, at(1)),
    commit(2, at(2, 8)),
    commit(3, at(2, 12)),
    commit(4, at(3, 10)),
)
INFRA = Fleet(
    flakes=(flake(1, "infra"),),
    commits=COMMITS,
    derivations=builds(HOSTS, (1, 2, 3, 4)),
    systems=(system("web"),),
)


def web_deployed(*commit_and_instant: tuple[int, datetime]) -> Fleet:
    """The fleet with host `web` alone, which deployed these."""
    return replace(INFRA, system_states=deployed(*(("web", *each) for each in commit_and_instant)))


@DAYS
def test_a_clean_rollout(days: Days) -> None:
    fleet = replace(
        INFRA,
        commits=COMMITS[:2],
        systems=tuple(system(host) for host in HOSTS),
        system_states=deployed(
            *((host, 1, at(1, 6)) for host in HOSTS),
            ("web", 2, at(2, 9)),
            ("db", 2, at(2, 10)),
            ("app", 2, at(2, 12)),
        ),
    )

    (row,) = days(fleet, at(3))

    # Lead times from 08:00: 1, 2 and 4 hours. Ranks from 0 to 2: p75 lies at rank 1.5, p90 at 1.8.
    # Up to date: all three until 08:00, then web for 15 hours, db for 14, app for 12.
    assert_told(
        row,
        {
            "snapshot_date": date(2026, 3, 3),
            "flake_id": 1,
            "flake_name": "infra",
            "new_commits": 1,
            "host_deployments": 3,
            "hosts_deployed": 3,
            "commits_first_deployed": 1,
            "change_lead_time_p50_seconds": 2 * HOUR,
            "change_lead_time_p75_seconds": (2 + 0.5 * 2) * HOUR,
            "change_lead_time_p90_seconds": (2 + 0.8 * 2) * HOUR,
            "change_lead_time_count": 3,
            "negative_lead_time_count": 0,
            "batch_size_p50": 1.0,
            "batch_size_p90": 1.0,
            "rollbacks": 0,
            "change_fail_rate_rollback_proxy": 0.0,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": None,
            "systems_total": 3,
            "systems_up_to_date": 3,
            "systems_behind": 0,
            "systems_ahead": 0,
            "systems_unknown": 0,
            "systems_no_deployment": 0,
            "commits_behind_p50": 0.0,
            "commits_behind_p90": 0.0,
            "commits_behind_max": 0,
            "host_hours": 72.0,
            "up_to_date_share": (3 * 8 + 15 + 14 + 12) / 72,
            "within_1_commit_share": 1.0,
            "within_5_commits_share": 1.0,
            "within_20_commits_share": 1.0,
            "within_24_hours_share": 1.0,
            "within_168_hours_share": 1.0,
            "commit_to_built_p50_seconds": None,
            "commit_to_built_p90_seconds": None,
            "commit_to_built_count": 0,
            "built_to_first_host_p50_seconds": None,
            "built_to_first_host_p90_seconds": None,
            "built_to_first_host_count": 0,
            "negative_stage_count": 0,
            "snapshot_at": at(3),
        },
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


@DAYS
def test_a_host_that_skips_commits(days: Days) -> None:
    fleet = web_deployed((1, at(1, 6)), (4, at(3, 12)))

    (row,) = days(fleet, at(4))

    # At noon of day 3: c2 is 28 hours old, c3 24, c4 2. p75 at rank 1.5, p90 at rank 1.8.
    assert_told(
        row,
        {
            "new_commits": 1,
            "host_deployments": 1,
            "commits_first_deployed": 3,
            "change_lead_time_count": 3,
            "change_lead_time_p50_seconds": 24 * HOUR,
            "change_lead_time_p75_seconds": (24 + 0.5 * 4) * HOUR,
            "change_lead_time_p90_seconds": (24 + 0.8 * 4) * HOUR,
            "batch_size_p50": 3.0,
        },
    )


@DAYS
def test_a_straggler(days: Days) -> None:
    fleet = replace(
        INFRA,
        systems=tuple(system(host) for host in HOSTS),
        system_states=deployed(
            *((host, 1, at(1, 6)) for host in HOSTS),
            ("web", 3, at(2, 14)),
            ("db", 3, at(2, 15)),
            ("app", 3, at(9, 12)),
        ),
    )

    (prompt,) = days(fleet, at(3))
    (between,) = days(fleet, at(9))
    (late,) = days(fleet, at(10))

    # web: c2 after 6 hours and c3 after 2; db: after 7 and 3. Ascending: 2, 3, 6, 7.
    assert_told(prompt, {"change_lead_time_count": 4, "change_lead_time_p50_seconds": 4.5 * HOUR})
    # Day 8: all lack c4, since day 3, 10:00, and app lacks c2 and c3 as well, since day 2, 08:00.
    assert_told(
        between,
        {
            "host_deployments": 0,
            "change_lead_time_p50_seconds": None,
            "systems_behind": 3,
            "commits_behind_p50": 1.0,
            "commits_behind_p90": 1 + 0.8 * 2,
            "commits_behind_max": 3,
            "up_to_date_share": 0.0,
            "within_1_commit_share": 2 / 3,
            "within_5_commits_share": 1.0,
            "within_24_hours_share": 0.0,
            "within_168_hours_share": 1.0,
        },
    )
    # Day 9, 12:00: c2 is 7 days and 4 hours old, c3 exactly 7 days. Those four hours app was behind
    # for longer than 168; then it lacks no more than the others.
    assert_told(
        late,
        {
            "commits_first_deployed": 0,
            "change_lead_time_count": 2,
            "change_lead_time_p50_seconds": (168 + 2) * HOUR,
            "within_1_commit_share": (24 + 24 + 12) / 72,
            "within_168_hours_share": (24 + 24 + 20) / 72,
        },
    )


@DAYS
def test_a_flake_nobody_deploys(days: Days) -> None:
    fleet = replace(INFRA, systems=(), derivations=())

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "new_commits": 2,
            **dict.fromkeys(
                (
                    *("host_deployments", "hosts_deployed", "commits_first_deployed"),
                    *("change_lead_time_count", "negative_lead_time_count", "rollbacks"),
                    *("systems_total", "systems_behind", "commit_to_built_count"),
                ),
                0,
            ),
            **dict.fromkeys(
                (
                    *("change_lead_time_p50_seconds", "batch_size_p50", "commits_behind_p50"),
                    *("change_fail_rate_rollback_proxy", "commits_behind_max"),
                    *("up_to_date_share", "within_20_commits_share", "within_168_hours_share"),
                ),
                None,
            ),
            "host_hours": 0.0,
        },
    )


@DAYS
def test_a_commit_made_after_a_faster_clock(days: Days) -> None:
    # The clock of c2's author is half an hour fast; c3 is made ten minutes after c2 is deployed,
    # and yet comes before it in the order of commits.
    commits = (
        commit(1, at(1)),
        commit(2, at(2, 12.5)),
        commit(3, at(2, 12, microsecond=600 * 10**6)),
    )
    fleet = replace(web_deployed((1, at(1, 6)), (2, at(2, 12))), commits=commits)

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "host_deployments": 1,
            # Both pairs would have a negative lead time.
            "change_lead_time_count": 0,
            "change_lead_time_p50_seconds": None,
            "negative_lead_time_count": 2,
            "commits_first_deployed": 2,
            "batch_size_p50": 2.0,
            "systems_up_to_date": 1,
            # Ahead for half an hour: not up to date, and yet behind nothing.
            "up_to_date_share": 23.5 / 24,
            "within_1_commit_share": 1.0,
            "within_24_hours_share": 1.0,
        },
    )


@DAYS
def test_a_faster_clock_at_midnight(days: Days) -> None:
    c2 = commit(2, at(3, 0.5))
    c3 = commit(3, at(3, 0.25))
    deployed_before_midnight = web_deployed((1, at(1, 6)), (2, at(2, 23.5)))
    as_it_closed = replace(deployed_before_midnight, commits=(COMMITS[0], c2))
    later = replace(deployed_before_midnight, commits=(COMMITS[0], c2, c3))

    # Day 2 knows of c2 because it runs, but of c3, which sorts before it, only day 3 does.
    for fleet in (as_it_closed, later):
        assert_told(
            days(fleet, at(3))[0],
            {"new_commits": 0, "commits_first_deployed": 1, "negative_lead_time_count": 1},
        )
    assert_told(
        days(later, at(4))[0],
        {"new_commits": 2, "commits_first_deployed": 1, "negative_lead_time_count": 0},
    )


@DAYS
def test_a_host_that_changes_its_flake_and_returns(days: Days) -> None:
    edge = commit(5, at(1), flake_id=2)
    fleet = replace(
        INFRA,
        flakes=(flake(1, "infra"), flake(2, "edge")),
        commits=(*COMMITS, edge),
        derivations=builds(("web",), (1, 2, 3, 4, 5)),
        systems=(system("web", flake_id=None),),
        system_states=deployed(
            ("web", 1, at(1, 6)),
            ("web", 5, at(2, 9)),
            ("web", 3, at(2, 13)),
            ("web", 4, at(3, 11)),
        ),
    )

    left_for_edge, returned = days(fleet, at(3))
    _, upgraded = days(fleet, at(4))

    # Neither change of flake makes a pair, and what the second one carried never will.
    assert_told(
        left_for_edge,
        {"flake_name": "edge", "host_deployments": 1, "change_lead_time_count": 0},
    )
    assert_told(
        returned,
        {
            "flake_name": "infra",
            "host_deployments": 1,
            "change_lead_time_count": 0,
            "commits_first_deployed": 2,
            "batch_size_p50": None,
        },
    )
    assert_told(upgraded, {"change_lead_time_count": 1, "change_lead_time_p50_seconds": 1 * HOUR})


@DAYS
def test_a_local_build_in_between(days: Days) -> None:
    local = state(9, "/built-by-hand", at(2, 10), hostname="web")
    fleet = web_deployed((1, at(1, 6)), (2, at(2, 9)), (1, at(2, 13)))
    fleet = replace(fleet, system_states=(*fleet.system_states, local))

    (row,) = days(fleet, at(3))

    # The deployment before the rollback is of no commit: which one failed can't be said.
    assert_told(
        row,
        {
            "host_deployments": 2,
            "rollbacks": 1,
            "change_fail_rate_rollback_proxy": 0.0,
            "failed_deployment_recovery_p50_seconds_rollback_proxy": None,
        },
    )


@DAYS
def test_a_host_since_deactivated_did_deploy(days: Days) -> None:
    fleet = replace(
        web_deployed((1, at(1, 6)), (2, at(2, 9))), systems=(system("web", is_active=False),)
    )

    (row,) = days(fleet, at(3))

    assert_told(
        row,
        {
            "host_deployments": 1,
            "change_lead_time_count": 1,
            "systems_total": 0,
            "host_hours": 0.0,
            "up_to_date_share": None,
        },
    )


@DAYS
def test_today_so_far(days: Days) -> None:
    fleet = web_deployed((1, at(1, 6)), (2, at(2, 9)), (3, at(2, 13)))

    (row,) = days(fleet, at(2, 12))

    # At noon c3 is not visible, nor is its deployment. Up to date until 08:00 and from 09:00.
    assert_told(
        row,
        {
            "snapshot_date": date(2026, 3, 3),
            "snapshot_at": at(2, 12),
            "new_commits": 1,
            "host_deployments": 1,
            "host_hours": 12.0,
            "up_to_date_share": 11 / 12,
        },
    )


@DAYS
@pytest.mark.parametrize("until", [at(2, 12), at(3)], ids=["so far", "closed"])
def test_what_comes_later_changes_no_day(days: Days, until: datetime) -> None:
    fleet = web_deployed(
        (1, at(1, 6)), (2, at(2, 9)), (1, at(2, 11)), (3, at(2, 22)), (1, at(3, 1)), (4, at(3, 12))
    )
    as_it_was = replace(
        fleet,
        commits=tuple(each for each in fleet.commits if each.commit_timestamp < until),
        system_states=tuple(each for each in fleet.system_states if each.timestamp < until),
    )

    assert days(fleet, until) == days(as_it_was, until)


# The stages: c2 is made at 08:00, c3 at 12:00.

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
