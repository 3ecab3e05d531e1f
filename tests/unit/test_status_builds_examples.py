"""How far behind in effect and in what is deployable: small fleets worked out by hand."""

from dataclasses import replace

import pytest

from tests.fleets import BUILD_STATUSES, BUILT, FAILED, at, commit, nixos, state, system
from tests.plain_reading.rows import Derivation, Fleet
from tests.unit.status_cases import BUILDS, COMMITS, READINGS, Case, Reading, running, usual


def builds(*outputs: str | None, **changes: object) -> Fleet:
    """The usual fleet, where c1, c2, ... build these outputs; None for no derivation at all.

    `web` runs the `.drv` path of c1, so that an output of many commits does not move it ahead.
    """
    derivations = tuple(
        nixos(10 + n, n, output, drv=f"/p{n}.drv")
        for n, output in enumerate(outputs, start=1)
        if output is not None
    )
    states = (state(1, "/p1.drv", at(1, 6)),)
    return usual(**{"derivations": derivations, "system_states": states, **changes})


def with_statuses(*status_ids: int) -> tuple[Derivation, ...]:
    """The usual derivations, of these build statuses."""
    return tuple(
        replace(each, status_id=status_id)
        for each, status_id in zip(BUILDS, status_ids, strict=True)
    )


RENAMED = tuple(replace(each, derivation_name="web-v2") for each in BUILDS)

EFFECTIVE = (
    Case(
        "every commit changes the output",
        builds("/a", "/b", "/c", "/d"),
        {"commits_behind_effective": 3},
    ),
    Case(
        "no commit changes the output: deploying would change nothing",
        builds("/a", "/a", "/a", "/a"),
        {"commits_behind": 3, "commits_behind_effective": 0, "deployment_status": "behind"},
    ),
    Case(
        "a change and its revert are two",
        builds("/a", "/b", "/a", "/a"),
        {"commits_behind_effective": 2},
    ),
    Case(
        "each is compared with the commit before, not with what runs",
        builds("/a", "/b", "/b", "/b"),
        {"commits_behind": 3, "commits_behind_effective": 1},
    ),
    Case(
        "a counted commit without a derivation leaves it open",
        builds("/a", "/b", None, "/d"),
        {"commits_behind": 3, "commits_behind_effective": None},
    ),
    Case(
        "the current commit without a derivation of this host leaves it open",
        usual(derivations=(nixos(30, 2, "/p2", name="other"), *BUILDS[2:])),
        {"current_commit_hash": "c2", "commits_behind": 2, "commits_behind_effective": None},
    ),
    Case(
        "a missing derivation of a commit before the current one does not matter",
        usual(derivations=BUILDS[1:]),
        {"commits_behind_effective": 2},
    ),
    Case(
        "a derivation of another type is not the host's",
        usual(derivations=(*BUILDS[:3], replace(BUILDS[3], derivation_type="vm"))),
        {"commits_behind": 2, "commits_behind_effective": None, "commits_behind_deployable": 1},
    ),
    Case(
        "without an output yet, its .drv path stands for it",
        usual(derivations=(*BUILDS[:3], nixos(30, 4, None, drv="/p4.drv"))),
        {"commits_behind_effective": 2},
    ),
    Case(
        "a derivation of no path at all is none",
        usual(derivations=(*BUILDS[:3], nixos(30, 4, None))),
        {"commits_behind_effective": None},
    ),
    Case(
        "of two derivations of one commit, the one of the greatest id",
        usual(derivations=(nixos(30, 4, "/p3"), *BUILDS)),
        {"commits_behind_effective": 1},
    ),
    Case(
        "of two derivations of one commit, one of no path at all does not count",
        usual(derivations=(*BUILDS, nixos(30, 4, None))),
        {"commits_behind_effective": 2},
    ),
    Case("up to date: 0", running(("/p4", at(4, 1))), {"commits_behind_effective": 0}),
    Case(
        "up to date, without a derivation of this host: open",
        usual(
            derivations=(nixos(30, 4, "/p4", name="other"),),
            system_states=(state(1, "/p4", at(4, 1)),),
        ),
        {"deployment_status": "up_to_date", "commits_behind_effective": None},
    ),
    Case(
        "ahead: 0",
        running(("/p4", at(3, 1))),
        {"deployment_status": "ahead", "commits_behind_effective": 0},
        snapshot_at=at(4),
    ),
    Case(
        "commits of one second: before is by id",
        builds(
            "/a",
            "/b",
            "/a",
            "/a",
            commits=tuple(replace(c, commit_timestamp=at(1)) for c in COMMITS),
        ),
        {"commits_behind": 3, "commits_behind_effective": 2},
    ),
    Case(
        "another flake's commits in between do not matter",
        usual(commits=(*COMMITS, commit(9, at(3, 1), flake_id=2))),
        {"commits_behind_effective": 2},
    ),
    Case(
        "the derivation is that of the system's configuration name",
        usual(derivations=RENAMED, systems=(system(configuration="web-v2"),)),
        {"commits_behind_effective": 2, "commits_behind_deployable": 2},
    ),
    Case(
        "not that of the hostname where another is registered",
        usual(systems=(system(configuration="web-v2"),)),
        {
            "commits_behind": 2,
            "commits_behind_effective": None,
            "commits_behind_deployable": 0,
            "latest_deployable_commit_hash": None,
        },
    ),
    Case(
        "a blank configuration name means the hostname",
        usual(systems=(system(configuration=" \t"),)),
        {"commits_behind_effective": 2, "commits_behind_deployable": 2},
    ),
    Case(
        "an empty configuration name means the hostname",
        usual(systems=(system(configuration=""),)),
        {"commits_behind_effective": 2},
    ),
)

DEPLOYABLE = (
    Case(
        "a commit that failed to build counts as behind, not as deployable",
        usual(derivations=with_statuses(BUILT, BUILT, BUILT, FAILED)),
        {
            "commits_behind": 2,
            "commits_behind_deployable": 1,
            "latest_deployable_commit_hash": "c3",
            "latest_commit_hash": "c4",
        },
    ),
    Case(
        "nothing newer is deployable",
        usual(derivations=with_statuses(BUILT, BUILT, FAILED, FAILED)),
        {
            "deployment_status": "behind",
            "commits_behind_deployable": 0,
            "latest_deployable_commit_hash": "c2",
        },
    ),
    Case(
        "the latest deployable commit can precede the current one",
        usual(derivations=with_statuses(BUILT, FAILED, FAILED, FAILED)),
        {"commits_behind_deployable": 0, "latest_deployable_commit_hash": "c1"},
    ),
    Case(
        "no commit was ever built",
        usual(derivations=with_statuses(FAILED, FAILED, FAILED, FAILED)),
        {"commits_behind_deployable": 0, "latest_deployable_commit_hash": None},
    ),
    Case(
        "a status that nobody knows is no success",
        usual(derivations=with_statuses(BUILT, BUILT, BUILT, 99)),
        {"commits_behind_deployable": 1, "latest_deployable_commit_hash": "c3"},
    ),
    Case(
        "build results are not recorded",
        usual(derivation_statuses=None),
        {"commits_behind_deployable": None, "latest_deployable_commit_hash": None},
    ),
    Case(
        "built for another host only",
        usual(derivations=(*BUILDS[:3], nixos(30, 4, "/p4", name="db"))),
        {"commits_behind_deployable": 1, "latest_deployable_commit_hash": "c3"},
    ),
    Case(
        "built after a failed attempt",
        usual(
            derivations=(
                *with_statuses(BUILT, BUILT, BUILT, FAILED),
                nixos(30, 4, "/p4", status_id=BUILT),
            )
        ),
        {"commits_behind_deployable": 2, "latest_deployable_commit_hash": "c4"},
    ),
    Case(
        "a commit that is not visible yet is not deployable yet",
        usual(),
        {"commits_behind_deployable": 1, "latest_deployable_commit_hash": "c3"},
        snapshot_at=at(4),
    ),
    Case(
        "never deployed: what could be, all the same",
        usual(derivations=with_statuses(BUILT, BUILT, BUILT, FAILED), system_states=()),
        {"commits_behind_deployable": None, "latest_deployable_commit_hash": "c3"},
    ),
    Case(
        "unknown: what could be deployed, all the same",
        running(("/elsewhere", at(2))),
        {"commits_behind_deployable": None, "latest_deployable_commit_hash": "c4"},
    ),
    Case(
        "up to date with a commit that is said to have failed",
        usual(
            derivations=with_statuses(BUILT, BUILT, BUILT, FAILED),
            system_states=(state(1, "/p4", at(4, 1)),),
        ),
        {
            "deployment_status": "up_to_date",
            "commits_behind_deployable": 0,
            "latest_deployable_commit_hash": "c3",
        },
    ),
    Case(
        "no build status is a success",
        usual(derivation_statuses=(BUILD_STATUSES[1],)),
        {"commits_behind_deployable": 0, "latest_deployable_commit_hash": None},
    ),
)


@READINGS
@pytest.mark.parametrize("case", EFFECTIVE, ids=str)
def test_commits_behind_effective(case: Case, reading: Reading) -> None:
    case.hold(reading)


@READINGS
@pytest.mark.parametrize("case", DEPLOYABLE, ids=str)
def test_commits_behind_deployable(case: Case, reading: Reading) -> None:
    case.hold(reading)
