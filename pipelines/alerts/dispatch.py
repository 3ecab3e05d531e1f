"""One look and at most one message: the order of writing down and sending that loses nothing."""

import datetime as dt
from collections.abc import Callable

from assets.publishing.instants import utc_minute
from pipelines.alerts.decisions import Decision
from pipelines.alerts.delivery import LONGEST_SILENCE, DeliveryError, MessageRefusedError
from pipelines.alerts.messages import Message, say_the_same
from pipelines.alerts.state import AlertState, AlertStateFile


def with_decision(
    state: AlertState,
    decision: Decision,
    position: int | str,
    message: Message | None,
) -> AlertState:
    """The state after looking: what is new waits as one message.

    It takes the place of a message that waits already, unless it says the same: then that one stays
    with its id, so that a receiver which has it knows.

    Args:
        state: before.
        decision: what is new, what still waits to be delivered included.
        position: up to where the source was seen.
        message: about what is new; None where nothing is.
    """
    pending = message
    if message is not None and state.pending is not None and say_the_same(state.pending, message):
        pending = state.pending
    return state.model_copy(
        update={
            "position": position,
            "alerted": decision.alerted,
            "pending": pending,
            "undelivered": frozenset(condition.id for condition in decision.new),
        }
    )


def dispatch(
    file: AlertStateFile,
    look: Callable[[AlertState], AlertState],
    deliver: Callable[[Message], None],
    now: dt.datetime,
) -> str:
    """Looks for what is new and delivers it, with what could not be delivered before.

    The state is written before the message goes out and after it has arrived. So a crash repeats a
    message, under the same id, rather than losing it. While the receiver is out of order, the
    message that waits is brought up to date: it gets what is new and loses what has passed.

    Args:
        file: keeps the state.
        look: gives the state after looking, perhaps with a message that waits.
        deliver: raises DeliveryError if the message does not arrive.
        now: this instant.

    Returns:
        What was done, in words.

    Raises:
        MessageRefusedError: the receiver will never take the message: it is dropped.
        DeliveryError: the message did not arrive; it waits for the next call.
        AlertsBusyError: another process is at it.
        AlertStateError: the kept state can't be used.
    """
    with file.exclusive():
        before = file.load()
        # Of a message that an earlier version composed nobody knows what it is about.
        is_dated = before.pending is not None and not before.undelivered
        state = before if is_dated else look(before)
        if state != before:
            file.save(state)
        if state.pending is None:
            return "Nothing new."
        # A later one than this was written by a clock that has been set back since.
        if state.not_before is not None and now < state.not_before <= now + LONGEST_SILENCE:
            until = utc_minute(state.not_before)
            return f"A message waits: the receiver asked for silence until {until}."
        try:
            deliver(state.pending)
        except MessageRefusedError:
            file.save(state.without_pending())
            raise
        except DeliveryError as error:
            if error.retry_after:
                not_before = now + min(error.retry_after, LONGEST_SILENCE)
                file.save(state.model_copy(update={"not_before": not_before}))
            raise
        file.save(state.without_pending())
    return f"Delivered message {state.pending.id}."
