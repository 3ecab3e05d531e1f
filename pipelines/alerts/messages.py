"""The message that goes out: one for all that is new, however much that is."""

import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from pydantic import BaseModel, ConfigDict, JsonValue

from pipelines.alerts.conditions import NO_LINKS, Condition, Links

MAX_LINES = 10
MAX_DETAILS = 50

MAX_TEXT = 12_000
"""Characters; the narrowest of the usual chats takes 16,383."""

MAX_DETAILS_BYTES = 100_000

_HEADINGS = {
    "run_failure": "failed runs",
    "failed_check": "failed checks",
    "system_behind": "systems newly far behind",
    "feed_not_current": "flakes no longer read",
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

    @property
    def text(self) -> str:
        """What a chat shows of it."""
        return str(self.payload["text"])

    @property
    def alert(self) -> dict[str, JsonValue]:
        """What a program reads of it."""
        alert = self.payload["alert"]
        return alert if isinstance(alert, dict) else {}


def compose(
    conditions: Sequence[Condition],
    composed_at: dt.datetime,
    links: Links = NO_LINKS,
    heading: str | None = None,
) -> Message | None:
    """Writes one message about all conditions; None where there is none.

    `text` is for a chat, at most `MAX_LINES` of them; `alert` is for a program: id, composed_at
    (ISO 8601, UTC), counts by kind, the first conditions (at most `MAX_DETAILS`, and what fits in
    `MAX_DETAILS_BYTES`), how many more there are, the heading and the address of the report page
    (null where there is none). The keys of Slack's own messages, such as `channel`, are not used.

    Args:
        conditions: what it is about, the most important first.
        composed_at: this instant.
        links: where a person can look.
        heading: what to say of all of them; by default, how many of each kind there are.
    """
    if not conditions:
        return None
    message_id = uuid.uuid4().hex
    counts = Counter[str](condition.kind for condition in conditions)
    details = [{"kind": each.kind, **each.details} for each in conditions[:MAX_DETAILS]]
    detailed = details[: _fitting([len(json.dumps(each)) for each in details], MAX_DETAILS_BYTES)]
    return Message(
        id=message_id,
        payload={
            "text": _text(conditions, counts, links, heading),
            "alert": {
                "id": message_id,
                "composed_at": composed_at.isoformat(),
                "heading": heading,
                "counts": {**counts},
                "conditions": [*detailed],
                "conditions_left_out": len(conditions) - len(detailed),
                "report_url": links.report_url,
            },
        },
    )


def say_the_same(message: Message, other: Message) -> bool:
    """Whether a receiver learns nothing from one that the other does not say."""
    return message.text == other.text and _content(message) == _content(other)


def _content(message: Message) -> dict[str, JsonValue]:
    own = {"id", "composed_at"}
    return {name: value for name, value in message.alert.items() if name not in own}


def _text(
    conditions: Sequence[Condition], counts: Counter[str], links: Links, heading: str | None
) -> str:
    end = [] if links.report_url is None else [links.report_url]
    if len(conditions) == 1 and heading is None:
        return "\n".join([f"flakelag: {conditions[0].text}", *end])
    numbers = ", ".join(f"{_HEADINGS[kind]}: {count:,}" for kind, count in counts.items())
    lines = [f"• {condition.text}" for condition in conditions[:MAX_LINES]]
    lines = lines[: _fitting(list(map(len, lines)), MAX_TEXT)]
    if len(conditions) > len(lines):
        lines.append(f"… and {len(conditions) - len(lines):,} more.")
    first = f"flakelag ({numbers})" if heading is None else f"flakelag: {heading}"
    return "\n".join([first, *lines, *end])


def _fitting(lengths: Sequence[int], room: int) -> int:
    """How many of the first fit; the first one always does."""
    return max(1, sum(total <= room for total in accumulate(lengths)))
