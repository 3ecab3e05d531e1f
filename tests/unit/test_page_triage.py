"""Which systems the page lists as needing attention, and what it says about each."""

from datetime import timedelta

import pytest

from assets.page.flake_names import flake_names
from assets.page.links import CommitLinks
from assets.page.overview import count_statuses, flakes_without_systems, lagging_flakes
from assets.page.triage import AttentionRow, needing_attention
from tests.report_pages import (
    NOW,
    Row,
    behind,
    flake_status_of,
    no_deployment,
    status_frame,
    unknown,
    up_to_date,
)

NO_LINKS = CommitLinks({})


def attention_rows(*rows: Row, limit: int = 100) -> list[AttentionRow]:
    status = status_frame(*rows)
    return list(needing_attention(status, flake_names([status]), NO_LINKS, limit).rows)


def test_only_systems_that_need_attention_are_listed_and_in_triage_order() -> None:
    rows = attention_rows(
        no_deployment("new"),
        unknown("stray"),
        behind("late", 9),
        behind("later", 2),
        up_to_date("fine"),
    )

    assert [row.hostname for row in rows] == ["new", "stray", "late", "later"]


def test_beyond_the_limit_every_flake_and_status_gives_its_most_urgent_in_turn() -> None:
    large = [behind(f"large-{commits:03}", commits, flake_id=1) for commits in range(200, 100, -1)]
    small = [behind(f"small-{commits}", commits, flake_id=2) for commits in (5, 4)]
    status = status_frame(
        no_deployment("new-1", flake_id=1),
        no_deployment("new-2", flake_id=None, flake_name=None),
        *large,
        *small,
    )

    attention = needing_attention(status, flake_names([status]), NO_LINKS, limit=6)

    assert attention.total == 104
    assert [row.hostname for row in attention.rows] == [
        "new-1",
        "new-2",
        "large-200",
        "large-199",
        "small-5",
        "small-4",
    ]
    assert [flake for flake, _ in attention.flakes] == [1, 2, None]


@pytest.mark.parametrize(
    ("row", "why", "note"),
    [
        (no_deployment("web"), "System registered but never deployed", ""),
        (
            no_deployment("web", latest_deployable_commit_hash="c1"),
            "System registered but never deployed",
            "A commit is built and ready to deploy",
        ),
        (unknown("web"), "Deployed path is not in derivations", ""),
        (behind("web", 1, hours_behind=5.0), "By 1 commit, for 5 h", ""),
        (
            behind("web", 12, commits_behind_deployable=0, commits_behind_effective=0),
            "By 12 commits, for 12 days",
            "None of them is built for it: nothing to deploy yet",
        ),
        (
            behind("web", 12, commits_behind_deployable=3, commits_behind_effective=0),
            "By 12 commits, for 12 days",
            "Deploying would change nothing on it",
        ),
        (
            behind("web", 12, commits_behind_deployable=10, commits_behind_effective=4),
            "By 12 commits, for 12 days",
            "Of these, 4 change it and 10 are built",
        ),
        (
            behind("web", 12, commits_behind_deployable=12, commits_behind_effective=12),
            "By 12 commits, for 12 days",
            "",
        ),
    ],
)
def test_why_a_system_needs_attention(row: Row, why: str, note: str) -> None:
    (listed,) = attention_rows(row)

    assert listed.why.replace("\xa0", " ") == why
    assert listed.note == note


def test_a_system_of_another_flake_says_which() -> None:
    (listed,) = attention_rows(
        unknown(
            "web", unknown_reason="flake_mismatch", current_flake_name="edge", is_registered=True
        )
    )

    assert listed.other_flake == "edge"


def test_statuses_are_counted_with_their_change() -> None:
    status = status_frame(unknown("a"), behind("b"), up_to_date("c"), up_to_date("d"))
    yesterday = status_frame(behind("a"), behind("b"), up_to_date("c"))

    counts = count_statuses(status, yesterday)

    assert [(each.status, each.systems, each.share, each.change) for each in counts] == [
        ("no_deployment", 0, 0.0, 0),
        ("unknown", 1, 0.25, 1),
        ("behind", 1, 0.25, -1),
        ("up_to_date", 2, 0.5, 1),
        ("ahead", 0, 0.0, 0),
    ]
    assert {each.change for each in count_statuses(status, None)} == {None}


def test_flakes_keep_the_order_of_the_dataset_and_say_how_far_they_lag() -> None:
    status = status_frame(
        unknown("a", flake_id=2, flake_name="edge"),
        behind("b", 8),
        behind("c", 4),
        up_to_date("d"),
    )
    flake_status = flake_status_of(status)

    core, edge = lagging_flakes(flake_status, None, flake_names([flake_status]), NO_LINKS, limit=10)

    assert (core.flake, core.systems) == ("core", 3)
    assert core.up_to_date_share == pytest.approx(1 / 3)
    assert core.commits_behind == pytest.approx((4, 7.2, 8))
    assert core.latest_commit_age_seconds == 5 * 3600
    assert core.oldest_live_age_seconds == timedelta(days=40).total_seconds()
    assert (edge.flake, edge.commits_behind) == ("edge", None)
    names = flake_names([flake_status])
    assert len(lagging_flakes(flake_status, None, names, NO_LINKS, limit=1)) == 1
    assert flake_status["snapshot_at"].iloc[0] == NOW


def test_flakes_that_nobody_deploys_are_named() -> None:
    flake_status = flake_status_of(
        status_frame(
            up_to_date("a"),
            up_to_date("b", flake_id=2, flake_name="kiosk"),
            up_to_date("c", flake_id=3, flake_name="signage"),
        )
    )
    flake_status.loc[flake_status["flake_id"] > 1, "systems_total"] = 0
    names = flake_names([flake_status])

    assert flakes_without_systems(flake_status, names, limit=10) == (["kiosk", "signage"], 2)
    assert flakes_without_systems(flake_status, names, limit=1) == (["kiosk"], 2)
