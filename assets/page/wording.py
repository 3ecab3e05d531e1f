"""How the page writes hashes, numbers and spans of time.

Belongs here: turning one value into text. Does not belong here: which values the page shows; names
(`assets.publishing.display`) and instants (`assets.publishing.instants`), which every text writes
alike.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from assets.publishing.display import display_name

STATUS_LABELS: Mapping[str, str] = {
    "no_deployment": "No deployment",
    "unknown": "Unknown",
    "behind": "Behind",
    "up_to_date": "Up to date",
    "ahead": "Ahead",
}

CHANGE_LABELS: Mapping[str, str] = {
    "newly_behind": "newly behind",
    "became_unknown": "became unknown",
    "recovered": "recovered",
    "appeared": "appeared",
    "vanished": "vanished",
}

NOT_KNOWN = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"

_SHORT_HASH_LENGTH = 8


def short_hash(commit_hash: str) -> str:
    """As much of a git hash as a person compares by eye."""
    return display_name(commit_hash)[:_SHORT_HASH_LENGTH]


def grouped(number: float) -> str:
    """A number with at most one decimal and thousands set apart: `12,345`, `2.5`."""
    text = f"{number:,.1f}"
    return text.removesuffix(".0")


def counted(number: float, noun: str) -> str:
    """A number of things: `1 system`, `12,345 systems`."""
    return f"{grouped(number)}{_SPACE}{noun}{'' if number == 1 else 's'}"


def percentage(share: float) -> str:
    """A share (0 to 1) that says 0 % and 100 % only when it is exactly that."""
    if 0 < share < 0.01:
        return f"<1{_SPACE}%"
    if 0.99 < share < 1:
        return f">99{_SPACE}%"
    return f"{share * 100:.0f}{_SPACE}%"


def change(difference: int) -> str:
    """A difference with its sign, and a true minus: `+3`, `±0`."""
    if difference == 0:
        return "±0"
    return f"{'+' if difference > 0 else _MINUS}{abs(difference):,}"


def span(seconds: float) -> str:
    """A span of time in the one unit that a person would use: `45 min`, `17 h`, `3.2 days`."""
    if seconds < 0:
        return f"{_MINUS}{span(-seconds)}"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{seconds:.0f}{_SPACE}s"
    if hours < 1:
        return f"{minutes:.0f}{_SPACE}min"
    if days < 2:
        return f"{hours:.0f}{_SPACE}h"
    return f"{grouped(days) if days < 10 else format(days, ',.0f')}{_SPACE}days"


def plain_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a short frame as dictionaries of plain values, None for null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in record.items()}
        for record in frame.to_dict("records")
    ]
