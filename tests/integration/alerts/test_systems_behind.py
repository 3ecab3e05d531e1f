"""Alerts of systems that are newly far behind, from published snapshots."""

import itertools
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.alerts.delivery import DeliveryError
from pipelines.alerts.messages import MAX_DETAILS, MAX_LINES
from pipelines.sensors import NO_WEBHOOK
from tests.integration.alerts.support import Configured, Tick
from tests.integration.alerts.webhook_server import Answer, WebhookServer
from tests.snapshots import publish_status, status_row

_INSTANTS = itertools.count(1_000_000_000, 1_000_000_000)


def publish(reports_dir: Path, day: str, *rows: dict[str, Any]) -> None:
    file = publish_status(reports_dir, day, *rows)
    # Two snapshots are minutes apart; two of a test may share the clock's tick.
    instant = next(_INSTANTS)
    os.utime(file, ns=(instant, instant))


def lagging(hostname: str, commits: int, hours: float) -> dict[str, Any]:
    return status_row(
        hostname, deployment_status="behind", commits_behind=commits, hours_behind=hours
    )


class TestSystemsBehind:
    def test_a_system_is_alerted_of_once_until_it_has_caught_up(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        snapshots = [
            [lagging("web-1", 21, 5.0), lagging("web-2", 3, 5.0)],
            [lagging("web-1", 22, 6.0), lagging("web-2", 3, 169.0)],
            [status_row("web-1"), lagging("web-2", 3, 170.0)],
            [lagging("web-1", 30, 1.0), lagging("web-2", 3, 171.0)],
        ]
        for snapshot in snapshots:
            publish(reports_dir, "2026-11-23", *snapshot)
            tick_systems()
            assert tick_systems() == "Nothing new."

        hosts = [
            [condition["hostname"] for condition in request.body["alert"]["conditions"]]
            for request in webhook.received
        ]
        assert hosts == [["web-1"], ["web-2"], ["web-1"]]

    def test_the_newest_day_counts(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        publish(reports_dir, "2026-11-23", status_row("web-1"))
        publish(reports_dir, "2026-11-22", lagging("web-1", 99, 999.0))

        tick_systems()

        assert webhook.received == []

    def test_a_threshold_that_is_lowered_is_looked_at_anew(
        self,
        tick_systems: Tick,
        webhook: WebhookServer,
        reports_dir: Path,
        configured: Configured,
    ) -> None:
        publish(reports_dir, "2026-11-23", lagging("web-1", 10, 5.0))
        tick_systems()
        configured.change(alert_commits_behind=5)
        tick_systems()

        assert len(webhook.received) == 1

    def test_before_anything_is_published_there_is_nothing_to_tell(
        self, tick_systems: Tick, webhook: WebhookServer
    ) -> None:
        assert "No system_deployment_status is published" in tick_systems()
        assert webhook.received == []

    def test_the_first_look_at_a_fleet_is_one_summary_that_calls_nothing_new(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        systems = [lagging(f"web-{number}", 21 + number, 5.0) for number in range(100)]
        publish(reports_dir, "2026-11-23", *systems, *map(status_row, "abc"))
        webhook.answers.extend([Answer(503)] * 3)

        with pytest.raises(DeliveryError):
            tick_systems()
        publish(reports_dir, "2026-11-23", *systems[1:], *map(status_row, "abcd"))
        tick_systems()
        publish(reports_dir, "2026-11-23", *systems, *map(status_row, "abc"))
        tick_systems()

        [*_, first, later] = webhook.received
        lines = first.body["text"].split("\n")
        assert lines[0] == (
            "flakelag: 99 of 103 systems are behind by more than 20 commits or 7d 0h. From now on, "
            "alerts name those that become so. The furthest behind:"
        )
        assert lines[1].startswith("• `web-99` (flake `infra`) is 120 commits")
        assert len(lines) == 1 + MAX_LINES + 1
        assert first.body["alert"]["heading"] == lines[0].removeprefix("flakelag: ")
        assert later.body["text"].startswith("flakelag: `web-0` (flake `infra`) is 21 commits")
        assert later.body["alert"]["heading"] is None

    def test_thousands_at_once_are_one_bounded_message_with_the_worst_first(
        self, tick_systems: Tick, webhook: WebhookServer, reports_dir: Path
    ) -> None:
        publish(reports_dir, "2026-11-23", status_row("web-0"))
        tick_systems()
        flake = "x" * 100_000
        systems = [
            lagging(f"web-{number}", 21 + number, 5.0) | {"flake_name": flake}
            for number in range(5_000)
        ]
        publish(reports_dir, "2026-11-23", *systems)

        tick_systems()

        [message] = webhook.received
        alert = message.body["alert"]
        assert message.body["text"].startswith("flakelag (systems newly far behind: 5,000)\n")
        assert message.body["text"].endswith("\n… and 4,990 more.")
        assert alert["counts"] == {"system_behind": 5_000}
        assert alert["conditions_left_out"] == 5_000 - MAX_DETAILS
        assert alert["conditions"][0]["hostname"] == "web-4999"
        assert int(message.headers["content-length"]) < 50_000
        assert tick_systems() == "Nothing new."


def test_without_a_webhook_nothing_is_looked_at(
    configured: Configured, tick_failures: Tick, tick_systems: Tick
) -> None:
    configured.change(alert_webhook_url=None)

    assert [tick_failures(), tick_systems()] == [NO_WEBHOOK, NO_WEBHOOK]
    assert not configured.settings.reports_dir.exists()


def test_setting_the_webhook_is_all_that_it_takes(defs: dg.Definitions) -> None:
    sensors = list(defs.sensors or [])

    assert len(sensors) == 3
    for sensor in sensors:
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.description
