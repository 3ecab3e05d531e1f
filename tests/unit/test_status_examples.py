"""The contract's lines on status, one small fleet each, with the outcome worked out by hand."""

from dataclasses import replace
from datetime import date

import pytest

from tests.fleets import at, commit, nixos, state, system
from tests.plain_reading.rows import Environment, Fleet
from tests.unit.status_cases import BUILDS, COMMITS, READINGS, Case, Reading, T, running, usual

LINES = (
    # Ordering and visibility.
    Case(
        "a commit of T itself is not visible yet",
        expected={"commits_behind": 1, "latest_commit_hash": "c3", "hours_behind": 24.0},
        snapshot_at=at(4),
    ),
    Case(
        "a commit of the microsecond before T is visible",
        expected={"commits_behind": 2, "latest_commit_hash": "c4"},
        snapshot_at=at(4, microsecond=1),
    ),
    Case(
        "a state of T itself is not visible yet",
        running(("/p2", at(2, 6)), ("/p3", T)),
        {"current_commit_hash": "c2", "last_reported_at": at(2, 6)},
    ),
    Case(
        "T of midnight belongs to the day that ends",
        expected={"snapshot_date": date(2026, 3, 5)},
        snapshot_at=at(5),
    ),
    Case(
        "T after midnight belongs to the day that began",
        expected={"snapshot_date": date(2026, 3, 6)},
        snapshot_at=at(5, microsecond=1),
    ),
    Case(
        "commits of one second are ordered by id",
        usual(commits=(commit(4, at(2)), commit(3, at(2)), commit(2, at(2)), commit(1, at(2)))),
        {"current_commit_hash": "c2", "commits_behind": 2, "latest_commit_hash": "c4"},
    ),
    Case(
        "states of one second are ordered by id",
        usual(system_states=(state(9, "/p2", at(4)), state(8, "/p3", at(4)))),
        {"current_commit_hash": "c2", "deployment_time": at(4)},
    ),
    Case(
        "a greater id does not make a commit later",
        usual(commits=(commit(1, at(4)), commit(2, at(3)), commit(3, at(2)), commit(4, at(1)))),
        {"current_commit_hash": "c2", "commits_behind": 1, "latest_commit_hash": "c1"},
    ),
    # Rows.
    Case(
        "is_active of null counts as active",
        usual(systems=(system(is_active=None),)),
        {"is_registered": True, "deployment_status": "behind"},
    ),
    Case(
        "a host that reports without being registered",
        usual(systems=()),
        {
            "is_registered": False,
            "flake_id": 1,
            "flake_name": "infra",
            "deployment_status": "behind",
            "commits_behind": 2,
            "commits_behind_effective": 2,
        },
    ),
    Case(
        "a system registered at T is not registered yet",
        usual(systems=(system(created_at=T, flake_id=2, configuration="other"),)),
        {
            "is_registered": False,
            "flake_name": "infra",
            "deployment_status": "behind",
            "commits_behind_effective": 2,
        },
    ),
    Case(
        "a system registered in the microsecond before T is",
        usual(systems=(system(created_at=at(5, microsecond=-1)),)),
        {"is_registered": True, "deployment_status": "behind"},
    ),
    Case(
        "the environment's name",
        usual(
            systems=(system(environment_id="e2"),),
            environments=(Environment("e1", "lab"), Environment("e2", "production")),
        ),
        {"environment": "production"},
    ),
    # Associated flake.
    Case(
        "registered without a flake: that of the deployed commit",
        usual(systems=(system(flake_id=None),)),
        {"flake_id": 1, "flake_name": "infra", "deployment_status": "behind"},
    ),
    Case(
        "neither a registered flake nor a deployment",
        usual(systems=(system(flake_id=None),), system_states=()),
        {"flake_id": None, "flake_name": None, "latest_commit_hash": None},
    ),
    # Current path and commit.
    Case(
        "the path is that of a .drv file",
        running(("/p2.drv", at(2, 6))),
        {"current_commit_hash": "c2", "matching_commit_count": 1, "commits_behind_effective": 2},
    ),
    Case(
        "the older generation knows .drv paths only",
        usual(
            derivations=tuple(replace(each, store_path=None) for each in BUILDS),
            system_states=(state(1, "/p2.drv", at(2, 6)),),
            derivation_statuses=None,
        ),
        {
            "deployment_status": "behind",
            "commits_behind": 2,
            "commits_behind_effective": 2,
            "commits_behind_deployable": None,
            "latest_deployable_commit_hash": None,
        },
    ),
    Case(
        "of commits that share an output, the last: one was made without effect",
        usual(derivations=(*BUILDS, nixos(20, 3, "/p2"))),
        {"current_commit_hash": "c3", "matching_commit_count": 2, "commits_behind": 1},
    ),
    Case(
        "of commits that share an output, a visible one",
        usual(derivations=(*BUILDS, nixos(20, 4, "/p2"))),
        {"current_commit_hash": "c2", "matching_commit_count": 2, "deployment_status": "behind"},
        snapshot_at=at(4),
    ),
    Case(
        "of commits that share an output, the associated flake's though another's is later",
        usual(
            commits=(*COMMITS, commit(5, at(4, 5), flake_id=2)),
            derivations=(*BUILDS, nixos(20, 5, "/p2")),
        ),
        {"current_commit_hash": "c2", "current_flake_name": "infra", "matching_commit_count": 2},
    ),
    Case(
        "the associated flake's though not visible, before another's visible one",
        usual(
            systems=(system(flake_id=2),),
            commits=(*COMMITS, commit(5, at(4, 5), flake_id=2), commit(6, at(9), flake_id=2)),
            derivations=(*BUILDS, nixos(20, 6, "/p2")),
        ),
        {"current_commit_hash": "c6", "deployment_status": "ahead", "commits_behind": 0},
    ),
    Case(
        "two derivations of one commit match once",
        usual(derivations=(*BUILDS, nixos(20, 2, "/p2", name="twin"))),
        {"matching_commit_count": 1},
    ),
    Case(
        "a derivation of another type matches too",
        usual(
            derivations=(*BUILDS, nixos(20, 3, "/iso", derivation_type="iso")),
            system_states=(state(1, "/iso", at(3, 6)),),
        ),
        {"current_commit_hash": "c3", "commits_behind": 1},
    ),
    Case(
        "a row without a commit does not hide one that has a commit",
        usual(derivations=(*BUILDS, nixos(20, None, "/p2"))),
        {"current_commit_hash": "c2", "matching_commit_count": 1},
    ),
    # Unknown.
    Case(
        "unknown: a path of no derivation",
        running(("/elsewhere", at(2, 6))),
        {
            "deployment_status": "unknown",
            "unknown_reason": "path_not_in_derivations",
            "status_description": "Deployed path is not in derivations",
            "matching_commit_count": 0,
            "commits_behind": None,
            "current_derivation_path": "/elsewhere",
            "latest_commit_hash": "c4",
        },
    ),
    Case(
        "unknown: a derivation of no commit",
        usual(derivations=(*BUILDS[2:], nixos(20, None, "/p2"))),
        {
            "deployment_status": "unknown",
            "unknown_reason": "derivation_without_commit",
            "status_description": "Deployed derivation is not linked to a commit",
            "matching_commit_count": 0,
        },
    ),
    Case(
        "unknown: a derivation of a commit that is gone",
        usual(commits=COMMITS[2:]),
        {"unknown_reason": "derivation_without_commit", "matching_commit_count": 0},
    ),
    Case(
        "unknown: the flake has no visible commit",
        expected={
            "deployment_status": "unknown",
            "unknown_reason": "flake_has_no_commits",
            "status_description": "Associated flake has no commit yet",
            "current_commit_hash": "c2",
            "latest_commit_hash": None,
        },
        fleet=usual(commits=(commit(2, at(7)),)),
    ),
    # Deployment time.
    Case(
        "a reboot does not move deployment_time",
        running(("/p1", at(2, 1)), ("/p2", at(2, 6)), ("/p2", at(3)), ("/p2", at(4))),
        {"deployment_time": at(2, 6), "last_reported_at": at(4)},
    ),
    Case(
        "a return to a path is a deployment anew",
        running(("/p2", at(2, 6)), ("/p3", at(3, 6)), ("/p2", at(4)), ("/p2", at(4, 6))),
        {"deployment_time": at(4), "last_reported_at": at(4, 6), "commits_behind": 2},
    ),
    Case(
        "two paths of one commit are two deployments",
        running(("/p2", at(2, 6)), ("/p2.drv", at(3, 6))),
        {"deployment_time": at(3, 6), "current_commit_hash": "c2"},
    ),
    # Behind.
    Case(
        "behind since the first commit after the current one, in parts of an hour",
        running(("/p3", at(3, 1))),
        {"behind_since": at(4), "hours_behind": 24.75, "commits_behind": 1},
        snapshot_at=at(5, 0.75),
    ),
    Case(
        "a rolled-back host is behind by all later commits",
        running(("/p4", at(4, 1)), ("/p1", at(4, 2))),
        {"deployment_status": "behind", "commits_behind": 3, "behind_since": at(2)},
    ),
    Case(
        "commits of another flake do not count",
        usual(commits=(*COMMITS, commit(5, at(3, 5), flake_id=2), commit(6, at(4, 9), flake_id=2))),
        {"commits_behind": 2, "latest_commit_hash": "c4"},
    ),
)


@READINGS
@pytest.mark.parametrize("case", LINES, ids=str)
def test_line_of_the_contract(case: Case, reading: Reading) -> None:
    case.hold(reading)


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param(usual(systems=(system(is_active=False),)), id="deactivated, still reporting"),
        pytest.param(
            usual(systems=(system(is_active=False, created_at=at(9)),)),
            id="deactivated and registered later",
        ),
        pytest.param(
            usual(systems=(system(created_at=T),), system_states=()), id="registered at T, silent"
        ),
        pytest.param(
            usual(systems=(), system_states=(state(1, "/p1", T),)), id="unregistered, reports at T"
        ),
        pytest.param(Fleet(), id="an empty fleet"),
    ],
)
@READINGS
def test_no_row(fleet: Fleet, reading: Reading) -> None:
    assert reading(fleet, T) == []


@READINGS
def test_rows_are_in_the_order_of_triage(reading: Reading) -> None:
    paths = {
        "a-ahead": "/future",
        "b-current": "/p4",
        "Behind-2": "/p2",
        "behind-2": "/p2",
        "behind-3": "/p1",
        "\U0001f600": "/p2",
        "\uff5e": "/p2",
        "y-unknown": "/elsewhere",
        "x-unknown": "/elsewhere",
    }
    fleet = usual(
        commits=(*COMMITS, commit(5, at(8))),
        derivations=(*BUILDS, nixos(20, 5, "/future")),
        systems=tuple(system(hostname) for hostname in ("z-new", *paths)),
        system_states=tuple(
            state(n, path, at(4, 1), hostname=hostname)
            for n, (hostname, path) in enumerate(paths.items())
        ),
    )

    assert [(row["hostname"], row["deployment_status"]) for row in reading(fleet, T)] == [
        ("z-new", "no_deployment"),
        ("x-unknown", "unknown"),
        ("y-unknown", "unknown"),
        ("behind-3", "behind"),
        ("Behind-2", "behind"),
        ("behind-2", "behind"),
        ("\uff5e", "behind"),
        ("\U0001f600", "behind"),
        ("b-current", "up_to_date"),
        ("a-ahead", "ahead"),
    ]
