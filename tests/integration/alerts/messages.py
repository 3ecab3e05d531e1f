"""Messages for tests of their delivery, and limits that keep a test short."""

import datetime as dt
import socket

from pydantic import SecretStr

from pipelines.alerts.conditions import systems_behind
from pipelines.alerts.decisions import Decision, decide_on_systems
from pipelines.alerts.delivery import (
    DeliveryLimits,
)
from pipelines.alerts.messages import Message, compose

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
# Long enough for an answer on a busy machine, short enough to wait for one that never comes.
LIMITS = DeliveryLimits(connect_seconds=2, read_seconds=2, pause_seconds=0.01)
CANARY = "T0CANARY"


def decide(alerted: frozenset[str], *hostnames: str) -> Decision:
    rows = [
        {
            "hostname": hostname,
            "flake_name": "infra",
            "commits_behind": 30,
            "hours_behind": 200.0,
            "behind_reason": None,
            "behind_since": "2026-11-01T00:00:00.000000Z",
        }
        for hostname in hostnames
    ]
    return decide_on_systems(alerted, systems_behind(rows, commits=20, hours=168))


def message(*hostnames: str) -> Message:
    composed = compose(decide(frozenset(), *hostnames).new, NOW)
    assert composed is not None
    return composed


def secret(url: str) -> SecretStr:
    return SecretStr(url)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
