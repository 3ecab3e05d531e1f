"""`flakelag report` as a newcomer types it: an empty folder, nothing configured, then a mishap.

One story, told by a module's fixture: a first report; a past day, published with a `.env`; the same
day again by a command that waits for another one, which is killed.
"""

import datetime as dt
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pyarrow.parquet as pq
import pytest

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.layout import ANALYSTS_FILE
from assets.schemas import PUBLISHED_DATASETS, QUARANTINE, SYSTEM_DEPLOYMENT_STATUS
from pipelines.demo.ensure import DEMO_DATABASE
from pipelines.embedded.postgres import EmbeddedPostgres
from tests.integration.command_process import (
    FLAKELAG,
    flakelag,
    instance_at,
    kill_session,
    running,
    slots_taken,
)
from tests.waiting import wait_until

EXTRACTION_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'flakelag' AND wait_event_type = 'Lock'
"""


def yesterday() -> dt.date:
    return dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)


def published(folder: Path) -> dict[str, bytes]:
    """What readers see below a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_store" not in path.parts
    }


@dataclass(frozen=True)
class Story:
    """What happened in one folder, and what was there after each step."""

    folder: Path
    day: dt.date
    first: "subprocess.CompletedProcess[str]"
    first_day: str
    first_files: dict[str, bytes]
    past: "subprocess.CompletedProcess[str]"
    past_files: dict[str, bytes]
    killed_run: str
    pools_of_the_killed: set[str]
    waiting: str
    waiting_status: int
    again_files: dict[str, bytes]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    # Not below pytest's own folder: when we are root, the embedded server is another user, and each
    # session of pytest that begins closes that folder to others.
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    try:
        yield tell_story(folder)
    finally:
        shutil.rmtree(folder)


def tell_story(folder: Path) -> Story:
    first_day = dt.datetime.now(dt.UTC).date().isoformat()
    first = flakelag(folder, "report")
    assert first.returncode == 0, first.stderr
    first_files = published(folder / "reports")

    # The environment of a process goes before the file, which is where the others come from.
    (folder / ".env").write_text("REPORTS_DIR=past\nFLAKELAG_VAR_DIR=nowhere\n")
    # The one that is killed must still wait for its lock when the other has come so far.
    given = {"FLAKELAG_VAR_DIR": "var", "FLEET_LOCK_TIMEOUT_SECONDS": "3600"}
    day = yesterday()
    command = ("report", "--day", day.isoformat())
    past = flakelag(folder, *command, **given)
    assert past.returncode == 0, past.stderr
    past_files = published(folder / "past")

    server = EmbeddedPostgres(folder / "var" / "postgres")
    server.start()
    outputs = folder / "killed.log", folder / "waiting.log"
    with (
        psycopg.connect(server.url(DEMO_DATABASE)) as owner,
        psycopg.connect(server.url(), autocommit=True) as observer,
        pytest.MonkeyPatch.context() as monkeypatch,
        instance_at(folder / "var" / "dagster", monkeypatch) as instance,
    ):
        owner.execute("LOCK TABLE systems IN ACCESS EXCLUSIVE MODE")
        with running((*FLAKELAG, *command), folder, outputs[0], **given) as killed:
            wait_until(lambda: observer.execute(EXTRACTION_WAITS).fetchone() == (1,), killed)
            [run] = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            with running((*FLAKELAG, *command), folder, outputs[1], **given) as waiting:
                wait_until(lambda: "Waiting" in outputs[1].read_text(), waiting)
                pools = slots_taken(instance)
                kill_session(killed)
                owner.rollback()
                status = waiting.wait()
    server.stop()
    return Story(
        folder,
        day,
        first,
        first_day,
        first_files,
        past,
        past_files,
        run.run_id,
        pools,
        outputs[1].read_text(),
        status,
        published(folder / "past"),
    )


def test_it_says_where_the_results_lie(story: Story) -> None:
    lines = story.first.stdout.splitlines()
    named = [line.strip() for line in lines if line.startswith("  reports/")]
    assert set(named) >= {
        *(f"reports/{d.name}/date={story.first_day}/data.parquet" for d in PUBLISHED_DATASETS),
        f"reports/pages/{story.first_day}.html",
    }
    assert all((story.folder / name).stat().st_size for name in named)
    assert "  history: the embedded server's database `history`, schema `flakelag`" in lines


def test_it_says_how_the_fleet_stands(story: Story) -> None:
    file = story.folder / "reports" / SYSTEM_DEPLOYMENT_STATUS.name / f"date={story.first_day}"
    rows = pq.read_table(file / "data.parquet").to_pylist()
    told = story.first.stdout
    assert f"{len(rows)} systems as of {story.first_day}" in told
    for status in DEPLOYMENT_STATUSES:
        count = sum(row["deployment_status"] == status for row in rows)
        assert count > 0
        assert re.search(rf"^  {status} +{count}  ", told, re.MULTILINE)
    furthest = sorted((row["commits_behind"] or 0 for row in rows), reverse=True)[:5]
    listed = told[told.index("furthest behind") :].splitlines()[2:]
    assert [int(line.split()[3]) for line in listed] == furthest


def test_progress_is_visible_and_in_our_own_words(story: Story) -> None:
    progress = story.first.stderr.splitlines()
    assert progress[0].endswith("reading the demo fleet (embedded PostgreSQL in var)")
    assert all(re.match(r"\[ *\d+\.\d s\] ", line) for line in progress[1:])
    assert "Making the demo fleet; this happens once." in story.first.stderr
    for dataset in PUBLISHED_DATASETS:
        if dataset is not QUARANTINE:
            assert f"{dataset.name} {story.first_day}: " in story.first.stderr
    for text in (story.first.stderr, story.past.stderr, story.waiting):
        assert "Warning" not in text
        assert "Traceback" not in text


def test_everything_lies_where_it_was_started(story: Story) -> None:
    assert list((story.folder / "home").rglob("*")) == []
    expected = {".env", "home", "killed.log", "past", "reports", "var", "waiting.log"}
    assert {path.name for path in story.folder.iterdir()} == expected
    assert {path.name for path in (story.folder / "reports").iterdir()} >= {
        *(dataset.name for dataset in PUBLISHED_DATASETS),
        "latest.html",
        "pages",
    }


def test_the_demo_fleet_is_made_once(story: Story) -> None:
    for later in (story.past.stderr, story.waiting):
        assert "Making the demo fleet" not in later
    counts = re.compile(r"(\w+): ([\d,]+) rows read")
    assert counts.findall(story.first.stderr) == counts.findall(story.past.stderr)
    assert counts.findall(story.first.stderr) == counts.findall(story.waiting)


def test_the_dot_env_counts_for_what_the_environment_does_not_say(story: Story) -> None:
    assert f"past/{SYSTEM_DEPLOYMENT_STATUS.name}/date={story.day}/data.parquet" in (
        story.past.stdout
    )
    assert not (story.folder / "nowhere").exists()
    assert published(story.folder / "reports") == story.first_files


def test_a_second_command_waits_for_the_first_and_says_so(story: Story) -> None:
    assert "Waiting for another flakelag command to end." in story.waiting


def test_a_command_clears_up_after_one_that_was_killed(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert story.waiting_status == 0, story.waiting
    assert "fleet_database" in story.pools_of_the_killed
    with instance_at(story.folder / "var" / "dagster", monkeypatch) as instance:
        killed = instance.get_run_by_id(story.killed_run)
        assert killed is not None
        assert killed.status is dg.DagsterRunStatus.FAILURE
        [failure] = instance.all_logs(story.killed_run, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert failure.message == "The command that started this run was killed."
        others = [run.status for run in instance.get_runs() if run.run_id != story.killed_run]
        assert others == [dg.DagsterRunStatus.SUCCESS] * 3
        assert slots_taken(instance) == set()


def test_a_closed_day_keeps_its_bytes(story: Story) -> None:
    closed = {
        name
        for name in story.past_files
        if name.endswith(".parquet") and not name.startswith(QUARANTINE.name)
    }
    assert len(closed) == len(PUBLISHED_DATASETS) - 1
    assert {name: story.again_files[name] for name in closed} == {
        name: story.past_files[name] for name in closed
    }
    assert story.again_files.keys() == story.past_files.keys()


def test_a_bad_setting_is_named_without_its_value(tmp_path: Path) -> None:
    result = flakelag(
        tmp_path, "report", EXTRACT_RETRY_SECONDS="canary", FLEET_LOCK_TIMEOUT_SECONDS="-7531"
    )
    assert result.returncode == 1
    error = result.stderr
    assert error.startswith("Error: ")
    for variable in ("EXTRACT_RETRY_SECONDS", "FLEET_LOCK_TIMEOUT_SECONDS"):
        assert f"{variable} (the environment): " in error
    assert "canary" not in error
    assert "7531" not in error
    assert result.stdout == ""


def test_an_unreachable_fleet_is_said_in_one_line_after_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = flakelag(
        tmp_path,
        "report",
        FLEET_DATABASE_URL="postgresql://reader:canary@127.0.0.1:1/fleet",
        HISTORY_DATABASE_URL="postgresql://127.0.0.1:1/history",
        EXTRACT_RETRY_SECONDS="0.01",
    )
    assert result.returncode == 1
    [_, *retries, error] = result.stderr.splitlines()
    assert len(retries) == 3
    assert all("Trying again in 0.0" in retry for retry in retries)
    assert error.startswith(
        "Error: read_fleet_database: The fleet database can't be reached (host 127.0.0.1, port 1"
    )
    assert "canary" not in result.stderr
    assert result.stdout == ""
    # That file's views follow from the dictionary, not from what is published.
    assert published(tmp_path / "reports").keys() <= {ANALYSTS_FILE}


def test_a_day_that_is_none_is_refused(tmp_path: Path) -> None:
    result = flakelag(
        tmp_path,
        "report",
        "--day",
        f"{dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)}",
        FLEET_DATABASE_URL="postgresql://127.0.0.1:1/fleet",
    )
    assert result.returncode == 1
    assert "can't be published: only the days from" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
