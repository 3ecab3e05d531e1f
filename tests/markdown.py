"""What the project's pages say: their blocks, headings, links and the code that they quote."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block of a page."""

    heading: str
    language: str
    text: str


def name_of(page: Path) -> str:
    """A page as the project's folder has it: `README.md`, `docs/recipes.md`."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path | str) -> list[Block]:
    """The fenced blocks of a page, each with the heading that it stands under.

    Args:
        page: its path; a name alone is one of `docs/`.
    """
    text = (DOCS / page).read_text("utf-8")
    found = []
    for match in _FENCED.finditer(text):
        # A comment in an earlier block may look like a heading.
        above = _FENCED.sub("", text[: match.start()])
        found.append(Block(_HEADING.findall(above)[-1], match[2], match[3]))
    return found


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link can point to in a page, as GitHub makes it from the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(page))
    }


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    return _LINK.findall(prose(page))


def quotations(page: Path) -> list[str]:
    """What a page quotes as code within its sentences."""
    return [" ".join(text.split()) for text in _QUOTED.findall(prose(page))]


def commands(page: Path) -> Iterator[str]:
    """The lines that a page tells a reader to type, without the prompt."""
    for block in blocks(page):
        if block.language == "console":
            yield from (line.removeprefix("$ ") for line in block.text.splitlines() if line)


def run_as_notebook(text: str, names: dict[str, Any]) -> Any:
    """Runs Python as a notebook does: the value of the last expression, None where it is none.

    Args:
        text: one block.
        names: what earlier blocks have defined; those of this one are added.
    """
    *statements, last = ast.parse(text).body
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([*statements, last], []), "a page", "exec"), names)
        return None
    exec(compile(ast.Module(statements, []), "a page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "a page", "eval"), names)
