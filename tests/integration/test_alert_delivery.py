"""Messages on their way to a real HTTP server, and what is kept of them when it is out of order."""

import datetime as dt
import json
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import SecretStr

from pipelines.alerts.conditions import systems_behind
from pipelines.alerts.decisions import Decision, decide_on_systems
from pipelines.alerts.delivery import (
    LONGEST_SILENCE,
    DeliveryError,
    DeliveryLimits,
    MessageRefusedError,
    pause_asked_for,
    post,
)
from pipelines.alerts.messages import Message, compose
from pipelines.alerts.notification import notify, with_decision
from pipelines.alerts.state import AlertsBusyError, AlertState, AlertStateError, AlertStateFile
from tests.integration.webhook_server import (
    DRIP,
    ENDLESS_BODY,
    ENDLESS_CONTINUE,
    ENDLESS_HEADERS,
    ENDLESS_LINE,
    HANG_UP,
    NO_HTTP,
    STALL,
    Answer,
    WebhookServer,
    running_webhook,
)
from tests.waiting import PATIENCE_SECONDS

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
# Long enough for an answer on a busy machine, short enough to wait for one that never comes.
LIMITS = DeliveryLimits(connect_seconds=2, read_seconds=2, pause_seconds=0.01)
CANARY = "T0CANARY"


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def state_file(tmp_path: Path) -> AlertStateFile:
    return AlertStateFile(tmp_path, "systems_behind")


def decide(notified: frozenset[str], *hostnames: str) -> Decision:
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
    return decide_on_systems(notified, systems_behind(rows, commits=20, hours=168))


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


class TestPost:
    def test_posts_slack_text_structure_and_an_idempotency_key(
        self, webhook: WebhookServer
    ) -> None:
        sent = message("web-1")

        post(secret(webhook.url()), sent, LIMITS)

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

        post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == 3
        assert len(set(webhook.keys())) == 1

    @pytest.mark.parametrize("trouble", [Answer(502), STALL], ids=["502", "stall"])
    def test_trouble_that_lasts_is_an_error(self, webhook: WebhookServer, trouble: Answer) -> None:
        webhook.answers.extend([trouble] * 9)

        with pytest.raises(DeliveryError, match="is kept and goes out at a later tick"):
            post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == LIMITS.attempts

    def test_an_answer_that_drips_in_is_given_up_and_cut_off(self, webhook: WebhookServer) -> None:
        webhook.answers.extend([DRIP] * 2)
        limits = DeliveryLimits(attempts=2, read_seconds=1, attempt_seconds=1.5, pause_seconds=0.01)
        before = set(threading.enumerate())

        with pytest.raises(DeliveryError, match="did not answer in time"):
            post(secret(webhook.url()), message("web-1"), limits)

        for thread in set(threading.enumerate()) - before:
            # Those of the webhook end when they notice, those of the attempts at once.
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        assert len(webhook.received) == 2
        assert webhook.hung_up_on == 2

    @pytest.mark.parametrize(
        "answer",
        [ENDLESS_BODY, ENDLESS_HEADERS, ENDLESS_LINE, ENDLESS_CONTINUE, NO_HTTP],
        ids=["body", "headers", "line", "continue", "no HTTP"],
    )
    def test_an_answer_without_end_ends(self, webhook: WebhookServer, answer: Answer) -> None:
        webhook.answers.append(answer)
        limits = DeliveryLimits(attempts=1, attempt_seconds=2)
        before = set(threading.enumerate())

        if answer == ENDLESS_BODY:
            # It was taken; what it says beyond that is not read.
            post(secret(webhook.url()), message("web-1"), limits)
        else:
            with pytest.raises(DeliveryError, match="is kept"):
                post(secret(webhook.url()), message("web-1"), limits)

        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_not_followed_nor_tried_again_at_once(
        self, webhook: WebhookServer, status: int
    ) -> None:
        webhook.answers.append(Answer(status, {"Location": "/elsewhere"}))

        with pytest.raises(DeliveryError, match=rf"redirects \({status}\).* is kept"):
            post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422, 431, 451, 499])
    def test_a_message_that_is_refused_for_good_says_what_is_lost(
        self, webhook: WebhookServer, status: int
    ) -> None:
        webhook.answers.append(Answer(status))

        with pytest.raises(MessageRefusedError) as refusal:
            post(secret(webhook.url()), message("web-1"), LIMITS)

        assert f"refused the message for good ({status})" in str(refusal.value)
        assert "`web-1` (flake `infra`) is 30 commits" in str(refusal.value)
        assert len(webhook.received) == 1

    def test_a_short_pause_that_the_webhook_asks_for_is_kept_and_a_long_one_is_handed_on(
        self, webhook: WebhookServer
    ) -> None:
        webhook.answers.extend([Answer(429, {"Retry-After": "0"}), Answer(503, _in_an_hour())])

        with pytest.raises(DeliveryError) as refusal:
            post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == 2
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after.total_seconds() == pytest.approx(3600, abs=60)

    @pytest.mark.parametrize(
        "retry_after",
        [
            "soon",
            "-5",
            "nan",
            "inf",
            "-inf",
            "1e3",
            "5.5",
            "5_0",
            "\u0665",
            "",
            "Wed, 99 Nov 2026",
            "Wed, 21 Oct 99999 07:28:00 GMT",
            "Mon, 01 Jan 2035 00:00:00 +99999999999999999999",
        ],
    )
    def test_a_senseless_pause_is_disregarded(
        self, webhook: WebhookServer, retry_after: str
    ) -> None:
        assert pause_asked_for(retry_after) is None
        # HTTP's headers are Latin-1.
        answered = retry_after.encode("latin-1", "replace").decode("latin-1")
        webhook.answers.append(Answer(503, {"Retry-After": answered}))

        post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == 2

    @pytest.mark.parametrize(
        "retry_after",
        ["3601", "99999999999999", "9" * 400, "9" * 5_000, "Fri, 31 Dec 9999 23:59:59 GMT"],
    )
    def test_a_pause_without_end_ends_after_an_hour(self, retry_after: str) -> None:
        assert pause_asked_for(retry_after) == LONGEST_SILENCE

    @pytest.mark.parametrize("retry_after", ["0", " 0 ", "Mon, 01 Jan 0001 00:00:00 GMT"])
    def test_a_pause_that_is_over_is_none_at_all(self, retry_after: str) -> None:
        assert pause_asked_for(retry_after) == dt.timedelta()

    @pytest.mark.parametrize("length", ["9" * 30, "9" * 5_000, "-1", "nan"])
    def test_the_length_of_an_answer_is_no_matter(
        self, webhook: WebhookServer, length: str
    ) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
        webhook.answers.append(Answer(floods=(head, b"x")))

        post(secret(webhook.url()), message("web-1"), LIMITS)

        assert len(webhook.received) == 1

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
            post(secret(url.format(port=unused_port())), message("web-1"), LIMITS)

        assert CANARY not in "".join(traceback.format_exception(failure.value))
        assert CANARY not in caplog.text

    def test_a_log_of_everything_does_not_show_the_address(
        self, webhook: WebhookServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        webhook.answers.append(Answer(503))

        post(secret(webhook.url(f"/services/{CANARY}")), message("web-1"), LIMITS)

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
        decision = decide(state.notified - state.undelivered, *self.hostnames)
        return with_decision(state, decision, self.looks, compose(decision.new, NOW))


class TestNotify:
    @pytest.fixture(autouse=True)
    def _parts(self, webhook: WebhookServer, state_file: AlertStateFile) -> None:
        self.webhook = webhook
        self.file = state_file

    def tick(self, fleet: Fleet, now: dt.datetime = NOW) -> str:
        url = secret(self.webhook.url())
        return notify(self.file, fleet.look, lambda sent: post(url, sent, LIMITS), now)

    def fail_to_tick(self, fleet: Fleet) -> None:
        with pytest.raises(DeliveryError):
            self.tick(fleet)

    def hosts_received(self) -> list[list[str]]:
        return [
            [condition["hostname"] for condition in request.body["alert"]["conditions"]]
            for request in self.webhook.received
        ]

    def test_what_stands_is_alerted_of_once(self) -> None:
        fleet = Fleet("web-1", "web-2")

        first, second = self.tick(fleet), self.tick(fleet)

        assert first.startswith("Delivered message")
        assert second == "Nothing new."
        assert len(self.webhook.received) == 1

    def test_a_message_that_was_not_taken_goes_out_at_a_later_tick_under_its_key(self) -> None:
        self.webhook.answers.extend([Answer(500)] * 3)
        fleet = Fleet("web-1")

        self.fail_to_tick(fleet)
        self.tick(fleet)

        assert len(self.webhook.received) == 4
        assert len(set(self.webhook.keys())) == 1
        assert self.tick(fleet) == "Nothing new."

    def test_after_an_outage_one_message_has_all_that_is_still_true_and_nothing_that_passed(
        self,
    ) -> None:
        self.tick(Fleet("old"))
        self.webhook.answers.extend([Answer(503)] * 12)
        fleet = Fleet("old")

        for hostnames in (("old", "a"), ("old", "a", "b"), ("b",), ("b", "c", "old")):
            fleet.hostnames = hostnames
            self.fail_to_tick(fleet)
        delivered = self.tick(fleet)

        assert delivered.startswith("Delivered message")
        assert self.hosts_received()[-1] == ["b", "c", "old"]
        assert len(self.webhook.received) == 1 + 12 + 1
        assert self.tick(fleet) == "Nothing new."

    def test_nothing_is_sent_after_an_outage_when_all_has_passed(self) -> None:
        self.webhook.answers.extend([Answer(503)] * 3)
        fleet = Fleet("a")

        self.fail_to_tick(fleet)
        fleet.hostnames = ()

        assert self.tick(fleet) == "Nothing new."
        assert len(self.webhook.received) == 3

    def test_a_message_that_is_refused_for_good_does_not_keep_the_next_ones_back(self) -> None:
        self.webhook.answers.append(Answer(400))
        fleet = Fleet("web-1")

        with pytest.raises(MessageRefusedError, match="web-1"):
            self.tick(fleet)
        refused = self.tick(fleet)
        fleet.hostnames = ("web-1", "web-2")
        delivered = self.tick(fleet)

        assert refused == "Nothing new."
        assert delivered.startswith("Delivered message")
        assert self.hosts_received() == [["web-1"], ["web-2"]]

    def test_a_pause_of_fourteen_digits_is_kept_for_an_hour(self) -> None:
        self.webhook.answers.append(Answer(429, {"Retry-After": "99999999999999"}))
        fleet = Fleet("web-1")

        self.fail_to_tick(fleet)

        assert "until 2026-11-23 10:00 UTC" in self.tick(fleet, NOW + dt.timedelta(minutes=59))
        assert self.tick(fleet, NOW + dt.timedelta(hours=1)).startswith("Delivered")

    def test_a_pause_that_a_clock_set_back_would_make_endless_is_disregarded(self) -> None:
        self.webhook.answers.append(Answer(429, {"Retry-After": "3000"}))
        fleet = Fleet("web-1")

        self.fail_to_tick(fleet)

        assert self.tick(fleet, NOW - dt.timedelta(days=30)).startswith("Delivered")

    def test_the_state_of_an_earlier_version_is_taken_over(self, tmp_path: Path) -> None:
        dated = {
            "version": 1,
            "position": 7,
            "told": ["system_behind:old", "system_behind:web-1"],
            "pending": {"id": "1a", "payload": {"text": "flakelag: `web-1`", "alert": {}}},
            "not_before": None,
        }
        kept = tmp_path / "_store" / "alerts" / "systems_behind.json"
        kept.parent.mkdir(parents=True)
        kept.write_text(json.dumps(dated), encoding="utf-8")
        fleet = Fleet("old", "web-1", "web-2")

        for _ in range(3):
            self.tick(fleet)

        assert self.webhook.keys()[0] == "1a"
        assert len(self.webhook.received) == 2
        assert "`web-2`" in self.webhook.texts()[1]
        assert "old" not in self.webhook.texts()[1]

    def test_a_crash_after_deciding_loses_nothing(self) -> None:
        fleet = Fleet("web-1")

        def crash(_message: Message) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            notify(self.file, fleet.look, crash, NOW)
        self.tick(fleet)

        assert len(self.webhook.received) == 1

    def test_a_crash_after_sending_repeats_the_message_under_its_key(self) -> None:
        fleet = Fleet("web-1")

        def deliver_and_crash(sent: Message) -> None:
            post(secret(self.webhook.url()), sent, LIMITS)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            notify(self.file, fleet.look, deliver_and_crash, NOW)
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

        assert "asked for silence until 2026-11-23 10:00 UTC" in waiting
        assert delivered.startswith("Delivered message")
        assert len(self.webhook.received) == 2

    def test_the_state_survives_a_restart(self, tmp_path: Path) -> None:
        self.tick(Fleet("web-1"))
        self.file = AlertStateFile(tmp_path, "systems_behind")

        assert self.tick(Fleet("web-1")) == "Nothing new."

    def test_only_one_process_delivers_at_a_time(self, tmp_path: Path) -> None:
        self.tick(Fleet())
        with (
            FileLock(tmp_path / "_store" / "locks" / "alerts-systems_behind.lock"),
            pytest.raises(AlertsBusyError),
        ):
            self.tick(Fleet("web-1"))

    @pytest.mark.parametrize(
        "nonsense",
        [
            "",
            '{"version": 1, "told": 5}',
            '{"version": 2}',
            '{"position": NaN}',
            '{"not_before": "2026-11-23T09:00:00"}',
            '{"not_before": 1e300}',
        ],
    )
    def test_a_state_that_makes_no_sense_says_what_to_do(
        self, tmp_path: Path, nonsense: str
    ) -> None:
        self.tick(Fleet("web-1"))
        kept = tmp_path / "_store" / "alerts" / "systems_behind.json"
        kept.write_text(nonsense, encoding="utf-8")

        with pytest.raises(AlertStateError, match=r"systems_behind.json .* Delete it"):
            self.tick(Fleet("web-1"))

    def test_the_state_does_not_hold_the_address(self, tmp_path: Path) -> None:
        self.webhook.answers.extend([Answer(500)] * 3)
        self.fail_to_tick(Fleet("web-1"))

        kept = (tmp_path / "_store" / "alerts" / "systems_behind.json").read_text(encoding="utf-8")
        assert "web-1" in kept
        assert self.webhook.url() not in kept
