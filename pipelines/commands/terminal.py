"""Writes rows for people and for pipes: aligned text, coloured only where a person looks."""

import datetime as dt
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from assets.publishing.display import LONGEST_LABEL, LONGEST_NAME, display_name
from assets.publishing.instants import utc_minute

F = TypeVar("F", bound=Callable[..., Any])

GAP = "  "
NOTHING = "-"


class NoAnswerError(click.ClickException):
    """The command can't answer; ends it with status 2, as wrong usage does."""

    exit_code = 2


@dataclass(frozen=True)
class Display:
    """What standard output is.

    Attributes:
        is_terminal: a person reads it now: cells are shortened to the width of their column.
        has_colour: colours are wanted (https://no-color.org).
    """

    is_terminal: bool
    has_colour: bool

    @classmethod
    def of_stdout(cls) -> "Display":
        """Looks at standard output and the environment."""
        is_terminal = sys.stdout.isatty()
        wants_colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(is_terminal, is_terminal and wants_colour)


@dataclass(frozen=True)
class TextColumn:
    """One column of a printed table.

    Attributes:
        title: its heading.
        cells: what stands in it, one a row; None is printed as `-`.
        width: of names that somebody chose: on a terminal longer ones are shortened to this,
            elsewhere to `LONGEST_LABEL`. None where the texts are our own.
        is_number: aligned to the right.
        colours: by cell, the colour it is printed in.
    """

    title: str
    cells: Sequence[str | None]
    width: int | None = None
    is_number: bool = False
    colours: dict[str, str] | None = None


def table_lines(columns: Sequence[TextColumn], display: Display) -> list[str]:
    """Lays a table out: a heading, then one line a row, columns two spaces apart or more.

    No cell holds two spaces in a row, so that gap always separates columns.
    """
    padded = [_padded(column, display, is_last=column is columns[-1]) for column in columns]
    return [GAP.join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _padded(column: TextColumn, display: Display, *, is_last: bool) -> list[str]:
    if column.width is None:
        limit = LONGEST_NAME
    else:
        limit = column.width if display.is_terminal else LONGEST_LABEL
    # Most cells of a column are alike: a status, a flake, a commit.
    shown = {cell: display_name(cell or NOTHING, limit) for cell in {*column.cells}}
    texts = [column.title, *(shown[cell] for cell in column.cells)]
    taken = {text: _cell_width(text) for text in {*texts}}
    width = 0 if is_last and not column.is_number else max(taken.values())
    paddings = [" " * (width - taken[text]) for text in texts]
    if display.has_colour:
        texts = [click.style(texts[0], bold=True), *_coloured(column, texts[1:])]
    if column.is_number:
        return [padding + text for padding, text in zip(paddings, texts, strict=True)]
    return [text + padding for padding, text in zip(paddings, texts, strict=True)]


def _coloured(column: TextColumn, texts: Sequence[str]) -> Sequence[str]:
    colours = column.colours
    if colours is None:
        return texts
    return [click.style(text, fg=colours[text]) if text in colours else text for text in texts]


def _cell_width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def write(lines: Sequence[str]) -> None:
    """Writes lines to standard output; a reader that leaves early, such as `head`, is no error.

    Raises:
        NoAnswerError: standard output can't be written, because a disk is full, say.
    """
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes standard output once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            # Not the interpreter's own status 1, which scripts read as "some system lags".
            raise NoAnswerError(f"Can't write the answer: {error.strerror}.") from None


def to_the_minute(instant: str | None) -> str | None:
    """Shortens an ISO instant to the minute: `2026-11-23 09:00 UTC`."""
    return None if instant is None else utc_minute(dt.datetime.fromisoformat(instant))


def now() -> dt.datetime:
    """This instant, in UTC."""
    return dt.datetime.now(dt.UTC)


def _default_reports_dir() -> Path:
    # Half of the time that these commands take, and not needed where the folder is given.
    from pipelines.settings import SettingsError, read_settings  # noqa: PLC0415

    try:
        return read_settings().reports_dir
    except SettingsError as error:
        message = str(error)
    raise NoAnswerError(message)


def reports_dir_option(command: F) -> F:
    """The folder that holds what is published, found as the pipeline's own settings find it."""
    return click.option(
        "--reports-dir",
        default=_default_reports_dir,
        show_default="$REPORTS_DIR, else reports/",
        type=click.Path(path_type=Path, file_okay=False),
        callback=lambda _context, _option, folder: folder.expanduser(),
        help="Folder that holds the published files.",
    )(command)
