"""Commands that are the first ever, started at once: each finds or makes Dagster's storage."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.command_process import FLAKELAG, environment

IS_FULL_SCALE = os.environ.get("FLAKELAG_TEST_SCALE") == "full"

# Says that it is ready, waits for the word, and opens the instance as every command does.
OPENING = """
import sys
from pipelines.instance.opening import opened_instance
from pipelines.settings import read_settings
settings = read_settings()
print("ready", flush=True)
sys.stdin.readline()
with opened_instance(settings) as instance:
    assert instance.get_runs_count() == 0
    instance.get_latest_materialization_events([])
"""


def open_at_once(folders: Sequence[Path], **settings: str) -> None:
    """Opens the instance in processes that are let go together, one in each of the folders."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING],
            cwd=folder,
            env=environment(folder, **settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    complaints = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(folders), complaints


def test_in_sqlite(tmp_path: Path) -> None:
    for number in range(20 if IS_FULL_SCALE else 2):
        open_at_once([tmp_path / str(number)] * 4)


def test_in_postgres_from_machines_of_their_own(
    tmp_path: Path, new_database: Callable[..., str]
) -> None:
    for number in range(10 if IS_FULL_SCALE else 1):
        folders = [tmp_path / f"{number}-{machine}" for machine in range(4)]
        open_at_once(folders, DAGSTER_POSTGRES_URL=new_database())


@pytest.mark.slow
def test_two_reports_at_once(tmp_path: Path, demo_fleet_url: str) -> None:
    settings = environment(tmp_path / "home", FLEET_DATABASE_URL=demo_fleet_url)
    started = [
        subprocess.Popen(
            [*FLAKELAG, "report"],
            cwd=tmp_path,
            env=settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    complaints = [process.communicate()[1] for process in started]

    assert [process.returncode for process in started] == [0, 0], complaints
