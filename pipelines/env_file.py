"""A `.env`, read so that what is in it counts or is an error: nothing is skipped.

`python-dotenv` warns of a line that it can't read and goes on without it, which here would mean
another database than the one that somebody wrote down.

Belongs here: the file's form. Does not belong here: which variables there are.
"""

import io
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvFileError(Exception):
    """The file can't be read; the message names it and the line, and no value."""


@dataclass(frozen=True)
class Entry:
    """A variable of the file.

    Attributes:
        name: as it stands there.
        value: without quotes, and with what it refers to filled in.
        line: where it is, from 1.
    """

    name: str
    value: str
    line: int


def read_env_file(file: Path, environment: Mapping[str, str]) -> dict[str, Entry]:
    """Reads a file of lines `NAME=value`, as `python-dotenv` and shells understand them.

    Args:
        file: none there is the same as an empty one.
        environment: what `${NAME}` refers to before it refers to the file.

    Returns:
        The entries, by name.

    Raises:
        EnvFileError: it can't be opened, or something in it can't be read.
    """
    entries: dict[str, Entry] = {}
    for binding in _bindings(file):
        if not binding.error and binding.key is None:
            continue  # A comment, or nothing.
        line = _line_of(binding)
        entry = Entry(*_name_and_value(file, binding, line, entries, environment), line)
        before = entries.setdefault(entry.name, entry)
        if before.value != entry.value:
            raise EnvFileError(
                f"{file}, line {line}: {entry.name} is there a second time, and says something "
                f"else than in line {before.line}."
            )
    return entries


def _bindings(file: Path) -> Iterator[Binding]:
    try:
        # Not a pipe, which would be waited for. A link that leads nowhere is there, too.
        if not stat.S_ISREG(file.stat().st_mode):
            raise EnvFileError(f"{file} is no file. Move it away, or put the settings into it.")
        content = file.read_bytes()
    except FileNotFoundError:
        if file.is_symlink():
            raise EnvFileError(f"{file} is a link that leads nowhere.") from None
        return iter(())
    except OSError as error:
        raise EnvFileError(f"Can't read {file}: {error.strerror}.") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EnvFileError(f"{file}, line {line}: it is not UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise EnvFileError(f"{file}, line {line}: it holds a null byte.")
    return parse_stream(io.StringIO(text))


def _line_of(binding: Binding) -> int:
    # The empty lines before it belong to it.
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _name_and_value(
    file: Path,
    binding: Binding,
    line: int,
    entries: Mapping[str, Entry],
    environment: Mapping[str, str],
) -> tuple[str, str]:
    at = f"{file}, line {line}"
    if binding.error or binding.key is None or not _NAME.fullmatch(binding.key):
        # What stands there may be a password: it is not quoted.
        raise EnvFileError(f"{at}: it does not read NAME=value, or a quote is not closed.")
    name, value = binding.key, binding.value
    if value is None:
        raise EnvFileError(f"{at}: {name} has no = and no value.")
    if "\n" in value or "\r" in value:
        raise EnvFileError(f"{at}: the value of {name} goes on in the next line. Close the quote.")
    known = {**{each.name: each.value for each in entries.values()}, **environment}
    parts = []
    for part in parse_variables(value):
        if isinstance(part, Variable):
            if part.default is None and not known.get(part.name):
                raise EnvFileError(
                    f"{at}: the value of {name} has a ${{...}} of a variable that is not set."
                )
        elif "${" in part.resolve({}):
            raise EnvFileError(
                f"{at}: the value of {name} has a ${{ that can't be read. What can be written is "
                "${NAME} and ${NAME:-default}."
            )
        parts.append(part.resolve(known))
    return name, "".join(parts)
