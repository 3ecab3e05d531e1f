"""Names and sentences in Slack's markup, which Mattermost and others read too.

Belongs here: keeping the markup in them from being obeyed. Does not belong here: what is shown of
them (`assets.publishing.display`).
"""

from assets.publishing.display import display_name, display_sentence

LONGEST_NAME = 100
LONGEST_PROSE = 500

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def code(name: str) -> str:
    """A name as code, so that neither `*` nor `@channel` in it means anything."""
    shown = display_name(name, LONGEST_NAME).replace("`", "'")
    return f"`{shown.translate(_ESCAPES)}`"


def prose(text: str) -> str:
    """A sentence that may hold somebody's names: it can't mention anyone, nor load an image."""
    shown = display_sentence(text, LONGEST_PROSE).translate(_ESCAPES)
    # Mattermost takes a bare @channel for a mention, and Markdown for links and images; a
    # zero-width space in it undoes that.
    return shown.replace("@", "@\u200b").replace("](", "]\u200b(")
