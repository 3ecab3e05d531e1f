"""What happens to feeds of commits, replayed on rows as the fleet's server writes them.

The rule that all of it serves: a host that is not at the head of its branch is never `up_to_date`
without a flag, where the database has any evidence of it.
"""

import os
from datetime import datetime, timedelta
from random import Random

import pandas as pd
import pytest

from assets.compute.flake_freshness import quiet_flakes
from assets.compute.flake_status import flake_deployment_status
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from tests.fleets import at, fleet_tables, plain_rows
from tests.plain_reading.rows import Fleet
from tests.plain_reading.words import Row
from tests.source_server import Repository, Server

SEEDS = 500 if os.environ.get("FLAKELAG_TEST_SCALE") == "full" else 20


def status_of(fleet: Fleet, now: datetime) -> Row:
    instant = pd.Timestamp(now)
    frame = system_deployment_status(index_fleet(fleet_tables(fleet)), instant, instant)
    [row] = plain_rows(SYSTEM_DEPLOYMENT_STATUS, frame)
    return row


def flake_of(fleet: Fleet, now: datetime) -> Row:
    instant, timeline = pd.Timestamp(now), index_fleet(fleet_tables(fleet))
    status = system_deployment_status(timeline, instant, instant)
    frame = flake_deployment_status(timeline, status, instant, instant)
    [row] = plain_rows(FLAKE_DEPLOYMENT_STATUS, frame)
    return row


def is_flagged(row: Row) -> bool:
    """Whether a reader is told that there can be something later than "latest"."""
    return row["feed_status"] in ("failing", "stale") or bool(row["commits_behind_branch"])


def test_a_head_stamped_by_the_server_hides_a_later_commit_that_git_still_counts() -> None:
    repository = Repository([("a", at(0))])
    server = Server(repository)
    server.poll(at(0, 1))
    # Pushed at 12:00, and committed on a laptop at 09:00 and 10:00.
    repository.push(("b", at(0, 9)))
    server.webhook("b", at(0, 12))
    repository.push(("c", at(0, 10)))
    server.poll(at(0, 13))

    row = status_of(server.fleet("b", at(0, 12.5)), at(0, 14))

    assert (row["deployment_status"], row["latest_commit_hash"]) == ("up_to_date", "b")
    assert row["commits_behind_branch"] == 1
    assert is_flagged(row)


def test_webhook_heads_alone_say_nothing_of_the_feed() -> None:
    server = Server(Repository(), is_third_generation=False)
    for number in range(3):
        server.webhook(f"c{number}", at(0, number))

    row = status_of(server.fleet("c2", at(0, 3)), at(0, 4))

    assert (row["deployment_status"], row["feed_status"]) == ("up_to_date", "not_recorded")
    assert row["feed_checked_at"] is None
    assert row["commits_behind_branch"] is None


def frozen(*, is_third_generation: bool) -> Server:
    """A server that polled daily for ten days, until a push was deeper than its clone."""
    repository = Repository()
    server = Server(repository, is_third_generation, depth=3)
    for day in range(10):
        repository.push((f"c{day}", at(day)))
        server.poll(at(day, 1))
    repository.push(*((f"d{number}", at(10, number)) for number in range(4)))
    for day in range(10, 60):
        server.poll(at(day, 5))
    return server


def test_a_poll_beyond_the_depth_fails_from_then_on_and_says_so() -> None:
    server = frozen(is_third_generation=True)
    now = at(59, 6)

    row = status_of(server.fleet("c9", at(9, 2)), now)
    flake = flake_of(server.fleet("c9", at(9, 2)), now)

    assert (row["deployment_status"], row["feed_status"]) == ("up_to_date", "failing")
    assert row["feed_checked_at"] == at(59, 5)
    assert flake["feed_error"] == "the last known commit is beyond the clone's depth"
    assert is_flagged(row)


def test_where_nothing_is_recorded_of_a_frozen_feed_its_silence_is_noticed() -> None:
    server = frozen(is_third_generation=False)
    now = at(59, 6)
    fleet = server.fleet("c9", at(9, 2))

    assert status_of(fleet, now)["feed_status"] == "not_recorded"
    quiet = quiet_flakes(index_fleet(fleet_tables(fleet)), pd.Timestamp(now))
    assert list(quiet["flake_name"]) == ["infra"]


@pytest.mark.parametrize(
    ("running", "status"),
    [("new", "up_to_date"), ("old", "ahead"), ("base", "behind")],
)
def test_a_force_push_with_an_older_date_makes_the_new_head_latest(
    running: str, status: str
) -> None:
    repository = Repository([("base", at(0)), ("old", at(2))])
    server = Server(repository)
    server.poll(at(2, 1))
    repository.force_push(1, ("new", at(1)))
    server.poll(at(3))

    row = status_of(server.fleet(running, at(2, 2)), at(3, 0.5))

    assert row["latest_commit_hash"] == "new"
    assert row["deployment_status"] == status
    assert row["commits_behind"] == (1 if status == "behind" else 0)
    assert row["current_commit_hash"] == running


def test_a_push_to_another_branch_is_latest_until_the_branch_is_read() -> None:
    repository = Repository([("a", at(0))])
    server = Server(repository)
    server.poll(at(0, 1))
    server.webhook("feature", at(0, 2))

    on_the_branch = status_of(server.fleet("a", at(0, 1)), at(0, 2.5))
    assert (on_the_branch["deployment_status"], on_the_branch["commits_behind"]) == ("behind", 1)
    assert on_the_branch["commits_behind_branch"] == 0

    server.last_known = "a"
    server.poll(at(0, 3))
    assert status_of(server.fleet("a", at(0, 1)), at(0, 4))["deployment_status"] == "up_to_date"
    stranger = status_of(server.fleet("feature", at(0, 2)), at(0, 4))
    assert (stranger["deployment_status"], stranger["latest_commit_hash"]) == ("ahead", "a")
    assert stranger["commits_behind_branch"] is None


@pytest.mark.parametrize(
    ("hours", "feed_status"), [(1.99, "current"), (2, "stale"), (200, "stale")]
)
def test_a_sync_that_died_is_stale_after_two_hours(hours: float, feed_status: str) -> None:
    server = Server(Repository([("a", at(0))]))
    server.poll(at(0, 1))
    server.begin_and_die(at(1))

    row = status_of(server.fleet("a", at(0, 2)), at(1, hours))

    assert (row["deployment_status"], row["feed_status"]) == ("up_to_date", feed_status)


def test_an_error_stays_one_however_often_it_is_tried() -> None:
    server = Server(Repository([("a", at(0))]))
    server.poll(at(0, 1))
    for hour in range(2, 30):
        server.fail(at(0, hour), "Host key verification failed.")

    flake = flake_of(server.fleet("a", at(0, 2)), at(0, 29, microsecond=1))

    assert flake["feed_status"] == "failing"
    assert flake["feed_error"] == "Host key verification failed."


def happen(rng: Random, server: Server, now: datetime, number: int) -> None:
    """One thing that happens to a repository or its server."""
    repository = server.repository
    committed = now - timedelta(minutes=rng.choice((0, 5, 90, 600)))
    match rng.choice(("push", "push", "force", "poll", "poll", "webhook", "fail", "die", "wait")):
        case "push":
            repository.push((f"c{number}", committed))
        case "force":
            repository.force_push(len(repository.branch) - 1, (f"f{number}", committed))
        case "poll":
            server.poll(now)
        case "webhook":
            server.webhook(repository.head, now)
        case "fail":
            server.fail(now)
        case "die":
            server.begin_and_die(now)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_up_to_date_is_true_flagged_or_of_a_branch_that_was_read_lately(seed: int) -> None:
    """The head of the branch at the last reading is the most that a database can know."""
    rng = Random(seed)
    server = Server(Repository([("first", at(0))]), depth=4)
    server.poll(at(0))
    head_read, read_at = server.repository.head, at(0)
    now = at(0)
    for number in range(15):
        now += timedelta(minutes=rng.choice((1, 10, 45, 130)))
        happen(rng, server, now, number)
        if server.flake.sync_status == "synced" and server.flake.last_sync_at == now:
            head_read, read_at = server.repository.head, now
        known = [each.git_commit_hash for each in server.commits]
        asked_at = now + timedelta(seconds=1)
        row = status_of(server.fleet(rng.choice(known), now), asked_at)
        if row["deployment_status"] != "up_to_date" or is_flagged(row):
            continue
        heard = {c.git_commit_hash for c in server.commits if c.commit_timestamp > read_at}
        assert row["current_commit_hash"] in {head_read, *heard}
        assert server.flake.last_sync_at is not None
        assert asked_at - server.flake.last_sync_at < timedelta(hours=2)
