"""Variables that look like ours and are none: a misspelt name would be as if it were not set.

Belongs here: telling them from everybody else's. Does not belong here: which ones are ours.
"""

from collections.abc import Collection

_PREFIXES = ("FLAKELAG_", "FLEET_", "HISTORY_", "REPORTS_", "EXTRACT_", "ALERT_")
# Of zsh, whose history is another one.
_OF_OTHERS = ("HISTORY_IGNORE", "HISTORY_SUBSTRING_")
# A letter left out, doubled or exchanged in so many.
_LETTERS_PER_SLIP = 8


def meant_by(name: str, ours: Collection[str]) -> str | None:
    """Which of our variables a variable seems to mean.

    Returns:
        The nearest of ours; None for one of ours itself, and for what has nothing to do with us.
    """
    if name in ours or name.startswith(_OF_OTHERS):
        return None
    written = name.upper()
    nearest = min(ours, key=lambda each: (_slips(written, each), each))
    is_near = _slips(written, nearest) <= len(nearest) // _LETTERS_PER_SLIP
    return nearest if is_near or written.startswith(_PREFIXES) else None


def _slips(written: str, meant: str) -> int:
    """How many letters have to be added, taken away or changed (Levenshtein's distance)."""
    row = list(range(len(meant) + 1))
    for at, letter in enumerate(written, 1):
        above, row[0] = row[0], at
        for column, other in enumerate(meant, 1):
            above, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, above + (letter != other)),
            )
    return row[-1]
