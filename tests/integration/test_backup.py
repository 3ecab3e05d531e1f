"""The commands of docs/operations.md that back up what can't be made anew, and bring it back."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from assets.publishing.layout import OWN_FOLDER
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.database import HistoryDatabase
from tests.integration.command_process import flakelag
from tests.integration.pipeline import Pipeline
from tests.markdown import blocks

REPORTS = "/srv/flakelag/reports"


def console_blocks(heading: str) -> list[list[str]]:
    """The lines of each block of commands that stands under a heading."""
    return [
        block.text.splitlines()
        for block in blocks("operations.md")
        if block.heading == heading and block.language == "console"
    ]


def run(line: str, folder: Path, url: str, reports: Path, programs: Path) -> None:
    """A line of the page, where the service `history` is the database of the URL."""
    given = conninfo_to_dict(url)
    service = "\n".join(f"{name}={value}" for name, value in given.items())
    (folder / "services").write_text(f"[history]\n{service}\n")
    subprocess.run(
        ["sh", "-c", line.replace(REPORTS, str(reports))],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGSERVICEFILE": str(folder / "services"),
        },
        check=True,
    )


def rows_of(url: str) -> dict[str, list[str]]:
    """Everything in the tables and views of the history."""
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'flakelag'"
        ).fetchall()
        found = {}
        for (name,) in names:
            rows = connection.execute(
                sql.SQL("SELECT each::text FROM flakelag.{} AS each").format(sql.Identifier(name))
            )
            found[name] = sorted(text for (text,) in rows)
        return found


def published_in(reports: Path) -> dict[str, tuple[int, bytes]]:
    """Each file that readers have business with: its mode and content."""
    return {
        path.relative_to(reports).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in reports.rglob("*")
        if path.is_file() and path.relative_to(reports).parts[0] != OWN_FOLDER
    }


def test_history_and_reports_come_back(
    published: Pipeline,
    postgres_server: EmbeddedPostgres,
    new_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    reports, programs = tmp_path / "reports", postgres_server.bin_path
    shutil.copytree(published.reports_dir, reports)
    before = rows_of(published.history_url)
    assert sum(map(len, before.values())) > 0
    keep, bring_back = console_blocks("Backup and restore")

    for line in keep:
        run(line, tmp_path, published.history_url, reports, programs)
    shutil.rmtree(reports)
    elsewhere = new_database()
    for line in bring_back:
        run(line, tmp_path, elsewhere, reports, programs)

    assert rows_of(elsewhere) == before
    # Nothing is missing that a run would have to make.
    assert HistoryDatabase(SecretStr(elsewhere)).rehearse() == []
    assert published_in(reports) == published_in(published.reports_dir)
    status = flakelag(tmp_path, "status", REPORTS_DIR=str(reports))
    assert status.stdout, status.stderr
