"""One look and one message at a time, and what is kept of it when the receiver is out of order."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.alerts.delivery import (
    DeliveryError,
    MessageRefusedError,
    post,
)
from pipelines.alerts.dispatch import dispatch, with_decision
from pipelines.alerts.messages import Message, compose
from pipelines.alerts.state import AlertsBusyError, AlertState, AlertStateError, AlertStateFile
from tests.integration.alerts.messages import LIMITS, NOW, decide, secret
from tests.integration.alerts.webhook_server import (
    Answer,
    WebhookServer,
    running_webhook,
)


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def state_file(tmp_path: Path) -> AlertStateFile:
    return AlertStateFile(tmp_path, "systems_behind")


class Fleet:
    """A fleet whose hosts that are too far behind a test sets; counts how often it is looked at."""

    def __init__(self, *hostnames: str) -> None:
        self.hostnames = hostnames
        self.looks = 0

    def look(self, state: AlertState) -> AlertState:
        self.looks += 1
        decision = decide(state.alerted - state.undelivered, *self.hostnames)
        return with_decision(state, decision, self.looks, compose(decision.new, NOW))


class TestDispatch:
    @pytest.fixture(autouse=True)
    def _parts(self, webhook: WebhookServer, state_file: AlertStateFile) -> None:
        self.webhook = webhook
        self.file = state_file

    def tick(self, fleet: Fleet, now: dt.datetime = NOW) -> str:
        url = secret(self.webhook.url())
        return dispatch(self.file, fleet.look, lambda sent: post(url, sent, LIMITS), now)

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
            dispatch(self.file, fleet.look, crash, NOW)
        self.tick(fleet)

        assert len(self.webhook.received) == 1

    def test_a_crash_after_sending_repeats_the_message_under_its_key(self) -> None:
        fleet = Fleet("web-1")

        def deliver_and_crash(sent: Message) -> None:
            post(secret(self.webhook.url()), sent, LIMITS)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            dispatch(self.file, fleet.look, deliver_and_crash, NOW)
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
            AlertStateFile(tmp_path, "systems_behind").exclusive(),
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
