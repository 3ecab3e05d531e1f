"""Posting a message to the webhook, whose address is a secret: it is often all that protects it."""

import datetime as dt
import logging
import re
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
import urllib3
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from typing_extensions import override

from assets.publishing.display import display_sentence
from pipelines.alerts.messages import Message

LONGEST_SILENCE = dt.timedelta(hours=1)
"""A receiver that asks to be left alone for longer is asked again after this."""

_PASSES = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)

_THREAD_NAME = "flakelag webhook"


class DeliveryError(Exception):
    """The receiver did not take a message; the words never hold its address.

    Attributes:
        retry_after: how long the receiver asked to be left alone, None if it did not.
    """

    def __init__(self, problem: str, retry_after: dt.timedelta | None = None) -> None:
        super().__init__(f"{problem} The message is kept and goes out at a later tick.")
        self.retry_after = retry_after


class MessageRefusedError(DeliveryError):
    """The receiver will never take this message; its text is here, where it can still be read.

    A message that the receiver does not like must not keep the next ones back.
    """

    def __init__(self, status: int, message: Message) -> None:
        Exception.__init__(
            self,
            f"The webhook refused the message for good ({status}): check ALERT_WEBHOOK_URL. It is "
            f"dropped, and the next ones are delivered. It said: {display_sentence(message.text)}",
        )
        self.retry_after = None


@dataclass(frozen=True)
class DeliveryLimits:
    """How long to keep trying; Dagster gives a sensor's tick a minute in all.

    Attributes:
        attempts: how often to post, at most.
        connect_seconds: for one connection.
        read_seconds: for one piece of an answer.
        attempt_seconds: for one attempt in all; a webhook that sends its answer byte by byte, or
            has many addresses that are out of order, would exceed the two above for ever.
        pause_seconds: before the second attempt; it doubles each time.
        longest_pause_seconds: a webhook that asks for a longer one has to wait for a later tick.
    """

    attempts: int = 3
    connect_seconds: float = 5
    read_seconds: float = 8
    attempt_seconds: float = 13
    pause_seconds: float = 1
    longest_pause_seconds: float = 5


DEFAULT_LIMITS = DeliveryLimits()


def post(url: SecretStr, message: Message, limits: DeliveryLimits = DEFAULT_LIMITS) -> None:
    """Posts the message until the webhook takes it.

    A webhook that took it but did not say so in time gets it again, with the same
    `Idempotency-Key`.

    Raises:
        MessageRefusedError: it will never take this one.
        DeliveryError: it took none of the attempts.
    """
    pause = limits.pause_seconds
    for attempts_left in reversed(range(limits.attempts)):
        failure = _try_in_time(url, message, limits)
        if failure is None:
            return
        asked_pause = (failure.error.retry_after or dt.timedelta()).total_seconds()
        if not attempts_left or not failure.may_pass or asked_pause > limits.longest_pause_seconds:
            raise failure.error
        time.sleep(max(pause, asked_pause))
        pause *= 2


@dataclass(frozen=True)
class _Failure:
    error: DeliveryError
    may_pass: bool


def _try_in_time(url: SecretStr, message: Message, limits: DeliveryLimits) -> _Failure | None:
    _keep_unlogged()
    adapter = _CuttableAdapter()
    outcome: Future[_Failure | None] = Future()

    def attempt() -> None:
        try:
            outcome.set_result(_try_to_post(url, message, limits, adapter))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)

    # A daemon: one that can't be cut off, because it looks a name up, must not keep the process.
    threading.Thread(target=attempt, name=_THREAD_NAME, daemon=True).start()
    try:
        return outcome.result(limits.attempt_seconds)
    except TimeoutError:
        adapter.cut()
        return _Failure(DeliveryError("The webhook did not answer in time."), may_pass=True)


class _CuttableAdapter(HTTPAdapter):
    """Remembers its connections, so that another thread can end what reads from them."""

    def __init__(self) -> None:
        self._connections: list[urllib3.connection.HTTPConnection] = []
        super().__init__()

    @override
    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        connect = pool.ConnectionCls

        def connect_and_remember(*args: Any, **options: Any) -> urllib3.connection.HTTPConnection:
            connection: urllib3.connection.HTTPConnection = connect(*args, **options)
            self._connections.append(connection)
            return connection

        pool.ConnectionCls = connect_and_remember
        return pool

    def cut(self) -> None:
        """Ends the connections: a thread that reads from them sees their end."""
        for connection in self._connections:
            if connection.sock is not None:
                # The plain socket's method: that of TLS takes its state from under the reader.
                with suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _try_to_post(
    url: SecretStr, message: Message, limits: DeliveryLimits, adapter: HTTPAdapter
) -> _Failure | None:
    try:
        with requests.Session() as session:
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            # A redirect is not followed: it would turn the POST into a GET. The answer's body is
            # not read: it is no use, and may be endless.
            response = session.post(
                url.get_secret_value(),
                json=message.payload,
                headers={"Idempotency-Key": message.id, "User-Agent": "flakelag"},
                timeout=(limits.connect_seconds, limits.read_seconds),
                allow_redirects=False,
                stream=True,
            )
            status = response.status_code
            retry_after = pause_asked_for(response.headers.get("Retry-After"))
            response.close()
    except requests.Timeout:
        return _Failure(DeliveryError("The webhook did not answer in time."), may_pass=True)
    except requests.ConnectionError:
        return _Failure(DeliveryError("The webhook can't be reached."), may_pass=True)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # Only the class: the message quotes the address.
        problem = f"ALERT_WEBHOOK_URL can't be posted to ({type(error).__name__})."
        return _Failure(DeliveryError(problem), may_pass=False)
    return _failure_of(status, retry_after, message)


def _failure_of(status: int, retry_after: dt.timedelta | None, message: Message) -> _Failure | None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        problem = f"The webhook redirects ({status}): set ALERT_WEBHOOK_URL to where it leads."
        return _Failure(DeliveryError(problem), may_pass=False)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and (
        status not in _PASSES
    ):
        return _Failure(MessageRefusedError(status, message), may_pass=False)
    return _Failure(DeliveryError(f"The webhook answered {status}.", retry_after), may_pass=True)


def pause_asked_for(retry_after: str | None) -> dt.timedelta | None:
    """Reads a Retry-After header, which holds seconds or a date.

    Returns:
        From nothing to `LONGEST_SILENCE`; None where the header is missing or makes no sense.
    """
    if retry_after is None:
        return None
    if re.fullmatch(r"[0-9]+", retry_after.strip(), re.ASCII):
        # No number of digits is too large for a float, whose largest value is infinity.
        return dt.timedelta(seconds=min(float(retry_after), LONGEST_SILENCE.total_seconds()))
    try:
        instant = parsedate_to_datetime(retry_after)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=dt.UTC)
        pause = instant - dt.datetime.now(dt.UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(pause, dt.timedelta()), LONGEST_SILENCE)


def _keep_unlogged() -> None:
    """Keeps urllib3 from logging the request's path, in which webhooks carry their secret."""
    # Stays, and adding it again changes nothing: an attempt that was given up may yet log.
    logging.getLogger("urllib3.connectionpool").addFilter(_is_of_another_thread)


def _is_of_another_thread(_record: logging.LogRecord) -> bool:
    return threading.current_thread().name != _THREAD_NAME
