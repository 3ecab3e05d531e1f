"""How the page words what is known of feeds, and what speaks against "up to date"."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from assets.page.doubts import Doubts, doubts_about
from assets.page.evidence import inferred_quiet, old_readings
from assets.page.flake_names import flake_names
from assets.page.overview import count_statuses
from assets.schemas import FLAKE_DEPLOYMENT_STATUS
from tests.report_pages import NOW, Row, behind, frame, status_frame, up_to_date


def flake(feed_status: str | None, **columns: Any) -> Row:
    return {
        "flake_id": 1,
        "flake_name": "core",
        "feed_status": feed_status,
        "feed_checked_at": NOW - timedelta(hours=5),
    } | columns


def flakes(*rows: Row) -> pd.DataFrame:
    return frame(FLAKE_DEPLOYMENT_STATUS, rows)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (flake("failing"), "as of 5 h ago or earlier: last read failed"),
        (
            flake("failing", feed_checked_at=NOW - timedelta(days=3)),
            "as of 3 days ago or earlier: last read failed",
        ),
        (
            flake("failing", feed_checked_at=None),
            "as of an unknown time ago or earlier: last read failed",
        ),
        # On a day just closed the last attempt can be later than the instant described.
        (
            flake("failing", feed_checked_at=NOW + timedelta(minutes=5)),
            "as of 0 s ago or earlier: last read failed",
        ),
        (flake("stale"), "as of 5 h ago: not read since"),
    ],
)
def test_a_feed_that_is_not_current_says_as_of_when_and_why(row: Row, words: str) -> None:
    (reading,) = old_readings(flakes(row)).values()

    assert str(reading).replace("\xa0", " ") == words


@pytest.mark.parametrize("feed_status", ["current", "not_recorded", None])
def test_other_feeds_are_not_called_old(feed_status: str | None) -> None:
    assert old_readings(flakes(flake(feed_status))) == {}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("fatal:  could not\nread", "fatal: could not read"),
        ("\u202e" * 300, "\\u202e" * 33 + "\\…"),
        ("  ", None),
        (None, None),
    ],
)
def test_the_server_s_error_is_shown_on_one_line_bounded_and_escaped(
    error: str | None, shown: str | None
) -> None:
    (reading,) = old_readings(flakes(flake("failing", feed_error=error))).values()

    assert reading.error == shown


@pytest.mark.parametrize(
    ("feed_status", "is_inferred"),
    [
        (None, True),
        ("not_recorded", True),
        ("current", False),
        ("stale", False),
        ("failing", False),
    ],
)
def test_a_quiet_flake_is_inferred_only_where_nothing_is_recorded(
    feed_status: str | None, is_inferred: bool
) -> None:
    quiet = pd.DataFrame([{"flake_id": 1, "age_hours": 400.0, "usual_gap_hours": 30.0}])

    words = inferred_quiet(flakes(flake(feed_status)), quiet)

    assert words == (
        {
            1: "Only inferred: newest commit unusually old for its rhythm "
            "(17\xa0days; usually one within 30\xa0h)"
        }
        if is_inferred
        else {}
    )


def doubts(*rows: Row, flakes_limit: int = 10, systems_limit: int = 10) -> Doubts:
    status = status_frame(*rows)
    readings = old_readings(flakes(flake("failing"), flake("stale", flake_id=2)))
    return doubts_about(
        status,
        readings,
        flake_names([status]),
        flakes_limit=flakes_limit,
        systems_limit=systems_limit,
    )


def test_only_current_systems_of_a_feed_that_is_not_current_are_of_an_old_reading() -> None:
    rows = [
        behind("late", feed_status="failing"),
        up_to_date("a", feed_status="failing"),
        up_to_date("b", feed_status="stale", flake_id=2, flake_name="edge"),
        up_to_date("c", feed_status="stale", flake_id=2, flake_name="edge"),
        up_to_date("d", feed_status="current"),
        up_to_date("e", feed_status="not_recorded"),
        up_to_date("f"),
        up_to_date("g", feed_status="stale", flake_id=2, flake_name="edge")
        | {"deployment_status": "ahead"},
    ]

    counts = {
        each.status: each.of_old_reading for each in count_statuses(status_frame(*rows), None)
    }
    found = doubts(*rows)

    assert counts == {"no_deployment": 0, "unknown": 0, "behind": 0, "up_to_date": 3, "ahead": 1}
    assert found.readings_total == 4
    assert [(label, systems) for label, systems, _ in found.readings] == [("edge", 3), ("core", 1)]
    assert len(doubts(*rows, flakes_limit=1).readings) == 1
    assert doubts(*rows, flakes_limit=1).readings_flakes == 2


def test_a_current_system_that_is_long_unseen_says_since_when() -> None:
    rows = [
        up_to_date(name, liveness=name, last_seen_at=NOW - seen)
        for name, seen in {
            "alive": timedelta(minutes=1),
            "late": timedelta(minutes=50),
            "missing": timedelta(hours=2),
            "silent": timedelta(days=9),
            "not_recorded": timedelta(days=30),
        }.items()
    ]
    rows.append(behind("off", liveness="silent", last_seen_at=NOW - timedelta(days=2)))

    found = doubts(*rows, systems_limit=1)

    assert found.unseen_total == 2
    assert [(each.hostname, each.doubt.replace("\xa0", " ")) for each in found.unseen] == [
        ("silent", "last seen 9 days ago")
    ]


def test_git_s_count_against_up_to_date_is_told() -> None:
    found = doubts(
        behind("late", commits_behind_branch=9),
        up_to_date("a", commits_behind_branch=0),
        up_to_date("b", commits_behind_branch=1),
        up_to_date("c", commits_behind_branch=4),
        up_to_date("d"),
    )

    assert found.contradicted_total == 2
    assert [(each.hostname, each.doubt.replace("\xa0", " ")) for each in found.contradicted] == [
        ("c", "git counts 4 newer commits on the branch"),
        ("b", "git counts 1 newer commit on the branch"),
    ]


def test_nothing_is_in_doubt_where_nothing_speaks_against_it() -> None:
    assert not doubts(
        up_to_date("a", feed_status="current", liveness="alive", commits_behind_branch=0),
        behind("b", feed_status="failing", liveness="silent", commits_behind_branch=4),
    ).any
