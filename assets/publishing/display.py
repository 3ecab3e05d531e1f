"""What is shown for a text that somebody else chose: all of it that fits, and nothing that acts.

Belongs here: what a person or a receiver sees of a name or a sentence, whatever the medium. Does
not belong here: what the medium needs on top (HTML, Slack's markup), which its own writer does.

Agents choose hostnames, authors choose names of flakes, servers choose their messages. A terminal,
a page or a chat would obey the control characters, line breaks and direction marks in them, show
nothing for others, and carry them without end.
"""

import hashlib
import re
from collections.abc import Iterable

LONGEST_NAME = 253
"""In characters: no valid hostname is longer, so each is shown whole where there is room."""

LONGEST_LABEL = 64
"""In characters, where a name stands among others: in a table of text, or in a sentence."""

LONGEST_SENTENCE = 2_000
"""In characters."""

_DIGEST_LENGTH = 6
# What Python takes for printable though nothing, or no more than a blank, is seen of it.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
# Blanks that can't be counted by eye, or would part the columns of a table.
_UNCERTAIN_BLANK = re.compile(r"^ | $|(?<= ) ")


def display_name(name: str, longest: int = LONGEST_NAME) -> str:
    r"""A name as it is shown: what acts or can't be seen as a Python escape, such as `\u202e`.

    A name that does not fit is shortened in its middle, where a digest of the whole name tells it
    from others with the same beginning and end: `web-prod…3fa9c1…eu-west-1`. Shown again, it stays
    as it is.

    Args:
        name: any text, also with surrogates that stand for no character.
        longest: in characters, of what is returned. There is no room for the digest below 16; then
            the beginning is shown.
    """
    if len(name) <= longest:
        shown = _visible(name)
        if len(shown) <= longest:
            return shown
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    middle = f"…{digest}…"
    if longest < 2 * len(middle):
        return "".join(_fitting(name[:longest], longest - 1)) + "…"
    room = longest - len(middle)
    beginning = _fitting(name[:room], room - room // 2)
    end = _fitting(reversed(name[-room:]), room // 2)
    return "".join([*beginning, middle, *reversed(end)])


def bounded_name(name: str) -> str:
    """A name for a program: as it is; one longer than any hostname as `display_name` shows it."""
    return name if len(name) <= LONGEST_NAME else display_name(name)


def display_sentence(text: str, longest: int = LONGEST_SENTENCE) -> str:
    """Sentences as they are shown: on one line, escaped as names are, cut at the end.

    Args:
        text: any text.
        longest: in characters, of what is returned.
    """
    # The blanks that folding takes away make room for no more than what is read here.
    shown = _visible(" ".join(text[: 4 * longest].split()))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _visible(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible_character, text))
    return _UNCERTAIN_BLANK.sub(r"\\x20", text) if " " in text else text


def _visible_character(character: str) -> str:
    if character.isprintable() and not _UNSEEN.match(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _fitting(characters: Iterable[str], room: int) -> list[str]:
    """The first characters, each as it is shown, that fit."""
    fitting: list[str] = []
    for character in characters:
        # A blank beside the cut could not be seen.
        shown = r"\x20" if character == " " else _visible_character(character)
        room -= len(shown)
        if room < 0:
            break
        fitting.append(shown)
    return fitting
