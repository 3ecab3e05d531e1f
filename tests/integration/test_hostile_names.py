"""Names without end or with characters that act, at every place where they are shown or sent."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from click.testing import CliRunner

from assets.exports.openmetrics import fleet_metrics_text
from assets.page import render_fleet_report
from assets.publishing.checks import (
    COUNTS_SUM,
    NO_QUIET_FLAKE,
    FlakeCounts,
)
from assets.publishing.conformity import find_problems
from assets.publishing.display import LONGEST_LABEL, LONGEST_NAME, display_name
from assets.publishing.metadata import row_metadata
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from pipelines.commands.history import history
from pipelines.commands.status import status
from pipelines.commands.terminal import Display
from pipelines.commands.triage import triage_lines
from tests.integration.test_command_status import run, run_on_terminal
from tests.report_pages import NOW, TODAY, behind, frame, inputs_of, status_frame
from tests.snapshots import (
    deployment_row,
    flake_row,
    publish_deployments,
    publish_status,
    status_row,
)

ENDLESS = "x" * 100_000
HOSTILE = (
    ENDLESS + "a" + ENDLESS,
    ENDLESS + "b" + ENDLESS,
    "\u202e" * 100_000,
    "\x1b]0;owned\x07" * 10_000,
    "\u200b\n\t\u2028" * 25_000,
    "<!channel> @here `code` " * 5_000,
    "<script>alert(1)</script>" * 4_000,
)
ACTING = ("\x1b", "\u202e", "\u200b", "\u2028", "\x07")

BOUND_OF_A_LINE = 10 * LONGEST_NAME
BOUND_OF_A_ROW = 350


def lagging(number: int, name: str) -> dict[str, Any]:
    return status_row(
        f"host-{number}",
        deployment_status="behind",
        commits_behind=number + 1,
        hours_behind=1.0,
        flake_id=number,
        flake_name=name,
        environment=name,
        current_commit_hash=name,
    )


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    publish_status(tmp_path, str(TODAY), *map(lagging, range(len(HOSTILE)), HOSTILE))
    deployed_at = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    publish_deployments(
        tmp_path, deployment_row("host-0", deployed_at, flake_name=ENDLESS, commit_hash=ENDLESS)
    )
    return tmp_path


def assert_harmless(text: str) -> None:
    for character in ACTING:
        assert character not in text
    assert max(map(len, text.split("\n"))) < BOUND_OF_A_LINE


def test_status_is_bounded_and_tells_names_apart(reports: Path) -> None:
    output = run(reports).stdout

    assert_harmless(output)
    assert max(map(len, output.split("\n"))) < BOUND_OF_A_ROW
    for name in HOSTILE:
        assert display_name(name, LONGEST_LABEL) in output


def test_a_terminal_is_not_driven_by_names(reports: Path) -> None:
    lines = run_on_terminal(reports, environment={"NO_COLOR": "1"}).split("\r\n")

    assert_harmless("\n".join(lines))
    assert max(map(len, lines)) < 200
    assert len({line.split()[4] for line in lines[3:-1]}) == len(HOSTILE)


@pytest.mark.parametrize("longest", [24, LONGEST_LABEL, LONGEST_NAME])
def test_what_is_shown_of_a_name_finds_its_flake(reports: Path, longest: int) -> None:
    # On a terminal, in a pipe, on the page.
    shown = display_name(HOSTILE[1], longest)

    result = CliRunner().invoke(status, ["--flake", shown, "--reports-dir", str(reports)])

    assert "Systems: 1 " in result.output
    assert "host-1 " in result.output


def test_a_flake_that_does_not_exist_is_answered_at_once_and_briefly(reports: Path) -> None:
    result = CliRunner().invoke(
        status, ["--flake", ENDLESS + "c" + ENDLESS, "--reports-dir", str(reports)]
    )

    assert result.exit_code == 2
    assert_harmless(result.output)


def test_json_is_data_and_whole(reports: Path) -> None:
    result = CliRunner().invoke(status, ["--json", "--reports-dir", str(reports)])

    systems = json.loads(result.output)["systems"]
    assert [system["flake_name"] for system in systems] == list(HOSTILE)
    assert result.output.isascii()


def test_history_is_bounded(reports: Path) -> None:
    shown = CliRunner().invoke(history, ["host-0", "--reports-dir", str(reports)])
    unknown = CliRunner().invoke(history, [ENDLESS, "--reports-dir", str(reports)])

    assert shown.exit_code == 0
    assert unknown.exit_code == 2
    for result in (shown, unknown):
        assert_harmless(result.output)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_end_of_a_report_is_bounded(reports: Path, is_terminal: bool) -> None:
    lines = triage_lines(reports, TODAY, Display(is_terminal, has_colour=False))

    assert_harmless("\n".join(lines))


def test_the_page_is_bounded() -> None:
    def page_of(names: list[str]) -> str:
        rows = [
            behind(f"{number}-{name}", flake_id=number, flake_name=name, environment=name)
            for number, name in enumerate(names)
        ]
        return render_fleet_report(inputs_of(status_frame(*rows)))

    page = page_of(list(HOSTILE))
    ordinary = page_of([f"flake-{number}" for number in range(len(HOSTILE))])

    for character in ACTING:
        assert character not in page
    assert "<script>alert" not in page
    # Up to 10 places a system, and `<` is four characters in HTML.
    assert len(page) - len(ordinary) < len(HOSTILE) * 10 * 4 * LONGEST_NAME


def test_metrics_are_bounded() -> None:
    rows = [
        behind(f"host-{number}", flake_id=number, flake_name=name)
        for number, name in enumerate(HOSTILE)
    ]
    systems = status_frame(*rows)

    flakes = frame(
        FLAKE_DEPLOYMENT_STATUS,
        [flake_row(number, flake_name=name) for number, name in enumerate(HOSTILE)],
    )

    text = fleet_metrics_text(systems, flakes, systems["snapshot_at"][0], systems["snapshot_at"][0])

    assert_harmless(text)


def test_what_dagster_records_is_bounded() -> None:
    rows = [behind(name, flake_name=name) for name in HOSTILE]
    table = pa.Table.from_pandas(
        frame(SYSTEM_DEPLOYMENT_STATUS, rows), schema=SYSTEM_DEPLOYMENT_STATUS.arrow_schema
    )

    preview = row_metadata(SYSTEM_DEPLOYMENT_STATUS, table)["preview"]

    assert isinstance(preview, dg.TableMetadataValue)
    assert len(preview.records) == len(HOSTILE)
    for record in preview.records:
        for value in record.data.values():
            assert_harmless(str(value))
            assert len(str(value)) <= 24


@pytest.mark.parametrize("name", HOSTILE)
def test_what_checks_say_is_bounded(name: str) -> None:
    rows = [behind(name, flake_name=name)] * 2
    systems = status_frame(*rows)
    flake = {"flake_id": 1, "flake_name": name, "systems_total": 7}
    flakes = frame(FLAKE_DEPLOYMENT_STATUS, [flake])
    verdicts = [
        COUNTS_SUM.judge(FlakeCounts(systems, flakes)),
        NO_QUIET_FLAKE.judge(flakes.assign(age_hours=1_000.0)),
    ]
    strange = {"deployment_status": name, "snapshot_at": NOW}
    table = pa.Table.from_pylist(
        [behind(name) | strange] * 2, schema=SYSTEM_DEPLOYMENT_STATUS.arrow_schema
    )
    problems = find_problems(SYSTEM_DEPLOYMENT_STATUS, table)

    assert not any(verdict.passed for verdict in verdicts)
    assert len(problems) > 2
    for text in (*(verdict.description for verdict in verdicts), *(p.text for p in problems)):
        assert_harmless(text)
