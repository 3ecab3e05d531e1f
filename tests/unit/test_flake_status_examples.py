"""The flakes' roll-up of status: small fleets, the rows worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

import pandas as pd
import pytest

from assets.compute.flake_status import flake_deployment_status
from assets.compute.forges import OwnForges
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.vocabulary import BEHIND_REASONS
from assets.schemas import FLAKE_DEPLOYMENT_STATUS
from tests.fleets import at, commit, flake, fleet_tables, nixos, plain_rows, state, system
from tests.plain_reading import status as plain_reading
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row

Reading = Callable[[Fleet, datetime], list[Row]]

T = at(5)
# c1 to c11 are made at 00:00, 01:00, ... of day 3; c12 is not visible yet.
COMMITS = (*(commit(n, at(3, n - 1)) for n in range(1, 12)), commit(12, at(6)))
# What each host of flake 1 runs: the number of its commit, None for nothing.
RUNNING = {"a": 1, "b": 3, "c": 3, "d": 11, "e": 12, "f": 404, "g": None}
USUAL = Fleet(
    flakes=(flake(1, "infra"),),
    commits=COMMITS,
    derivations=tuple(nixos(20 + each.id, each.id, f"/p{each.id}") for each in COMMITS),
    systems=tuple(system(hostname) for hostname in RUNNING),
    system_states=tuple(
        state(n, f"/p{number}", at(4), hostname=hostname)
        for n, (hostname, number) in enumerate(RUNNING.items())
        if number is not None
    ),
)


def computed(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    timeline, instant = index_fleet(fleet_tables(fleet)), pd.Timestamp(snapshot_at)
    status = system_deployment_status(timeline, instant, instant)
    frame = flake_deployment_status(timeline, status, instant, instant)
    return plain_rows(FLAKE_DEPLOYMENT_STATUS, frame)


def plainly_read(fleet: Fleet, snapshot_at: datetime) -> list[Row]:
    return plain_reading.flake_deployment_status(fleet, snapshot_at, snapshot_at)


READINGS = pytest.mark.parametrize(
    "reading", [pytest.param(computed, id="computed"), pytest.param(plainly_read, id="plain")]
)


@READINGS
def test_a_whole_row(reading: Reading) -> None:
    # commits_behind: a 10, b 8, c 8, d 0, e (ahead) 0; in order 0 0 8 8 10. The median is 8, the
    # 90th percentile lies 0.6 of the way from the fourth to the fifth: 8 + 0.6 * 2.
    assert reading(USUAL, T) == [
        {
            "flake_id": 1,
            "flake_name": "infra",
            "repo_url": "https://git.example/1.git",
            "commit_url_template": None,
            "comparison_url_template": None,
            "systems_total": 7,
            "systems_up_to_date": 1,
            "systems_behind": 3,
            "systems_ahead": 1,
            "systems_unknown": 1,
            "systems_no_deployment": 1,
            # No build of theirs is recorded.
            **{f"systems_behind_{reason}": 0 for reason in BEHIND_REASONS},
            "systems_behind_not_known": 3,
            "feed_status": "not_recorded",
            "feed_checked_at": None,
            "feed_error": None,
            "commits_behind_p50": 8.0,
            "commits_behind_p90": pytest.approx(9.2),
            "commits_behind_max": 10,
            "latest_commit_hash": "c11",
            "latest_commit_timestamp": at(3, 10),
            "latest_commit_age_hours": 38.0,
            "live_commit_count": 4,
            "oldest_live_commit_hash": "c1",
            "oldest_live_commit_timestamp": at(3),
            "snapshot_date": date(2026, 3, 5),
            "snapshot_at": T,
            "extracted_at": T,
        }
    ]


@READINGS
def test_a_flake_without_systems_or_commits_has_a_row(reading: Reading) -> None:
    (row,) = reading(Fleet(flakes=(flake(3, "new"),)), T)

    assert row["systems_total"] == row["systems_behind"] == row["live_commit_count"] == 0
    assert row["commits_behind_p50"] is row["commits_behind_max"] is None
    assert row["latest_commit_hash"] is row["latest_commit_age_hours"] is None
    assert row["snapshot_at"] == T


@READINGS
def test_the_flake_with_most_systems_behind_comes_first_then_name_then_id(
    reading: Reading,
) -> None:
    flakes = (flake(5, "twin"), flake(4, "twin"), flake(3, "Twin"), flake(1, "zoo"))

    rows = reading(replace(USUAL, flakes=flakes), T)

    assert [row["flake_id"] for row in rows] == [1, 3, 4, 5]


@READINGS
def test_a_fork_s_commit_of_the_same_hash_is_not_live_in_the_flake(reading: Reading) -> None:
    # The host is registered to flake 2 but runs c3 of flake 1, whose hash flake 2 has as well.
    fleet = Fleet(
        flakes=(flake(1), flake(2)),
        commits=(commit(3, at(3)), commit(4, at(4), flake_id=2, commit_hash="c3")),
        derivations=(nixos(1, 3, "/p"),),
        systems=(system(flake_id=2),),
        system_states=(state(1, "/p", at(4)),),
    )

    counts = {row["flake_id"]: row["live_commit_count"] for row in reading(fleet, T)}

    assert counts == {1: 0, 2: 0}


@READINGS
def test_a_commit_that_is_not_visible_yet_is_live_all_the_same(reading: Reading) -> None:
    fleet = replace(USUAL, commits=COMMITS[11:])

    (row,) = reading(fleet, T)

    assert row["latest_commit_hash"] is None
    assert (row["live_commit_count"], row["oldest_live_commit_hash"]) == (1, "c12")


@READINGS
def test_a_host_that_is_not_registered_counts_for_the_flake_of_its_commit(
    reading: Reading,
) -> None:
    (row,) = reading(replace(USUAL, systems=()), T)

    # f runs a path of no commit and g nothing: both belong to no flake.
    assert (row["systems_total"], row["systems_unknown"]) == (5, 0)


def test_the_pages_of_commits_are_given_where_the_forge_is_known() -> None:
    known = replace(flake(1), repo_url="git+ssh://git@github.com/acme/fleet.git")
    own = replace(flake(2), repo_url="git@git.acme.example:ops/fleet.git")
    flakes, instant = Fleet(flakes=(known, own, flake(3))), pd.Timestamp(T)
    timeline = index_fleet(fleet_tables(flakes))
    status = system_deployment_status(timeline, instant, instant)
    frame = flake_deployment_status(
        timeline, status, instant, instant, own_forges=OwnForges.read("git.acme.example=gitea")
    )
    rows = {row["flake_id"]: row for row in plain_rows(FLAKE_DEPLOYMENT_STATUS, frame)}

    assert rows[1]["commit_url_template"] == "https://github.com/acme/fleet/commit/{commit}"
    assert rows[2]["comparison_url_template"] == (
        "https://git.acme.example/ops/fleet/compare/{base}...{head}"
    )
    assert rows[3]["commit_url_template"] is rows[3]["comparison_url_template"] is None
