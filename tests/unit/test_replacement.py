"""Which version of a partition stays: the newer, and of a closed day the one that knows more."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.publishing.conformity import to_arrow
from assets.publishing.replacement import Outcome, Version, decide_publication, find_loss
from assets.schemas import (
    DEPLOYMENT_VELOCITY,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_DEPLOYMENT_STATUS,
)
from assets.schemas.dictionary import Dataset, count, identifier, instant, text
from tests.fleets import fleet_tables
from tests.plain_reading.rows import Fleet
from tests.unit.status_cases import USUAL, T, usual

END_OF_DAY = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
NEXT_MORNING = END_OF_DAY + dt.timedelta(hours=8)
MUCH_LATER = END_OF_DAY + dt.timedelta(days=90)

STATUS = Dataset(
    name="status",
    grain="one row a host",
    description="What a host was known to run.",
    key=("hostname", "flake_id"),
    order_by="hostname",
    columns=(
        text("hostname", "The host."),
        identifier("flake_id", "Its flake."),
        text("commit", "What it ran.", nullable=True),
        instant("reported_at", "When it said so.", nullable=True),
        text("reason", "Why it is unknown.", nullable=True, allowed=("lost",)),
        count("behind", "commits", "By how many.", nullable=True),
        count("reports", "reports", "How many there were."),
        instant("extracted_at", "When it was read."),
    ),
    record_counts=("reports",),
)

WEB = {
    "hostname": "web",
    "flake_id": 1,
    "commit": "abc",
    "reported_at": END_OF_DAY,
    "reason": None,
    "behind": 3,
    "reports": 5,
}
DATABASE = WEB | {"hostname": "database", "commit": None, "reports": 7}


def rows(*hosts: dict[str, Any], extracted_at: dt.datetime = NEXT_MORNING) -> pa.Table:
    stamped = [host | {"extracted_at": extracted_at} for host in hosts]
    return pa.Table.from_pylist(stamped, STATUS.arrow_schema)


def version(
    *hosts: dict[str, Any],
    snapshot_at: dt.datetime = END_OF_DAY,
    extracted_at: dt.datetime = NEXT_MORNING,
) -> Version:
    return Version(rows(*hosts, extracted_at=extracted_at), snapshot_at, extracted_at)


def outcome(published: Version | None, candidate: Version) -> Outcome:
    return decide_publication(STATUS, published, candidate).outcome


def test_a_day_without_a_version_gets_one() -> None:
    assert outcome(None, version(WEB)) is Outcome.PUBLISHED


def test_an_older_extract_never_replaces_a_newer_one() -> None:
    richer = version(WEB, DATABASE, extracted_at=NEXT_MORNING)

    decision = decide_publication(STATUS, version(WEB, extracted_at=MUCH_LATER), richer)

    assert decision.outcome is Outcome.KEPT_NEWER
    assert decision.reason == (
        "What is published was read at 2027-02-21 00:00:00 UTC, this run's 2026-11-23 08:00:00."
    )


def test_an_earlier_instant_never_replaces_a_later_one() -> None:
    before_the_end = version(
        WEB, DATABASE, snapshot_at=END_OF_DAY - dt.timedelta(hours=1), extracted_at=MUCH_LATER
    )

    assert outcome(version(WEB), before_the_end) is Outcome.KEPT_NEWER


def test_today_moves_on_whatever_has_gone() -> None:
    morning = END_OF_DAY - dt.timedelta(hours=12)
    noon = END_OF_DAY - dt.timedelta(hours=11)
    published = version(WEB, DATABASE, snapshot_at=morning, extracted_at=morning)

    assert outcome(published, version(WEB, snapshot_at=noon, extracted_at=noon)) is (
        Outcome.PUBLISHED
    )


def test_the_day_is_closed_over_its_last_live_version() -> None:
    evening = END_OF_DAY - dt.timedelta(minutes=15)
    published = version(WEB, DATABASE, snapshot_at=evening, extracted_at=evening)

    assert outcome(published, version(WEB)) is Outcome.PUBLISHED


def test_the_same_rows_read_again_keep_the_file() -> None:
    assert outcome(version(WEB), version(WEB)) is Outcome.KEPT_UNCHANGED
    assert outcome(version(WEB), version(WEB, extracted_at=MUCH_LATER)) is Outcome.KEPT_UNCHANGED


def test_a_closed_day_takes_more_and_other_values() -> None:
    more = version(WEB, DATABASE | {"commit": "def"}, extracted_at=MUCH_LATER)
    other = version(WEB | {"commit": "def", "reports": 6, "behind": None, "reason": "lost"})

    assert outcome(version(WEB), more) is Outcome.PUBLISHED
    assert outcome(version(WEB), other) is Outcome.PUBLISHED


@pytest.mark.parametrize(
    ("candidate", "loss"),
    [
        pytest.param(
            rows(DATABASE),
            "the row is gone in 1 row, the first hostname=web, flake_id=1",
            id="a row",
        ),
        pytest.param(
            rows(),
            "the row is gone in 2 rows, the first hostname=database, flake_id=1",
            id="all rows",
        ),
        pytest.param(
            rows(WEB | {"flake_id": 2}, DATABASE),
            "the row is gone in 1 row, the first hostname=web, flake_id=1",
            id="another key",
        ),
        pytest.param(
            rows(WEB | {"commit": None}, DATABASE | {"commit": "def"}),
            "commit is gone in 1 row, the first hostname=web, flake_id=1",
            id="a value, even where another was found",
        ),
        pytest.param(
            rows(WEB | {"reported_at": None}, DATABASE | {"reported_at": None}),
            "reported_at is gone in 2 rows, the first hostname=database, flake_id=1",
            id="an instant",
        ),
        pytest.param(
            rows(WEB | {"reports": 4}, DATABASE),
            "reports is lower in 1 row, the first hostname=web, flake_id=1",
            id="counted records",
        ),
    ],
)
def test_a_closed_day_keeps_what_the_source_has_lost_since(candidate: pa.Table, loss: str) -> None:
    published = version(WEB, DATABASE)

    decision = decide_publication(
        STATUS, published, Version(candidate, END_OF_DAY, published.extracted_at)
    )

    assert decision.outcome is Outcome.KEPT_RICHER
    assert decision.reason == (
        f"This run has less than was published when the day was closed: {loss}. To publish it all "
        "the same, delete the published file and run the day again."
    )


def test_what_one_row_gains_does_not_make_up_for_what_another_lost() -> None:
    moved = rows(WEB | {"reports": 2}, DATABASE | {"reports": 10})

    assert find_loss(STATUS, rows(WEB, DATABASE), moved) is not None


def test_records_may_be_added() -> None:
    more = rows(WEB | {"reports": 6}, DATABASE | {"reports": 10})

    assert find_loss(STATUS, rows(WEB, DATABASE), more) is None


def test_the_order_of_rows_is_no_loss() -> None:
    assert find_loss(STATUS, rows(WEB, DATABASE), rows(DATABASE, WEB)) is None


def test_a_version_of_an_older_release_is_judged_by_what_both_know() -> None:
    of_older_release = rows(WEB, DATABASE).drop_columns(["commit", "reports", "extracted_at"])
    keyed_otherwise = rows(WEB, DATABASE).drop_columns(["flake_id"])

    assert find_loss(STATUS, of_older_release, rows(WEB | {"commit": None}, DATABASE)) is None
    assert find_loss(STATUS, of_older_release, rows(WEB)) is not None
    assert find_loss(STATUS, keyed_otherwise, rows(WEB)) is None
    assert outcome(Version(of_older_release, END_OF_DAY, NEXT_MORNING), version(WEB, DATABASE)) is (
        Outcome.PUBLISHED
    )


def test_what_counts_as_evidence_follows_from_the_columns() -> None:
    assert STATUS.evidence_columns == ["commit", "reported_at"]
    assert {"last_reported_at", "current_commit_hash", "environment", "flake_id"} <= set(
        SYSTEM_DEPLOYMENT_STATUS.evidence_columns
    )
    assert not {"unknown_reason", "hours_behind", "commits_behind"} & set(
        SYSTEM_DEPLOYMENT_STATUS.evidence_columns
    )
    assert {"commit_id", "previous_commit_id"} <= set(DEPLOYMENTS.evidence_columns)
    assert "latest_commit_hash" in FLAKE_DEPLOYMENT_STATUS.evidence_columns


def test_a_measure_that_only_a_first_reading_has_stays() -> None:
    dataset = replace(STATUS, known_at_reading=("behind",))
    later = rows(WEB | {"behind": None})

    assert find_loss(dataset, rows(WEB), later) == (
        "behind is gone in 1 row, the first hostname=web, flake_id=1"
    )
    assert find_loss(dataset, later, rows(WEB)) is None
    assert find_loss(dataset, rows(WEB), rows(WEB | {"behind": 2})) is None


def test_the_shares_that_heartbeats_show_are_known_at_first_alone() -> None:
    shares = [name for name in DEPLOYMENT_VELOCITY.column_names if name.endswith("_share")]
    seen = [name for name in shares if name.startswith("seen_")]

    assert seen == [f"seen_{name}" for name in shares if name not in seen]
    assert set(seen) == set(DEPLOYMENT_VELOCITY.known_at_reading)
    assert not set(shares) & set(DEPLOYMENT_VELOCITY.evidence_columns)


def test_null_in_a_key_is_a_value_like_any_other() -> None:
    dataset = replace(STATUS, key=("hostname", "commit"))
    both = (WEB, WEB | {"commit": None}, WEB | {"commit": ""})

    assert find_loss(dataset, rows(*both), rows(*both)) is None
    for gone in both:
        assert find_loss(dataset, rows(*both), rows(*(row for row in both if row != gone)))


def test_a_key_of_instants_is_compared_like_any_other() -> None:
    dataset = replace(STATUS, key=("reported_at", "hostname"))

    assert find_loss(dataset, rows(WEB), rows(WEB)) is None
    later = WEB | {"reported_at": END_OF_DAY + dt.timedelta(microseconds=1)}
    assert find_loss(dataset, rows(WEB), rows(later)) == (
        "the row is gone in 1 row, the first reported_at=2026-11-23 00:00:00+00:00, hostname=web"
    )


def closed_day(extracted_at: dt.datetime, fleet: Fleet) -> dict[str, Version]:
    """Both status datasets of the day that ended at `at(5)`, as a reading gives them."""
    timeline = index_fleet(fleet_tables(fleet))
    stamps = (pd.Timestamp(T), pd.Timestamp(extracted_at))
    status = system_deployment_status(timeline, *stamps)
    flakes = flake_deployment_status(timeline, status, *stamps)
    frames = {SYSTEM_DEPLOYMENT_STATUS: status, FLAKE_DEPLOYMENT_STATUS: flakes}
    return {
        dataset.name: Version(to_arrow(dataset, frame), T, extracted_at)
        for dataset, frame in frames.items()
    }


@pytest.mark.parametrize(
    ("dataset", "what"),
    [
        (SYSTEM_DEPLOYMENT_STATUS, "last_seen_at is gone"),
        (FLAKE_DEPLOYMENT_STATUS, "feed_status is gone"),
    ],
    ids=["systems", "flakes"],
)
def test_a_closed_day_keeps_what_was_only_known_then(dataset: Dataset, what: str) -> None:
    # An error without a date: no instant and no text tells that it was known.
    fleet = usual(flakes=(replace(USUAL.flakes[0], sync_status="error"),))
    minute, hours = T + dt.timedelta(minutes=1), T + dt.timedelta(hours=2)
    closed, filled_in = (closed_day(each, fleet)[dataset.name] for each in (minute, hours))

    decision = decide_publication(dataset, closed, filled_in)

    assert decision.outcome is Outcome.KEPT_RICHER
    assert what in decision.reason
    # The other way round, and where nothing was known, nothing is lost.
    assert find_loss(dataset, filled_in.table, closed.table) is None
    assert find_loss(dataset, filled_in.table, filled_in.table) is None


def test_a_closed_day_keeps_the_counts_of_reasons_where_no_feed_is_recorded() -> None:
    minute, hours = T + dt.timedelta(minutes=1), T + dt.timedelta(hours=2)
    closed, filled_in = (
        closed_day(each, USUAL)[FLAKE_DEPLOYMENT_STATUS.name].table for each in (minute, hours)
    )

    loss = find_loss(FLAKE_DEPLOYMENT_STATUS, closed, filled_in)

    assert loss is not None
    assert "systems_behind_nothing_to_deploy is gone" in loss
