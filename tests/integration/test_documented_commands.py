"""The commands that the pages tell a reader to type, and what the README says they print.

One newcomer types them all, in an empty folder.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.command_process import flakelag
from tests.markdown import PAGES, ROOT, blocks, commands

COMMANDS = sorted({line for page in PAGES for line in commands(page)})

# Not typed here, and why nobody is let down by that.
NOT_TYPED = {
    r"make (report|test|check)": "what CI runs, or its first line",
    r"make [a-z]+": "whose recipes CI runs in part; that they exist is tested with the pages",
    r"git (clone|worktree|commit) .*|cd flakelag": "not ours",
    r"python -m venv .*|.*/pip install .*": "as in the Makefile, with a network",
    r"(useradd|install|runuser|cp|systemctl) .*": "as root, on a machine of one's own",
    r"(PGSERVICE=history pg_dump|pg_restore|tar|mkdir) .*": "in `test_backup`",
    r"duckdb -readonly .*": "DuckDB's own program; `test_recipes` opens the same file",
    r"PGOPTIONS=.* psql( .*)?": "with a database of one's own, in `test_history_queries`",
    r"\.venv/bin/(pytest|python -m pytest) .*": "which is what runs this",
}
OURS = [line for line in COMMANDS if line.startswith("flakelag ")]


@dataclass(frozen=True)
class Newcomer:
    """A folder in which `flakelag report` has run, and what it printed."""

    folder: Path
    report: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    # Not below pytest's own folder: when we are root, the embedded server is another user, and each
    # session of pytest that begins closes that folder to others.
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    # As open as a clone's folder, or the server of root would say that it opens it.
    folder.chmod(0o755)
    try:
        yield Newcomer(folder, flakelag(folder, "report"))
    finally:
        shutil.rmtree(folder)


def shape(output: str) -> list[str]:
    """Lines as they are whenever they are printed: the figures left out, and the spaces."""
    numbered = re.sub(r"\d[\d,.]*", "#", output)
    return [re.sub(r" +", " ", line).strip() for line in numbered.splitlines()]


def test_the_readme_shows_what_the_report_prints(newcomer: Newcomer) -> None:
    [shown] = [b.text for b in blocks(ROOT / "README.md") if "flakelag: " in b.text]
    by_make, _, by_flakelag = shown.partition("\n")
    assert by_make in (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")

    printed = newcomer.report.stderr + newcomer.report.stdout

    # Which systems are furthest behind depends on the hour.
    expected, (title, *_) = _up_to_the_furthest(shape(by_flakelag))
    found, (found_title, *furthest) = _up_to_the_furthest(shape(printed))
    assert found == expected
    assert found_title == title
    assert len(furthest) == 6


def _up_to_the_furthest(lines: list[str]) -> tuple[list[str], list[str]]:
    at = next(number for number, line in enumerate(lines) if "furthest behind" in line)
    return lines[:at], lines[at:]


@pytest.mark.parametrize("line", OURS)
def test_a_command_of_ours_works_as_it_stands(newcomer: Newcomer, line: str) -> None:
    _, *arguments = shlex.split(line)
    result = flakelag(newcomer.folder, *arguments)
    # `flakelag status` says by 1 that some system lags, as in the demo fleet.
    assert result.returncode == (1 if arguments[0] == "status" else 0), result.stderr
    assert result.stdout.strip()


def test_every_other_command_is_known() -> None:
    for line in COMMANDS:
        assert line in OURS or any(re.fullmatch(pattern, line) for pattern in NOT_TYPED), line
