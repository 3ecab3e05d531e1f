"""How the page tells how far each flake's newest commits have got."""

from datetime import timedelta

import pandas as pd
import pytest

from assets.page.adoption import FlakeAdoption, newest_commits
from assets.page.flake_names import flake_names
from assets.page.links import CommitLinks
from assets.schemas import COMMIT_ROLLOUTS
from tests.report_pages import NOW, Row, adoption_of, frame

HOUR = timedelta(hours=1)


def rollout(commit_id: int, age: timedelta, **columns: object) -> Row:
    return {
        "commit_id": commit_id,
        "commit_hash": f"c{commit_id}",
        "commit_timestamp": NOW - age,
        "flake_id": 1,
        "flake_name": "core",
        "hosts_eligible": 4,
    } | columns


def adoption(rollouts: list[Row], steps: list[Row] | None = None) -> tuple[FlakeAdoption, ...]:
    frames = frame(COMMIT_ROLLOUTS, rollouts)
    curves = adoption_of(frames) if steps is None else pd.DataFrame(steps)
    return newest_commits(
        frames,
        curves,
        pd.Timestamp(NOW),
        flake_names([frames]),
        {},
        CommitLinks({}),
        flakes_limit=2,
        commits_limit=2,
    )


def test_the_newest_commits_of_the_largest_flakes_are_told() -> None:
    flakes = adoption(
        [
            rollout(1, 9 * HOUR),
            rollout(2, 5 * HOUR),
            rollout(3, 5 * HOUR),
            rollout(4, HOUR, flake_id=2, flake_name="edge", hosts_eligible=9),
            rollout(5, HOUR, flake_id=3, flake_name="none", hosts_eligible=0),
            rollout(6, HOUR, flake_id=4, flake_name="tiny", hosts_eligible=1),
        ]
    )

    assert [
        (flake.flake, flake.hosts, [commit.commit_hash for commit in flake.commits])
        for flake in flakes
    ] == [("edge", 9, ["c4"]), ("core", 4, ["c3", "c2"])]


def test_a_curve_runs_from_the_commit_through_its_steps_to_the_snapshot() -> None:
    made_at = pd.Timestamp(NOW - 10 * HOUR)
    steps = [
        {"commit_id": 1, "reached_at": made_at + after, "hosts_reached": hosts}
        for after, hosts in ((-HOUR, 1), (2 * HOUR, 3))
    ]

    ((flake,),) = [
        adoption(
            [
                rollout(
                    1,
                    10 * HOUR,
                    hosts_reached=3,
                    hosts_current=2,
                    first_deployed_at=NOW - 11 * HOUR,
                    reached_50_percent_at=NOW - 8 * HOUR,
                )
            ],
            steps,
        )
    ]
    (commit,) = flake.commits

    assert commit.curve == ((0, 0), (0, 0.25), (7_200, 0.75), (36_000, 0.75))
    assert commit.seconds_to == (0, 7_200, None, None)
    assert commit.share == pytest.approx(0.75)
    assert commit.current == 2


def test_a_curve_of_thousands_is_drawn_with_few_of_its_steps_and_both_ends() -> None:
    made_at = pd.Timestamp(NOW - 100 * HOUR)
    steps = [
        {"commit_id": 1, "reached_at": made_at + timedelta(seconds=host), "hosts_reached": host}
        for host in range(1, 5_001)
    ]

    (flake,) = adoption([rollout(1, 100 * HOUR, hosts_eligible=5_000, hosts_reached=5_000)], steps)
    curve = flake.commits[0].curve

    assert len(curve) < 100
    assert curve[1] == (1, 1 / 5_000)
    assert curve[-2:] == ((5_000, 1.0), (360_000, 1.0))
    assert list(curve) == sorted(curve)
