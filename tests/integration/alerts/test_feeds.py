"""Alerts of flakes whose repository is no longer read, from published snapshots."""

import datetime as dt
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from assets.schemas import FLAKE_DEPLOYMENT_STATUS
from pipelines.alerts.delivery import DeliveryError
from tests.integration.alerts.support import Tick
from tests.integration.alerts.webhook_server import Answer, WebhookServer
from tests.snapshots import SNAPSHOT_AT, flake_row, publish_rows

DAY = SNAPSHOT_AT.date().isoformat()
_INSTANTS = itertools.count(1_000_000_000, 1_000_000_000)


def publish(reports_dir: Path, *rows: dict[str, Any]) -> None:
    file = publish_rows(reports_dir, FLAKE_DEPLOYMENT_STATUS, DAY, *rows)
    instant = next(_INSTANTS)
    os.utime(file, ns=(instant, instant))


def feed(status: str, *, hours: float = 0.1, error: str | None = None) -> dict[str, Any]:
    return flake_row(
        systems_total=3,
        feed_status=status,
        feed_checked_at=SNAPSHOT_AT - dt.timedelta(hours=hours),
        feed_error=error,
    )


def alerts(webhook: WebhookServer) -> list[dict[str, Any]]:
    return [
        condition
        for request in webhook.received
        for condition in request.body["alert"]["conditions"]
    ]


def test_a_feed_is_alerted_of_once_until_it_is_read_again(
    tick_feeds: Tick, webhook: WebhookServer, reports_dir: Path
) -> None:
    snapshots = [
        feed("current"),
        feed("failing", error="could not read from remote repository"),
        feed("failing", hours=30, error="could not read from remote repository"),
        # An attempt has begun, and its predecessor's error still stands there.
        feed("current", error="could not read from remote repository"),
        feed("stale", hours=3),
        feed("current"),
        feed("stale", hours=72),
    ]
    for snapshot in snapshots:
        publish(reports_dir, snapshot)
        tick_feeds()
        assert tick_feeds() == "Nothing new."

    told = [(each["feed_status"], each["feed_error"]) for each in alerts(webhook)]
    assert told == [("failing", "could not read from remote repository"), ("stale", None)]


def test_an_alert_says_since_when_why_and_for_how_many_systems(
    tick_feeds: Tick, webhook: WebhookServer, reports_dir: Path
) -> None:
    publish(reports_dir, feed("failing", hours=72, error="Host key verification failed."))
    tick_feeds()

    [request] = webhook.received
    assert request.body["text"] == (
        "flakelag: Flake `infra` is known as of 3d 0h ago or earlier: last read failed, so its 3 "
        "systems can be behind without a sign of it: Host key verification failed."
    )
    [condition] = request.body["alert"]["conditions"]
    assert condition["kind"] == "feed_not_current"
    assert condition["feed_checked_at"] == "2026-11-20T09:00:00.000000Z"


def test_a_feed_of_which_nothing_is_recorded_is_no_news(
    tick_feeds: Tick, webhook: WebhookServer, reports_dir: Path
) -> None:
    publish(reports_dir, flake_row(feed_status="not_recorded"), flake_row(2))
    assert tick_feeds() == "Nothing new."
    assert webhook.received == []


def test_an_alert_that_did_not_arrive_is_sent_again_and_forgotten_when_it_has_passed(
    tick_feeds: Tick, webhook: WebhookServer, reports_dir: Path
) -> None:
    webhook.answers.extend([Answer(503)] * 9)
    publish(reports_dir, feed("stale", hours=3))
    with pytest.raises(DeliveryError):
        tick_feeds()
    publish(reports_dir, feed("current"))
    tick_feeds()
    webhook.answers.clear()
    publish(reports_dir, feed("stale", hours=4))
    tick_feeds()

    assert [each["feed_status"] for each in alerts(webhook)][-1] == "stale"


def test_what_others_wrote_is_shown_as_text_and_bounded(
    tick_feeds: Tick, webhook: WebhookServer, reports_dir: Path
) -> None:
    row = feed("failing", error="<!channel> \x1b[2J " + "x" * 300) | {"flake_name": "y" * 100_000}
    publish(reports_dir, row)
    tick_feeds()

    [request] = webhook.received
    assert "<!channel>" not in request.body["text"]
    assert "\x1b" not in request.body["text"]
    assert len(request.body["text"]) < 2_000
