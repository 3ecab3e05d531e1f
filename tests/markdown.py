"""What the pages under `docs/` tell a reader to run."""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    heading: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page in `docs/`, each with the heading that it stands under."""
    text = (DOCS / page).read_text("utf-8")
    found = []
    for match in _FENCED.finditer(text):
        # A comment in an earlier block may look like a heading.
        above = _FENCED.sub("", text[: match.start()])
        found.append(Block(_HEADING.findall(above)[-1], match[1], match[2]))
    return found
