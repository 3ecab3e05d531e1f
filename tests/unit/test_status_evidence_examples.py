"""What is known of the branch, of feeds and of hosts: one small fleet each, worked out by hand."""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest

from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.vocabulary import BEHIND_REASONS
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from tests.fleets import at, fleet_tables, nixos, plain_rows, state
from tests.plain_reading import status as plain_reading
from tests.plain_reading.rows import BranchCommit, Commit, Fleet, Heartbeat
from tests.plain_reading.words import Row
from tests.unit.status_cases import (
    BUILDS,
    COMMITS,
    FLAKES,
    READINGS,
    Case,
    Reading,
    T,
    running,
    usual,
)

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


def archived(*commit_ids: int) -> tuple[Commit, ...]:
    return tuple(replace(each, source_archived=each.id in commit_ids) for each in COMMITS)


def infra(**changes: object) -> Fleet:
    """The usual fleet, whose flake `infra` has other values."""
    return usual(flakes=(replace(FLAKES[0], **changes), FLAKES[1]))  # type: ignore[arg-type]  # the names are those of Flake


def fed(status: str | None, began: datetime | None) -> Fleet:
    """The usual fleet, where the last attempt to read `infra` went like this."""
    return infra(sync_status=status, last_sync_at=began)


def expecting(path: str, *, store_path: str | None, **changes: object) -> Fleet:
    """The usual fleet, where the evaluation of c3 predicts /predicted, and `web` runs a path."""
    predicted = replace(nixos(30, 3, store_path), expected_store_path="/predicted")
    predicted = replace(predicted, **changes)  # type: ignore[arg-type]  # the names are those of Derivation
    return usual(derivations=(*BUILDS, predicted), system_states=(state(1, path, at(2, 6)),))


def snapshot(*rows: BranchCommit, is_ready: bool = True) -> Fleet:
    """The usual fleet with a snapshot of branches, which may be believed for `infra` alone."""
    flake = replace(FLAKES[0], snapshot_ready_at=at(0) if is_ready else None)
    return usual(flakes=(flake, FLAKES[1]), flake_branch_commit_snapshot=rows)


def beating(*heartbeats: tuple[int, datetime], reports: int = 1) -> Fleet:
    """The usual fleet, where `web` reported /p2 on day 4 at 12:00 and sent these heartbeats."""
    fleet = running(*[("/p2", at(4, 12))] * reports)
    return replace(fleet, agent_heartbeats=tuple(Heartbeat(*each) for each in heartbeats))


LINES = (
    # Matching.
    Case(
        "a predicted output matches while nothing is built",
        expecting("/predicted", store_path=None),
        {"current_commit_hash": "c3", "matching_commit_count": 1},
    ),
    Case(
        "a blank store_path is none",
        expecting("/predicted", store_path=" "),
        {"current_commit_hash": "c3"},
    ),
    Case(
        "once built, only the built path counts",
        expecting("/predicted", store_path="/built"),
        {"unknown_reason": "path_not_in_derivations", "matching_commit_count": 0},
    ),
    Case(
        "a prediction that leads to no commit is a derivation all the same",
        expecting("/predicted", store_path=None, commit_id=None),
        {"unknown_reason": "derivation_without_commit", "matching_commit_count": 0},
    ),
    Case(
        "a blank prediction matches nothing",
        expecting(" ", store_path=None, expected_store_path=" "),
        {"unknown_reason": "path_not_in_derivations"},
    ),
    Case(
        "one on the branch though another is later",
        usual(commits=archived(3), derivations=(*BUILDS, nixos(20, 3, "/p2"))),
        {"current_commit_hash": "c2", "matching_commit_count": 2},
    ),
    Case(
        "one on the branch though not visible, before a visible one off it",
        usual(commits=archived(2), derivations=(*BUILDS, nixos(20, 4, "/p2"))),
        {"current_commit_hash": "c4", "deployment_status": "ahead"},
        snapshot_at=at(4),
    ),
    # Off the branch.
    Case(
        "a commit off the branch is not counted",
        usual(commits=archived(3)),
        {"commits_behind": 1, "behind_since": at(4), "latest_commit_hash": "c4"},
    ),
    Case(
        "a commit off the branch is never latest",
        usual(commits=archived(4)),
        {"commits_behind": 1, "latest_commit_hash": "c3", "latest_deployable_commit_hash": "c3"},
    ),
    Case(
        "a commit off the branch can be current, and is behind what replaced it",
        usual(commits=archived(2)),
        {"current_commit_hash": "c2", "deployment_status": "behind", "commits_behind": 2},
    ),
    Case(
        "rewritten away, and dated later than what replaced it",
        replace(running(("/p4", at(4, 1))), commits=archived(4)),
        {"current_commit_hash": "c4", "deployment_status": "ahead", "commits_behind": 0},
    ),
    Case(
        "nothing is left of the branch",
        usual(commits=archived(1, 2, 3, 4)),
        {"unknown_reason": "flake_has_no_commits", "latest_commit_hash": None},
    ),
    Case(
        "the first one counted is compared with the current one though that is off the branch",
        usual(
            commits=archived(2, 3),
            derivations=(*BUILDS[:2], nixos(13, 3, "/other"), nixos(14, 4, "/p2", drv="/p4.drv")),
            system_states=(state(1, "/p2.drv", at(2, 6)),),
        ),
        {"commits_behind": 1, "commits_behind_effective": 0, "commits_behind_deployable": 1},
    ),
    Case(
        "a prediction is an output, before the .drv file",
        usual(
            derivations=tuple(
                replace(each, store_path=None, expected_store_path="/same") for each in BUILDS
            ),
            system_states=(state(1, "/p2.drv", at(2, 6)),),
        ),
        {"commits_behind": 2, "commits_behind_effective": 0},
    ),
    # Deleted flakes.
    Case(
        "a flake deleted at T, and its latest commit is given",
        infra(deleted_at=T),
        {
            "deployment_status": "unknown",
            "unknown_reason": "flake_deleted",
            "status_description": "Associated flake has been deleted",
            "latest_commit_hash": "c4",
            "commits_behind": None,
        },
    ),
    Case(
        "a flake that is deleted just after T",
        infra(deleted_at=T + MICROSECOND),
        {"deployment_status": "behind", "unknown_reason": None},
    ),
    Case(
        "a deleted flake without commits is deleted",
        replace(infra(deleted_at=T), commits=archived(1, 2, 3, 4)),
        {"unknown_reason": "flake_deleted"},
    ),
    Case(
        "a host that never reported has no deployment, whatever became of its flake",
        replace(infra(deleted_at=T), system_states=()),
        {"deployment_status": "no_deployment", "unknown_reason": None},
    ),
    # The branch as git counts it.
    Case(
        "git counts more than the commits that are recorded",
        snapshot(BranchCommit(1, 2, 7, at(4, 12))),
        {"commits_behind": 2, "commits_behind_branch": 7},
    ),
    Case(
        "the current commit is not in the branch's snapshot",
        snapshot(BranchCommit(1, 3, 1, at(4, 12))),
        {"commits_behind_branch": None},
    ),
    Case(
        "the snapshot was taken at T",
        snapshot(BranchCommit(1, 2, 7, T)),
        {"commits_behind_branch": None},
    ),
    Case(
        "the snapshot may not be believed yet",
        snapshot(BranchCommit(1, 2, 7, at(4, 12)), is_ready=False),
        {"commits_behind_branch": None},
    ),
    Case(
        "a commit of another flake's snapshot",
        snapshot(BranchCommit(2, 2, 7, at(4, 12))),
        {"commits_behind_branch": None},
    ),
    # Feeds.
    Case(
        "an error fails, however old",
        fed("error", at(-100)),
        {"feed_status": "failing", "feed_checked_at": at(-100)},
    ),
    Case("an error fails without a date", fed("error", None), {"feed_status": "failing"}),
    Case("2 hours ago is stale", fed("synced", T - 2 * HOUR), {"feed_status": "stale"}),
    Case(
        "less than 2 hours ago is current",
        fed("synced", T - 2 * HOUR + MICROSECOND),
        {"feed_status": "current", "feed_checked_at": T - 2 * HOUR + MICROSECOND},
    ),
    Case("an attempt that still runs", fed("syncing", T - HOUR), {"feed_status": "current"}),
    Case("an attempt that died", fed("syncing", T - 9 * HOUR), {"feed_status": "stale"}),
    Case(
        "an attempt that began after T, while the day was closed",
        fed("synced", T + HOUR / 4),
        {"feed_status": "current", "feed_checked_at": T + HOUR / 4},
    ),
    Case("old is stale whatever it was", fed(None, at(1)), {"feed_status": "stale"}),
    Case(
        "recent, and nobody says how it went",
        fed(None, T - HOUR),
        {"feed_status": "not_recorded", "feed_checked_at": T - HOUR},
    ),
    Case("a word that says nothing", fed("odd", T - HOUR), {"feed_status": "not_recorded"}),
    Case(
        "it went well, and nobody says when", fed("synced", None), {"feed_status": "not_recorded"}
    ),
    Case("nothing is recorded", fed(None, None), {"feed_status": "not_recorded"}),
    Case(
        "a system of no flake",
        replace(running(("/nowhere", at(4))), systems=()),
        {"flake_id": None, "feed_status": None, "feed_checked_at": None},
    ),
    # Hosts.
    Case(
        "a heartbeat is later than the report",
        beating((1, T - HOUR / 4)),
        {"last_reported_at": at(4, 12), "last_seen_at": T - HOUR / 4, "liveness": "alive"},
    ),
    Case("15 minutes and more", beating((1, T - HOUR / 4 - MICROSECOND)), {"liveness": "late"}),
    Case("up to an hour", beating((1, T - HOUR)), {"liveness": "late"}),
    Case("more than an hour", beating((1, T - HOUR - MICROSECOND)), {"liveness": "missing"}),
    Case("up to 4 hours", beating((1, T - 4 * HOUR)), {"liveness": "missing"}),
    Case("more than 4 hours", beating((1, T - 4 * HOUR - MICROSECOND)), {"liveness": "silent"}),
    Case(
        "a heartbeat before the report makes nobody younger",
        beating((1, at(4, 11))),
        {"last_seen_at": at(4, 12), "liveness": "silent"},
    ),
    Case(
        "a clock that runs fast is not seen after T",
        beating((1, T), (1, T + HOUR)),
        {"last_seen_at": at(4, 12), "liveness": "silent"},
    ),
    Case(
        "the newest that is visible counts",
        beating((1, T - HOUR), (1, T - HOUR / 2), (1, T + HOUR)),
        {"last_seen_at": T - HOUR / 2},
    ),
    Case(
        "a heartbeat of an earlier state",
        beating((1, T - HOUR), reports=2),
        {"last_seen_at": at(4, 12)},
    ),
    Case(
        "no heartbeat table",
        running(("/p2", at(4, 12))),
        {"last_seen_at": at(4, 12), "liveness": "not_recorded"},
    ),
    Case(
        "who never reported was never seen",
        usual(system_states=(), agent_heartbeats=()),
        {"last_seen_at": None, "liveness": None},
    ),
)


@READINGS
@pytest.mark.parametrize("case", LINES, ids=str)
def test_line_of_the_contract(case: Case, reading: Reading) -> None:
    case.hold(reading)


KNOWN = replace(
    snapshot(BranchCommit(1, 2, 7, at(4, 12))),
    flakes=(
        replace(
            FLAKES[0],
            sync_status="error",
            last_sync_at=at(4),
            last_sync_error="\U0001f525" * 301,
            snapshot_ready_at=at(0),
        ),
    ),
    agent_heartbeats=(Heartbeat(1, at(4, 23)),),
)


def both_datasets(extracted_at: datetime) -> list[tuple[Row, Row]]:
    """The only system and flake of the known fleet at T: computed, and plainly read."""
    timeline = index_fleet(fleet_tables(KNOWN))
    stamps = (pd.Timestamp(T), pd.Timestamp(extracted_at))
    status = system_deployment_status(timeline, *stamps)
    flakes = flake_deployment_status(timeline, status, *stamps)
    return [
        (
            plain_rows(SYSTEM_DEPLOYMENT_STATUS, status)[0],
            plain_rows(FLAKE_DEPLOYMENT_STATUS, flakes)[0],
        ),
        (
            plain_reading.system_deployment_status(KNOWN, T, extracted_at)[0],
            plain_reading.flake_deployment_status(KNOWN, T, extracted_at)[0],
        ),
    ]


def test_an_hour_after_t_what_was_read_is_still_said_of_t() -> None:
    for system, flake in both_datasets(T + HOUR):
        assert system["feed_status"] == flake["feed_status"] == "failing"
        assert system["feed_checked_at"] == flake["feed_checked_at"] == at(4)
        assert flake["feed_error"] == "\U0001f525" * 300
        assert (system["last_seen_at"], system["liveness"]) == (at(4, 23), "late")
        assert system["commits_behind_branch"] == 7
        assert system["behind_reason"] == "not_known"
        counts = {reason: flake[f"systems_behind_{reason}"] for reason in BEHIND_REASONS}
        assert counts == dict.fromkeys(BEHIND_REASONS, 0) | {"not_known": 1}


def test_of_a_day_filled_in_later_nothing_is_said() -> None:
    for system, flake in both_datasets(T + HOUR + MICROSECOND):
        assert system["deployment_status"] == "behind"
        assert system["feed_status"] == flake["feed_status"] == "not_recorded"
        assert system["liveness"] == "not_recorded"
        for name in ("feed_checked_at", "last_seen_at", "commits_behind_branch", "behind_reason"):
            assert system[name] is None
        assert flake["feed_checked_at"] is flake["feed_error"] is None
        assert all(flake[f"systems_behind_{reason}"] is None for reason in BEHIND_REASONS)
