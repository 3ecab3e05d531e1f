"""Names in Slack's markup, which Mattermost and others read too: shown, never obeyed."""

from pipelines.printable import printable, shortened

LONGEST_NAME = 100
LONGEST_PROSE = 300

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def code(name: str) -> str:
    """A name as code, so that neither `*` nor `@channel` in it means anything."""
    shown = shortened(printable(name), LONGEST_NAME).replace("`", "'")
    return f"`{shown.translate(_ESCAPES)}`"


def prose(text: str) -> str:
    """A sentence that may hold somebody's names; it can't mention anyone."""
    # Mattermost takes a bare @channel for a mention; a zero-width space after the @ undoes that.
    return shortened(printable(text), LONGEST_PROSE).translate(_ESCAPES).replace("@", "@\u200b")
