"""Messages on their way to a real HTTP server, and what is kept of them when it is out of order."""

import datetime as dt
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipelines.alerts.conditions import Decision, decide_on_systems, systems_behind
from pipelines.alerts.delivery import DeliveryError, Patience, post
from pipelines.alerts.messages import Message, compose
from pipelines.alerts.state import AlertsBusyError, AlertState, AlertStateError, AlertStateFile
from pipelines.alerts.telling import look_and_tell, with_decision
from tests.integration.webhook_server import (
    DRIP,
    HANG_UP,
    STALL,
    Answer,
    WebhookServer,
    running_webhook,
)

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
PATIENCE = Patience(connect_seconds=1, read_seconds=0.3, pause_seconds=0.01)
CANARY = "T0CANARY"


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def state_file(tmp_path: Path) -> AlertStateFile:
    return AlertStateFile(tmp_path, "systems_behind")


def decide(told: frozenset[str], *hostnames: str) -> Decision:
    rows = [
        {
            "hostname": hostname,
            "flake_name": "infra",
            "commits_behind": 30,
            "hours_behind": 200.0,
            "behind_since": "2026-11-01T00:00:00.000000Z",
        }
        for hostname in hostnames
    ]
    return decide_on_systems(told, systems_behind(rows, commits=20, hours=168))


def message(*hostnames: str) -> Message:
    return compose(decide(frozenset(), *hostnames).new, NOW)


def secret(url: str) -> SecretStr:
    return SecretStr(url)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TestPost:
    def test_posts_slack_text_structure_and_an_idempotency_key(
        self, webhook: WebhookServer
    ) -> None:
        sent = message("web-1")

        post(secret(webhook.url()), sent, PATIENCE)

        received = webhook.received[0]
        assert received.body == sent.payload
        assert received.headers["content-type"] == "application/json"
        assert received.headers["idempotency-key"] == sent.id
        assert received.body["alert"]["conditions"][0]["hostname"] == "web-1"

    @pytest.mark.parametrize(
        "trouble",
        [Answer(500), Answer(503), Answer(429), Answer(408), STALL, HANG_UP],
        ids=["500", "503", "429", "408", "stall", "hang up"],
    )
    def test_trouble_that_passes_is_outlasted_with_the_same_key(
        self, webhook: WebhookServer, trouble: Answer
    ) -> None:
        webhook.answers.extend([trouble, trouble])

        post(secret(webhook.url()), message("web-1"), PATIENCE)

        assert len(webhook.received) == 3
        assert len(set(webhook.keys())) == 1

    @pytest.mark.parametrize("trouble", [Answer(502), STALL], ids=["502", "stall"])
    def test_trouble_that_lasts_is_an_error(self, webhook: WebhookServer, trouble: Answer) -> None:
        webhook.answers.extend([trouble] * 9)

        with pytest.raises(DeliveryError, match="is kept and goes out at the next tick"):
            post(secret(webhook.url()), message("web-1"), PATIENCE)

        assert len(webhook.received) == PATIENCE.attempts

    def test_an_answer_that_drips_in_is_given_up_and_cut_off(self, webhook: WebhookServer) -> None:
        webhook.answers.extend([DRIP] * 2)
        patience = Patience(attempts=2, read_seconds=1, attempt_seconds=0.3, pause_seconds=0.01)
        before = set(threading.enumerate())

        with pytest.raises(DeliveryError, match="did not answer in time"):
            post(secret(webhook.url()), message("web-1"), patience)

        for thread in set(threading.enumerate()) - before:
            # Those of the webhook end when they notice, those of the attempts at once.
            thread.join(5)
            assert not thread.is_alive()
        assert len(webhook.received) == 2
        assert webhook.hung_up_on == 2

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(404), r"refused the message \(404\): check ALERT_WEBHOOK_URL"),
            (Answer(301, {"Location": "/elsewhere"}), r"redirects \(301\)"),
        ],
    )
    def test_a_refusal_is_not_tried_again_at_once(
        self, webhook: WebhookServer, answer: Answer, words: str
    ) -> None:
        webhook.answers.append(answer)

        with pytest.raises(DeliveryError, match=words):
            post(secret(webhook.url()), message("web-1"), PATIENCE)

        assert len(webhook.received) == 1

    def test_a_short_pause_that_the_webhook_asks_for_is_kept_and_a_long_one_is_handed_on(
        self, webhook: WebhookServer
    ) -> None:
        webhook.answers.extend([Answer(429, {"Retry-After": "0"}), Answer(503, _in_an_hour())])

        with pytest.raises(DeliveryError) as refusal:
            post(secret(webhook.url()), message("web-1"), PATIENCE)

        assert len(webhook.received) == 2
        assert refusal.value.retry_after == pytest.approx(3600, abs=60)

    @pytest.mark.parametrize("retry_after", ["soon", "-5", "Wed, 99 Nov 2026"])
    def test_a_senseless_pause_is_disregarded(
        self, webhook: WebhookServer, retry_after: str
    ) -> None:
        webhook.answers.append(Answer(503, {"Retry-After": retry_after}))

        post(secret(webhook.url()), message("web-1"), PATIENCE)

        assert len(webhook.received) == 2

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:{port}/services/T0CANARY",
            "https://127.0.0.1:{port}/services/T0CANARY",
            "hooks.example.org/T0CANARY",
            "ftp://hooks.example.org/T0CANARY",
            "http://[T0CANARY/",
            "http://user:T0CANARY@/x",
            "http://T0CANARY..invalid./",
            "http://127.0.0.1:T0CANARY/",
            "",
        ],
    )
    def test_an_address_that_does_not_work_is_an_error_that_does_not_show_it(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)

        with pytest.raises(DeliveryError) as failure:
            post(secret(url.format(port=unused_port())), message("web-1"), PATIENCE)

        assert CANARY not in "".join(traceback.format_exception(failure.value))
        assert CANARY not in caplog.text

    def test_a_log_of_everything_does_not_show_the_address(
        self, webhook: WebhookServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        webhook.answers.append(Answer(503))

        post(secret(webhook.url(f"/services/{CANARY}")), message("web-1"), PATIENCE)

        assert webhook.received[0].path == f"/services/{CANARY}"
        assert CANARY not in caplog.text


def _in_an_hour() -> dict[str, str]:
    return {"Retry-After": format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))}


class Fleet:
    """A fleet whose hosts that are too far behind a test sets; counts how often it is looked at."""

    def __init__(self, *hostnames: str) -> None:
        self.hostnames = hostnames
        self.looks = 0

    def look(self, state: AlertState) -> AlertState:
        self.looks += 1
        return with_decision(state, decide(state.told, *self.hostnames), self.looks, NOW)


class TestLookAndTell:
    @pytest.fixture(autouse=True)
    def _parts(self, webhook: WebhookServer, state_file: AlertStateFile) -> None:
        self.webhook = webhook
        self.file = state_file

    def tick(self, fleet: Fleet, now: dt.datetime = NOW) -> str:
        url = secret(self.webhook.url())
        return look_and_tell(self.file, fleet.look, lambda sent: post(url, sent, PATIENCE), now)

    def fail_to_tick(self, fleet: Fleet) -> None:
        with pytest.raises(DeliveryError):
            self.tick(fleet)

    def test_what_stands_is_told_once(self) -> None:
        fleet = Fleet("web-1", "web-2")

        first, second = self.tick(fleet), self.tick(fleet)

        assert first.startswith("Delivered message")
        assert second == "Nothing new."
        assert len(self.webhook.received) == 1

    def test_a_message_that_was_not_taken_goes_out_at_a_later_tick_unchanged(self) -> None:
        self.webhook.answers.extend([Answer(500)] * 6)
        fleet = Fleet("web-1")

        self.fail_to_tick(fleet)
        fleet.hostnames = ("web-1", "web-2")
        self.fail_to_tick(fleet)
        self.tick(fleet)
        self.tick(fleet)

        assert len(set(self.webhook.keys()[:7])) == 1
        assert "web-1" in self.webhook.texts()[6]
        assert "web-2" in self.webhook.texts()[7]
        assert len(self.webhook.received) == 8
        assert self.tick(fleet) == "Nothing new."

    def test_a_crash_after_deciding_loses_nothing(self) -> None:
        fleet = Fleet("web-1")

        def crash(_message: Message) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            look_and_tell(self.file, fleet.look, crash, NOW)
        self.tick(fleet)

        assert len(self.webhook.received) == 1

    def test_a_crash_after_sending_repeats_the_message_under_its_key(self) -> None:
        fleet = Fleet("web-1")

        def deliver_and_crash(sent: Message) -> None:
            post(secret(self.webhook.url()), sent, PATIENCE)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            look_and_tell(self.file, fleet.look, deliver_and_crash, NOW)
        self.tick(fleet)

        assert len(self.webhook.received) == 2
        assert len(set(self.webhook.keys())) == 1

    def test_silence_that_the_webhook_asks_for_is_kept_over_ticks_but_for_an_hour_at_most(
        self,
    ) -> None:
        self.webhook.answers.append(Answer(429, {"Retry-After": "86400"}))
        fleet = Fleet("web-1")

        self.fail_to_tick(fleet)
        waiting = self.tick(fleet, NOW + dt.timedelta(minutes=59))
        delivered = self.tick(fleet, NOW + dt.timedelta(minutes=60))

        assert "asked for silence until 2026-11-23 10:00:00+00:00" in waiting
        assert delivered.startswith("Delivered message")
        assert len(self.webhook.received) == 2

    def test_the_state_survives_a_restart(self, tmp_path: Path) -> None:
        self.tick(Fleet("web-1"))
        self.file = AlertStateFile(tmp_path, "systems_behind")

        assert self.tick(Fleet("web-1")) == "Nothing new."

    def test_only_one_process_tells_at_a_time(self, tmp_path: Path) -> None:
        self.tick(Fleet())
        with (
            AlertStateFile(tmp_path, "systems_behind").exclusive(),
            pytest.raises(AlertsBusyError),
        ):
            self.tick(Fleet("web-1"))

    def test_a_state_that_makes_no_sense_says_what_to_do(self, tmp_path: Path) -> None:
        self.tick(Fleet("web-1"))
        kept = tmp_path / "_store" / "alerts" / "systems_behind.json"
        kept.write_text('{"version": 1, "told": 5}', encoding="utf-8")

        with pytest.raises(AlertStateError, match=r"systems_behind.json .* Delete it"):
            self.tick(Fleet("web-1"))

    def test_the_state_does_not_hold_the_address(self, tmp_path: Path) -> None:
        self.webhook.answers.extend([Answer(500)] * 3)
        self.fail_to_tick(Fleet("web-1"))

        kept = (tmp_path / "_store" / "alerts" / "systems_behind.json").read_text(encoding="utf-8")
        assert "web-1" in kept
        assert self.webhook.url() not in kept
