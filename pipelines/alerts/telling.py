"""One look and at most one message: the order of writing down and sending that loses nothing."""

import datetime as dt
from collections.abc import Callable

from pipelines.alerts.conditions import Decision
from pipelines.alerts.delivery import DeliveryError
from pipelines.alerts.messages import Message, compose
from pipelines.alerts.state import AlertState, AlertStateFile

LONGEST_SILENCE = dt.timedelta(hours=1)


def with_decision(
    state: AlertState, decision: Decision, position: int | str, composed_at: dt.datetime
) -> AlertState:
    """The state after looking: what is new waits as one message."""
    pending = compose(decision.new, composed_at) if decision.new else None
    return state.model_copy(
        update={"position": position, "told": decision.told, "pending": pending}
    )


def look_and_tell(
    file: AlertStateFile,
    look: Callable[[AlertState], AlertState],
    deliver: Callable[[Message], None],
    now: dt.datetime,
) -> str:
    """Looks for what is new, unless a message is still waiting, and delivers what waits.

    The state is written before the message goes out and after it has arrived. So a crash repeats a
    message, under the same id, rather than losing it; and while the webhook is out of order, what
    happens meanwhile waits where it is and becomes one message afterwards.

    Args:
        file: keeps the state.
        look: gives the state after looking, perhaps with a message that waits.
        deliver: raises DeliveryError if the message does not arrive.
        now: this instant.

    Returns:
        What was done, in words.

    Raises:
        DeliveryError: the message did not arrive; it waits for the next call.
        AlertsBusyError: another process is at it.
        AlertStateError: the kept state can't be used.
    """
    with file.exclusive():
        before = file.load()
        state = look(before) if before.pending is None else before
        if state != before:
            file.save(state)
        if state.pending is None:
            return "Nothing new."
        if state.not_before is not None and now < state.not_before:
            return f"A message waits: the webhook asked for silence until {state.not_before}."
        try:
            deliver(state.pending)
        except DeliveryError as error:
            if error.retry_after:
                silence = min(dt.timedelta(seconds=error.retry_after), LONGEST_SILENCE)
                file.save(state.model_copy(update={"not_before": now + silence}))
            raise
        file.save(state.model_copy(update={"pending": None, "not_before": None}))
    return f"Delivered message {state.pending.id}."
