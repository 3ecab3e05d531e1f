"""Messages on their way to a real HTTP server."""

import datetime as dt
import logging
import threading
import traceback
from collections.abc import Iterator
from email.utils import format_datetime

import pytest

from pipelines.alerts.delivery import (
    LONGEST_SILENCE,
    DeliveryError,
    DeliveryLimits,
    MessageRefusedError,
    pause_asked_for,
    post,
)
from tests.integration.alerts.messages import CANARY, LIMITS, message, secret, unused_port
from tests.integration.alerts.webhook_server import (
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


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with running_webhook() as server:
        yield server


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
            thread.join(60)
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
        limits = DeliveryLimits(attempts=1, attempt_seconds=1.5)
        before = set(threading.enumerate())

        if answer == ENDLESS_BODY:
            # It was taken; what it says beyond that is not read.
            post(secret(webhook.url()), message("web-1"), limits)
        else:
            with pytest.raises(DeliveryError, match="is kept"):
                post(secret(webhook.url()), message("web-1"), limits)

        for thread in set(threading.enumerate()) - before:
            thread.join(60)
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
