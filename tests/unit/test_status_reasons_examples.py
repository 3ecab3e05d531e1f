"""Who has to act: each line of the table of behind_reason, one small fleet each."""

from dataclasses import replace
from datetime import datetime

import pytest

from assets.compute.vocabulary import BEHIND_REASONS
from tests.fleets import at, nixos, state, system
from tests.plain_reading.rows import CachePush, Commit, DerivationStatus, Fleet, Heartbeat
from tests.unit.status_cases import BUILDS, COMMITS, READINGS, Case, Reading, T, usual

STATUSES = tuple(
    DerivationStatus(number, name, is_success, is_terminal)
    for number, name, is_success, is_terminal in (
        (1, "build-complete", True, True),
        (2, "build-failed", False, True),
        (3, "dry-run-complete", True, False),
        (4, "dry-run-failed", False, True),
        (5, "dry-run-inprogress", False, False),
        (6, "pending", False, False),
        (7, "queued", False, False),
        (8, "build-pending", False, False),
        (9, "cancelled", False, True),
    )
)
BUILT, FAILED, DRY_RUN, DRY_RUN_FAILED, DRY_RUN_RUNNING, PENDING, QUEUED, WAITING, CANCELLED = (
    status.id for status in STATUSES
)


def fleet(**changes: object) -> Fleet:
    """The usual fleet: `web` runs c2; c3 and c4 are built. Its policy is auto_latest."""
    return usual(
        **{
            "derivation_statuses": STATUSES,
            "systems": (replace(system(), deployment_policy="auto_latest"),),
            **changes,
        }
    )


def policy(name: str | None, target: str | None = None, **changes: object) -> Fleet:
    """The fleet, where `web` has another policy, and a target."""
    web = replace(system(), deployment_policy=name, desired_target=target)
    return fleet(**{"systems": (web,), **changes})


def latest(*status_ids: int, evaluation: str | None = "complete", **changes: object) -> Fleet:
    """The fleet, where c3 failed to build and c4 has derivations of these statuses, in order."""
    commits = tuple(replace(each, evaluation_status=evaluation) for each in COMMITS)
    builds = (*BUILDS[:2], replace(BUILDS[2], status_id=FAILED))
    of_c4 = tuple(
        nixos(20 + number, 4, f"/p4-{number}", status_id=status_id)
        for number, status_id in enumerate(status_ids)
    )
    return fleet(**{"commits": commits, "derivations": (*builds, *of_c4), **changes})


def archived(*commit_ids: int) -> tuple[Commit, ...]:
    return tuple(replace(each, source_archived=each.id in commit_ids) for each in COMMITS)


def seen(when: datetime) -> dict[str, object]:
    """The tables by which `web` was last seen at an instant, after its report on day 2."""
    return {"agent_heartbeats": (Heartbeat(1, when),)}


PUSHED_3_AND_4 = (CachePush(13, at(4, 20)), CachePush(14, at(4, 22)))
UNCHANGED = tuple(nixos(10 + n, n, "/p", drv=f"/p{n}.drv") for n in (1, 2, 3, 4))
RUNS_DRV = (state(1, "/p2.drv", at(2, 6)),)

REASONS = (
    (
        "nothing_to_deploy",
        "no later commit changes the output, whatever else is so",
        fleet(derivations=UNCHANGED, system_states=RUNS_DRV, agent_heartbeats=()),
    ),
    ("silent", "for more than 4 hours", fleet(**seen(at(4, 20, microsecond=-1)))),
    ("silent", "with a heartbeat table, and none of this host", fleet(agent_heartbeats=())),
    ("rolling_out", "for exactly 4 hours is not silent", fleet(**seen(at(4, 20)))),
    ("rolling_out", "no heartbeat table makes nobody silent", fleet()),
    ("pinned", "until unpinned, though told another target", policy("pinned", "/p4")),
    ("not_known", "deployable, and no policy is recorded", policy(None)),
    ("not_known", "deployable, and the policy is no known one", policy("canary")),
    ("awaiting_release", "the policy is manual", policy("manual")),
    ("awaiting_release", "the host is not registered", fleet(systems=())),
    (
        "awaiting_release",
        "registered at T, and so not yet: its policy and target do not count",
        fleet(
            systems=(
                replace(system(created_at=T), deployment_policy="pinned", desired_target="/p4"),
            )
        ),
    ),
    (
        "rolling_out",
        "an earlier one of the later commits is deployable, and the latest failed",
        fleet(derivations=(*BUILDS[:3], replace(BUILDS[3], status_id=FAILED))),
    ),
    (
        "rolling_out",
        "what is recorded as pushed can be deployed",
        fleet(cache_push_jobs=(CachePush(14, None),)),
    ),
    (
        "not_applied",
        "told a later commit and seen after its push, whatever the policy",
        policy("manual", "/p4", cache_push_jobs=PUSHED_3_AND_4, **seen(at(4, 23))),
    ),
    (
        "not_applied",
        "told a later commit that is not the latest, by its .drv file",
        policy(None, "/p3.drv", cache_push_jobs=PUSHED_3_AND_4, **seen(at(4, 23))),
    ),
    (
        "awaiting_release",
        "told, and not seen since: at the very instant of the push is not later",
        policy("manual", "/p4", cache_push_jobs=PUSHED_3_AND_4, **seen(at(4, 22))),
    ),
    (
        "rolling_out",
        "told, and nobody knows when it was pushed",
        policy("auto_latest", "/p4", cache_push_jobs=(CachePush(14, None),), **seen(at(4, 23))),
    ),
    (
        "not_applied",
        "where pushes are not recorded, the build's completion counts",
        policy(
            "auto_latest",
            "/p4",
            derivations=(*BUILDS[:3], replace(BUILDS[3], completed_at=at(4, 22))),
            **seen(at(4, 23)),
        ),
    ),
    (
        "rolling_out",
        "told what it runs already is not a later commit",
        policy("auto_latest", "/p2", cache_push_jobs=PUSHED_3_AND_4, **seen(at(4, 23))),
    ),
    (
        "rolling_out",
        "told a later commit that history was rewritten without",
        policy(
            "auto_latest",
            "/p3",
            commits=archived(3),
            cache_push_jobs=PUSHED_3_AND_4,
            **seen(at(4, 23)),
        ),
    ),
    (
        "rolling_out",
        "a blank target is none",
        policy(
            "auto_latest",
            " ",
            derivations=(*BUILDS, nixos(30, 4, " ")),
            cache_push_jobs=(*PUSHED_3_AND_4, CachePush(30, at(4))),
            **seen(at(4, 23)),
        ),
    ),
    ("not_cached", "built, and no push is completed", fleet(cache_push_jobs=())),
    (
        "not_cached",
        "pushed is not what was built, but another derivation of the same commit",
        latest(BUILT, FAILED, cache_push_jobs=(CachePush(21, at(4)),)),
    ),
    ("evaluation_failed", "the dry run failed", latest(DRY_RUN_FAILED)),
    ("evaluation_failed", "no derivation, and the commit failed", latest(evaluation="failed")),
    ("not_evaluated", "pending", latest(PENDING)),
    ("not_evaluated", "queued", latest(QUEUED)),
    ("not_evaluated", "the dry run is not finished", latest(DRY_RUN_RUNNING)),
    ("not_evaluated", "no derivation, and the commit waits", latest(evaluation="pending")),
    ("not_evaluated", "no derivation yet", latest(evaluation="in_progress")),
    ("build_failed", "the build failed", latest(FAILED)),
    ("build_failed", "any other end without success", latest(CANCELLED)),
    ("build_failed", "the newest derivation counts", latest(WAITING, FAILED)),
    ("not_built", "evaluated only: a dry run is done though nothing ended", latest(DRY_RUN)),
    ("not_built", "the build has not begun", latest(WAITING)),
    ("not_in_flake", "evaluated, and there is none", latest(evaluation="complete")),
    ("not_known", "no derivation, and no evaluation is recorded", latest(evaluation=None)),
    ("not_known", "no derivation, and an evaluation of no known kind", latest(evaluation="odd")),
    ("not_known", "no build results are recorded", fleet(derivation_statuses=None)),
    ("not_known", "the status has no row", latest(404)),
    (
        "not_known",
        "nobody says whether the status is an end",
        latest(
            FAILED,
            derivation_statuses=tuple(replace(each, is_terminal=None) for each in STATUSES),
        ),
    ),
    (
        "evaluation_failed",
        "no build results, and no later commit has a derivation: its evaluation counts",
        latest(
            evaluation="failed",
            derivations=BUILDS[:2],
            derivation_statuses=None,
        ),
    ),
    (
        "not_in_flake",
        "what was built off the branch is not deployable",
        fleet(
            commits=tuple(replace(each, evaluation_status="complete") for each in archived(3)),
            derivations=BUILDS[:3],
        ),
    ),
)


def test_every_reason_has_an_example() -> None:
    assert {reason for reason, _, _ in REASONS} == set(BEHIND_REASONS)


@READINGS
@pytest.mark.parametrize(
    ("reason", "fleet"),
    [pytest.param(reason, fleet, id=f"{reason}: {line}") for reason, line, fleet in REASONS],
)
def test_reason(reason: str, fleet: Fleet, reading: Reading) -> None:
    Case("", fleet, {"deployment_status": "behind", "behind_reason": reason}).hold(reading)


@READINGS
@pytest.mark.parametrize(
    ("status", "path"), [("up_to_date", "/p4"), ("unknown", "/nowhere"), ("no_deployment", None)]
)
def test_who_is_not_behind_has_no_reason(status: str, path: str | None, reading: Reading) -> None:
    states = () if path is None else (state(1, path, at(4, 1)),)
    expected = {"deployment_status": status, "behind_reason": None}
    Case("", fleet(system_states=states), expected).hold(reading)
