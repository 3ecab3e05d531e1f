"""The message that goes out: one for all that is new, however much that is."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from pipelines.alerts.conditions import Condition

MAX_LINES = 10
MAX_DETAILS = 50

_HEADINGS = {
    "run_failure": "failed runs",
    "failed_check": "failed checks",
    "system_behind": "systems newly far behind",
}


class Message(BaseModel):
    """A message that stays the same however often its delivery is tried.

    Attributes:
        id: tells a receiver that it has the message already.
        payload: the JSON that is posted.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    payload: dict[str, JsonValue]


def compose(conditions: Sequence[Condition], composed_at: dt.datetime) -> Message:
    """Writes one message about one or more conditions.

    `text` is for a chat, at most `MAX_LINES` of them; `alert` is for a program: id, composed_at
    (ISO 8601, UTC), counts by kind, the first `MAX_DETAILS` conditions, and how many more there
    are. The keys of Slack's own messages, such as `channel`, are not used.
    """
    message_id = uuid.uuid4().hex
    counts = Counter[str](condition.kind for condition in conditions)
    return Message(
        id=message_id,
        payload={
            "text": _text(conditions, counts),
            "alert": {
                "id": message_id,
                "composed_at": composed_at.isoformat(),
                "counts": {**counts},
                "conditions": [
                    {"kind": condition.kind, **condition.details}
                    for condition in conditions[:MAX_DETAILS]
                ],
                "conditions_left_out": max(len(conditions) - MAX_DETAILS, 0),
            },
        },
    )


def _text(conditions: Sequence[Condition], counts: Counter[str]) -> str:
    if len(conditions) == 1:
        return f"flakelag: {conditions[0].text}"
    heading = ", ".join(f"{_HEADINGS[kind]}: {count:,}" for kind, count in counts.items())
    lines = [f"• {condition.text}" for condition in conditions[:MAX_LINES]]
    if len(conditions) > MAX_LINES:
        lines.append(f"… and {len(conditions) - MAX_LINES:,} more.")
    return "\n".join([f"flakelag ({heading})", *lines])
