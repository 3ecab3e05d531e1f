"""`flakelag status`, in this process and, where it matters what is outside, in one of its own."""

import datetime as dt
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.compute.vocabulary import DEPLOYMENT_STATUSES
from assets.publishing.display import display_name
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from pipelines.commands.status import status
from tests.snapshots import (
    SNAPSHOT_AT,
    flake_row,
    publish_quarantine,
    publish_rows,
    publish_status,
    status_row,
)
from tests.webservers import settings_environment

PROGRAM = (sys.executable, "-m", "pipelines.cli", "status")
HASH = "0123456789abcdef0123456789abcdef01234567"

FLEET = (
    status_row("new", deployment_status="no_deployment", commits_behind=None),
    status_row(
        "lost",
        deployment_status="unknown",
        unknown_reason="path_not_in_derivations",
        commits_behind=None,
        flake_id=None,
        flake_name=None,
    ),
    status_row(
        "slow",
        deployment_status="behind",
        commits_behind=34,
        hours_behind=290.25,
        current_commit_hash=HASH,
        deployment_time=SNAPSHOT_AT,
    ),
    status_row("fine"),
    status_row("eager", deployment_status="ahead", flake_id=2, flake_name="desktops"),
)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    publish_status(tmp_path, "2026-11-22", status_row("yesterday"))
    publish_status(tmp_path, "2026-11-23", *FLEET)
    return tmp_path


def call(reports: Path, *arguments: str) -> Result:
    return CliRunner().invoke(status, [*arguments, "--reports-dir", str(reports)])


def rows_of(output: str) -> list[list[str]]:
    """The table below the summary, split where the help says that columns are split."""
    return [re.split(r"  +", line.strip()) for line in output.split("\n")[2:] if line]


def hostnames(output: str) -> list[str]:
    return [row[0] for row in rows_of(output)[1:]]


def run(
    reports: Path, *arguments: str, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PROGRAM, *arguments, "--reports-dir", str(reports)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def run_on_terminal(
    reports: Path, *arguments: str, environment: dict[str, str] | None = None
) -> str:
    """What a person sees: standard output is a terminal."""
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *arguments, "--reports-dir", str(reports)],
        env={**os.environ, "TERM": "xterm", **(environment or {})},
        stdout=secondary,
    ) as process:
        os.close(secondary)
        seen = _read_to_end(primary)
        process.wait()
    os.close(primary)
    return seen.decode()


def _read_to_end(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            # How a terminal on Linux says that its last writer has gone.
            return seen
        if not part:
            return seen
        seen += part


class TestTable:
    def test_shows_the_newest_snapshot_in_triage_order(self, reports: Path) -> None:
        result = call(reports)

        assert hostnames(result.output) == ["new", "lost", "slow", "fine", "eager"]
        assert rows_of(result.output)[3] == [
            "slow", "behind", "34", "290.2", "infra", HASH, "-", "2026-11-23 09:00 UTC", "-",
        ]  # fmt: skip
        assert rows_of(result.output)[2][-1] == "path_not_in_derivations"

    def test_says_of_when_the_snapshot_is_and_how_many_are_in_each_status(
        self, reports: Path
    ) -> None:
        summary = call(reports).output.split("\n")[0]

        assert re.match(r"Snapshot of 2026-11-23 09:00 UTC, \d+\w( \d+\w)? old\. ", summary)
        assert "Systems: 5 (1 no_deployment, 1 unknown, 1 behind, 1 up_to_date, 1 ahead)" in summary

    def test_filters_by_flake_and_status_and_limits_what_is_shown(self, reports: Path) -> None:
        assert hostnames(call(reports, "--flake", "desktops").output) == ["eager"]
        both = call(reports, "--flake", "infra", "--flake", "desktops").output
        assert hostnames(both) == ["new", "slow", "fine", "eager"]
        chosen = call(reports, "--status", "behind", "--status", "unknown").output
        assert hostnames(chosen) == ["lost", "slow"]
        limited = call(reports, "--limit", "2").output
        assert hostnames(limited) == ["new", "lost"]
        assert "Systems: 5" in limited

    def test_hostile_names_are_bounded_and_obeyed_by_nothing(self, tmp_path: Path) -> None:
        long = "x" * 253
        publish_status(
            tmp_path,
            "2026-11-23",
            status_row("\x1b[2J\x1b]0;owned\x07"),
            status_row("two\nlines\ttab"),
            status_row("\u202egnp", flake_name="two  spaces"),
            status_row(long),
            status_row("宽宽"),
        )

        output = call(tmp_path).output

        assert "\x1b" not in output
        assert hostnames(output) == [
            r"\x1b[2J\x1b]0;owned\x07",
            r"two\nlines\ttab",
            r"\u202egnp",
            display_name(long, 64),
            "宽宽",
        ]
        assert max(map(len, output.split("\n"))) < 250
        assert rows_of(output)[3][4] == r"two \x20spaces"

    def test_says_what_is_uncertain_because_of_rows_that_cant_be_used(self, reports: Path) -> None:
        before = call(reports).output
        publish_quarantine(
            reports,
            "2026-11-22",
            {"source_table": "public.systems", "hostname": "yesterday"},
        )
        publish_quarantine(
            reports,
            "2026-11-23",
            {"source_table": "public.system_states", "hostname": "fine"},
            {"source_table": "public.commits", "flake_id": 2},
            {"source_table": "public.commits", "flake_id": 2},
        )

        result = call(reports)

        told = result.output.split("\n")[1:3]
        assert told == [
            "2 rows of public.commits of flake desktops can't be used. Its systems may be behind, "
            "even where they are shown as up_to_date.",
            "1 row of public.system_states of host fine can't be used. It may run something else "
            "than what is shown.",
        ]
        assert (
            result.output.replace("\n".join(told) + "\n", "").split("\n")[1:]
            == (before.split("\n")[1:])
        )
        answer = json.loads(call(reports, "--json").output)
        assert answer["unusable_rows"][0] == {
            "source_table": "public.commits",
            "rows": 2,
            "hostname": None,
            "flake_id": 2,
            "flake_name": "desktops",
            "effect": "Its systems may be behind, even where they are shown as up_to_date.",
        }


class TestExitStatus:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ((), 1),
            (("--status", "up_to_date", "--status", "ahead"), 0),
            (("--flake", "desktops"), 0),
            (("--flake", "desktops", "--status", "behind"), 0),
            (("--status", "unknown"), 1),
            (("--status", "no_deployment"), 1),
            (("--limit", "1", "--flake", "infra"), 1),
            (("--json",), 1),
            (("--json", "--flake", "desktops"), 0),
        ],
    )
    def test_says_whether_all_that_is_chosen_is_current(
        self, reports: Path, arguments: Sequence[str], expected: int
    ) -> None:
        assert call(reports, *arguments).exit_code == expected

    def test_a_status_that_does_not_exist_is_answered_with_those_that_do(
        self, reports: Path
    ) -> None:
        result = call(reports, "--status", "late")

        assert result.exit_code == 2
        for name in DEPLOYMENT_STATUSES:
            assert name in result.output

    def test_a_flake_that_does_not_exist_is_answered_with_those_alike(self, reports: Path) -> None:
        result = call(reports, "--flake", "desktop")

        assert result.exit_code == 2
        assert "no system belongs to a flake named 'desktop'; there is: desktops." in result.output

    def test_without_a_snapshot_it_says_what_to_do(self, tmp_path: Path) -> None:
        result = call(tmp_path / "nowhere")

        assert result.exit_code == 2
        assert "make report" in result.output
        assert "REPORTS_DIR" in result.output

    def test_a_broken_file_is_an_error(self, reports: Path) -> None:
        file = reports / "system_deployment_status" / "date=2026-11-23" / "data.parquet"
        file.write_bytes(b"not Parquet")

        result = call(reports)

        assert result.exit_code == 2
        assert str(file) in result.output

    def test_a_snapshot_without_systems_is_an_error(self, tmp_path: Path) -> None:
        publish_status(tmp_path, "2026-11-23")

        assert call(tmp_path).exit_code == 2


class TestJson:
    def answer(self, reports: Path, *arguments: str) -> Any:
        return json.loads(call(reports, "--json", *arguments).output)

    def test_has_the_documented_shape(self, reports: Path) -> None:
        answer = self.answer(reports)

        assert set(answer) == {
            "snapshot_at", "extracted_at", "snapshot_date", "snapshot_age_seconds",
            "systems_total", "counts", "unusable_rows", "systems",
        }  # fmt: skip
        assert answer["snapshot_at"] == "2026-11-23T09:00:00.000000Z"
        assert answer["snapshot_date"] == "2026-11-23"
        assert answer["counts"] == dict.fromkeys(DEPLOYMENT_STATUSES, 1)
        assert answer["systems_total"] == 5

    def test_systems_have_every_column_of_the_data_dictionary(self, reports: Path) -> None:
        system = self.answer(reports)["systems"][2]

        assert set(system) == set(SYSTEM_DEPLOYMENT_STATUS.column_names) - {
            "snapshot_at", "extracted_at", "snapshot_date",
        } | {"current_commit_url", "latest_commit_url", "comparison_url"}  # fmt: skip
        assert system["hostname"] == "slow"
        assert system["commits_behind"] == 34
        assert system["hours_behind"] == 290.25
        assert system["deployment_time"] == "2026-11-23T09:00:00.000000Z"
        assert system["is_registered"] is True
        assert system["environment"] is None

    def test_systems_have_links_where_the_forge_is_known(self, tmp_path: Path) -> None:
        other = HASH[::-1]
        commits = {"current_commit_hash": HASH, "latest_commit_hash": other}
        publish_status(
            tmp_path,
            "2026-11-23",
            status_row("own", **commits),
            status_row("moved", unknown_reason="flake_mismatch", **commits),
            status_row("elsewhere", flake_id=2, **commits),
        )
        base = "https://gitlab.example.org/infra/-"
        publish_rows(
            tmp_path,
            FLAKE_DEPLOYMENT_STATUS,
            "2026-11-23",
            flake_row(
                commit_url_template=f"{base}/commit/{{commit}}",
                comparison_url_template=f"{base}/compare/{{base}}...{{head}}",
            ),
            flake_row(2),
        )
        links = {
            system["hostname"]: tuple(
                system[name]
                for name in ("current_commit_url", "latest_commit_url", "comparison_url")
            )
            for system in self.answer(tmp_path)["systems"]
        }

        assert links == {
            "own": (
                f"{base}/commit/{HASH}",
                f"{base}/commit/{other}",
                f"{base}/compare/{HASH}...{other}",
            ),
            "moved": (None, f"{base}/commit/{other}", None),
            "elsewhere": (None, None, None),
        }

    def test_filters_apply(self, reports: Path) -> None:
        answer = self.answer(reports, "--status", "behind", "--status", "unknown", "--limit", "1")

        assert [system["hostname"] for system in answer["systems"]] == ["lost"]
        assert answer["systems_total"] == 2


class TestOutside:
    """What only shows from outside the process."""

    def test_a_pipe_gets_no_colour_and_nothing_is_shortened(self, reports: Path) -> None:
        result = run(reports, environment={"FORCE_COLOR": "1", "TERM": "xterm"})

        assert result.returncode == 1
        assert result.stderr == ""
        assert "\x1b" not in result.stdout
        assert HASH in result.stdout

    def test_a_terminal_gets_colour_unless_it_is_not_wanted(self, reports: Path) -> None:
        coloured = run_on_terminal(reports)
        plain = run_on_terminal(reports, environment={"NO_COLOR": "1"})

        assert "\x1b[31mbehind\x1b[0m" in coloured
        assert "\x1b" not in plain
        assert HASH[:7] + "…" in plain
        assert re.sub(r"\x1b\[\d+m", "", coloured).split("\r\n")[2:] == plain.split("\r\n")[2:]

    def test_a_reader_that_leaves_early_is_no_error(self, tmp_path: Path) -> None:
        rows = [status_row(f"host-{number:05}") for number in range(5_000)]
        publish_status(tmp_path, "2026-11-23", *rows)
        with subprocess.Popen(
            [*PROGRAM, "--reports-dir", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()

        assert errors == b""
        assert process.returncode == 0

    def test_an_output_that_can_not_show_a_name_escapes_it(self, tmp_path: Path) -> None:
        publish_status(tmp_path, "2026-11-23", status_row("schön"))

        result = run(tmp_path, environment={"PYTHONIOENCODING": "ascii"})

        assert r"sch\xf6n" in result.stdout

    def test_finds_the_reports_as_the_pipeline_does(self, reports: Path, tmp_path: Path) -> None:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / ".env").write_text(f"REPORTS_DIR={reports}\n", encoding="utf-8")
        root = Path(__file__).parents[2]
        result = subprocess.run(
            PROGRAM,
            cwd=folder,
            env=settings_environment(PYTHONPATH=str(root)),
            capture_output=True,
            text=True,
            check=False,
        )

        assert result.returncode == 1
        assert "slow" in result.stdout

    @pytest.mark.parametrize("arguments", [(), ("--json",), ("--flake", "infra")])
    def test_waits_for_neither_pandas_nor_dagster(
        self, reports: Path, arguments: Sequence[str]
    ) -> None:
        """Their imports alone would take longer than the second in which it has to answer."""
        result = run(reports, *arguments, environment={"PYTHONPROFILEIMPORTTIME": "1"})

        imported = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.split("\n")}
        assert "pyarrow.parquet" in imported
        assert not imported & {"pandas", "dagster"}


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_full_disk_is_one_line_and_no_answer(reports: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*PROGRAM, *arguments, "--reports-dir", str(reports)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert result.stderr == "Error: Can't write the answer: No space left on device.\n"
    assert result.returncode == 2


class TestDoubts:
    """What speaks against "up to date" is said beside it."""

    @pytest.fixture
    def doubtful(self, tmp_path: Path) -> Path:
        publish_status(
            tmp_path,
            "2026-11-23",
            status_row("late", deployment_status="behind", behind_reason="not_applied"),
            status_row("old", feed_status="failing", feed_checked_at=_days_ago(3)),
            status_row("stale", feed_status="stale", feed_checked_at=_days_ago(2)),
            status_row("fresh", feed_status="current", feed_checked_at=SNAPSHOT_AT),
            status_row("merged", feed_status="current", commits_behind_branch=2),
            status_row("gone", liveness="silent", last_seen_at=_days_ago(9)),
            status_row("unsaid", feed_status="not_recorded", liveness="not_recorded"),
            status_row(
                "early",
                deployment_status="ahead",
                feed_status="failing",
                feed_checked_at=_days_ago(3),
            ),
        )
        return tmp_path

    def test_they_stand_beside_the_status(self, doubtful: Path) -> None:
        shown = {row[0]: (row[1], row[-1]) for row in rows_of(call(doubtful).output)[1:]}

        assert shown == {
            "late": ("behind", "not_applied"),
            "old": ("up_to_date?", "as of 3d 0h ago or earlier: last read failed"),
            "stale": ("up_to_date?", "as of 2d 0h ago: not read since"),
            "fresh": ("up_to_date", "-"),
            "merged": ("up_to_date", "git counts 2 later on the branch"),
            "gone": ("up_to_date", "last seen 9d 0h ago"),
            "unsaid": ("up_to_date", "-"),
            "early": ("ahead?", "as of 3d 0h ago or earlier: last read failed"),
        }

    def test_the_summary_counts_what_is_in_doubt(self, doubtful: Path) -> None:
        summary = call(doubtful).output.split("\n")[0]
        assert "(1 behind, 6 up_to_date (2 in doubt), 1 ahead (1 in doubt))" in summary

    @pytest.mark.parametrize(("feed", "expected"), [("failing", 1), ("stale", 1), ("current", 0)])
    def test_a_doubtful_up_to_date_is_no_success(
        self, tmp_path: Path, feed: str, expected: int
    ) -> None:
        row = status_row("web", feed_status=feed, feed_checked_at=_days_ago(1))
        publish_status(tmp_path, "2026-11-23", row)
        assert call(tmp_path).exit_code == expected
        assert call(tmp_path, "--json").exit_code == expected

    def test_a_snapshot_of_an_earlier_version_has_none(self, tmp_path: Path) -> None:
        file = publish_status(tmp_path, "2026-11-23", status_row("web"))
        kept = [c.name for c in SYSTEM_DEPLOYMENT_STATUS.columns if not c.nullable]
        with pq.ParquetFile(file) as parquet:
            table = parquet.read([*kept, "flake_name"])
        pq.write_table(table, file)

        result = call(tmp_path)
        assert rows_of(result.output)[1][:2] == ["web", "up_to_date"]
        assert result.exit_code == 0


def _days_ago(days: float) -> dt.datetime:
    return SNAPSHOT_AT - dt.timedelta(days=days)
