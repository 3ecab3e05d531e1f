"""Whose turn it is with each system that is behind, and how the page words why."""

from datetime import timedelta

import pytest

from assets.compute.vocabulary import BEHIND_REASONS
from assets.page.actors import ACTORS, REASONS, turns
from assets.page.flake_names import flake_names
from assets.page.links import CommitLinks
from assets.page.triage import needing_attention
from tests.report_pages import NOW, behind, status_frame, triage_order, unknown, up_to_date

# The contract's table.
WHO_ACTS = {
    "nothing_to_deploy": "nobody",
    "silent": "host_owner",
    "pinned": "nobody",
    "not_applied": "operator",
    "awaiting_release": "release",
    "rolling_out": "nobody",
    "not_cached": "cache",
    "evaluation_failed": "author",
    "not_evaluated": "evaluator",
    "build_failed": "author",
    "not_built": "builders",
    "not_in_flake": "registration_owner",
    "not_known": "not_known",
}


@pytest.mark.parametrize("reason", BEHIND_REASONS)
def test_each_reason_has_its_words_and_who_acts(reason: str) -> None:
    (turn,) = turns(status_frame(behind("web", behind_reason=reason)), 5)

    assert turn.actor == WHO_ACTS[reason]
    assert turn.reasons == ((REASONS[reason], 1),)
    assert turn.actor in ACTORS


def test_groups_say_how_many_how_far_how_long_and_name_the_first() -> None:
    status = status_frame(
        unknown("stray"),
        behind("a", 9, behind_reason="build_failed", hours_behind=10.0),
        behind("b", 8, behind_reason="rolling_out"),
        behind("c", 7, behind_reason="build_failed", hours_behind=30.0),
        behind("d", 6, behind_reason="evaluation_failed"),
        behind("e", 5, behind_reason="pinned"),
        behind("f", 4, behind_reason="pinned"),
        behind("g", 3, behind_reason="nothing_to_deploy"),
        behind("h", 2, behind_reason="not_known"),
        behind("i", 1, behind_reason="not_cached"),
        up_to_date("fine"),
    )

    author, cache, not_known, nobody = turns(status, 2)

    assert (author.actor, author.systems, author.first) == ("author", 3, ("a", "c"))
    assert author.reasons == ((REASONS["build_failed"], 2), (REASONS["evaluation_failed"], 1))
    assert author.most_commits_behind == 9
    assert author.longest_wait_seconds == timedelta(days=6).total_seconds()
    assert cache.actor == "cache"
    # Whoever need not act comes last, however many systems there are.
    assert (not_known.actor, nobody.actor, nobody.systems) == ("not_known", "nobody", 4)


def test_where_no_reason_is_recorded_nobody_is_named() -> None:
    assert turns(status_frame(behind("a"), behind("b")), 5) == ()
    assert turns(status_frame(up_to_date("a")), 5) == ()


def test_the_first_of_each_group_are_among_the_listed_systems() -> None:
    rows = [
        behind(f"{reason}-{number}", 400 - 30 * place - number, behind_reason=reason)
        for place, reason in enumerate(BEHIND_REASONS)
        for number in range(25)
    ]
    status = status_frame(*sorted(rows, key=triage_order))

    listed = needing_attention(status, flake_names([status]), CommitLinks({}), limit=100)

    hostnames = {row.hostname for row in listed.rows}
    assert len(hostnames) == 100
    for turn in turns(status, 5):
        assert set(turn.first) <= hostnames


@pytest.mark.parametrize("reason", BEHIND_REASONS)
def test_a_known_reason_takes_the_place_of_the_guess(reason: str) -> None:
    row = behind("web", 12, behind_reason=reason, commits_behind_deployable=0)
    status = status_frame(row)

    (listed,) = needing_attention(status, flake_names([status]), CommitLinks({}), 5).rows

    assert listed.note == REASONS[reason]


def test_the_note_says_how_much_of_it_and_when_it_was_last_seen() -> None:
    status = status_frame(
        unknown("stray", liveness="missing", last_seen_at=NOW - timedelta(hours=3)),
        behind(
            "web",
            12,
            behind_reason="silent",
            commits_behind_effective=4,
            commits_behind_deployable=10,
            liveness="silent",
            last_seen_at=NOW - timedelta(days=9),
        ),
        behind("new", 1, behind_reason="not_built", liveness="alive", last_seen_at=NOW),
    )

    notes = [
        row.note.replace("\xa0", " ")
        for row in needing_attention(status, flake_names([status]), CommitLinks({}), 5).rows
    ]

    assert notes == [
        "Last seen 3 h ago",
        f"Of these, 4 change it and 10 are built. {REASONS['silent']}. Last seen 9 days ago",
        REASONS["not_built"],
    ]
