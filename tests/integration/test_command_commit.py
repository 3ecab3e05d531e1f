"""`flakelag commit HASH`: where a commit has arrived, by the published files alone."""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assets.schemas import COMMIT_ROLLOUTS, DEPLOYMENTS, FLAKE_DEPLOYMENT_STATUS
from pipelines.commands.commit import commit
from tests.snapshots import (
    SNAPSHOT_AT,
    deployment_row,
    flake_row,
    publish_deployments,
    publish_rows,
    publish_status,
    rollout_row,
    status_row,
)

TODAY = SNAPSHOT_AT.date().isoformat()
FIRST, SECOND, THIRD, REWRITTEN, FUTURE, FORKED = (
    f"{number:x}".rjust(8, "a") + 32 * "0" for number in range(1, 7)
)


def ago(hours: float) -> dt.datetime:
    return SNAPSHOT_AT - dt.timedelta(hours=hours)


def on(commit_hash: str, made_at: dt.datetime) -> dict[str, Any]:
    return {"current_commit_hash": commit_hash, "current_commit_timestamp": made_at}


MADE = {
    FIRST: ago(30),
    SECOND: ago(20),
    THIRD: ago(10),
    REWRITTEN: ago(15),
    FUTURE: ago(-10),
    FORKED: ago(20),
}
BEHIND = {"deployment_status": "behind", "commits_behind": 1, "hours_behind": 10.0}
SYSTEMS = (
    status_row("newest", **on(THIRD, MADE[THIRD])),
    status_row("second", environment="prod", behind_reason="pinned", **BEHIND)
    | on(SECOND, MADE[SECOND]),
    status_row("first", environment="prod", behind_reason="not_applied", **BEHIND)
    | on(FIRST, MADE[FIRST])
    | {"commits_behind": 2},
    status_row("went-back", environment="prod", behind_reason="not_applied", **BEHIND)
    | on(FIRST, MADE[FIRST])
    | {"commits_behind": 2},
    status_row("away", **BEHIND) | on(REWRITTEN, MADE[REWRITTEN]),
    status_row("ahead", deployment_status="ahead", **on(FUTURE, MADE[FUTURE])),
    status_row(
        "moved",
        deployment_status="unknown",
        unknown_reason="flake_mismatch",
        commits_behind=None,
        current_flake_name="desktops",
        **on(FORKED, MADE[FORKED]),
    ),
    status_row("new", deployment_status="no_deployment", commits_behind=None),
    status_row("other", flake_id=2, flake_name="desktops", **on(FORKED, MADE[FORKED])),
)
DEPLOYED = {"flake_id": 1, "flake_name": "infra"}


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    publish_status(tmp_path, TODAY, *SYSTEMS)
    publish_rows(
        tmp_path,
        FLAKE_DEPLOYMENT_STATUS,
        TODAY,
        flake_row(
            1,
            commit_url_template="https://forge.example/infra/commit/{commit}",
            comparison_url_template="https://forge.example/infra/compare/{base}...{head}",
        ),
        flake_row(2, flake_name="desktops"),
    )
    publish_rows(
        tmp_path,
        COMMIT_ROLLOUTS,
        TODAY,
        rollout_row(FORKED, MADE[FORKED], commit_id=9, flake_id=2, flake_name="desktops"),
        rollout_row(THIRD, MADE[THIRD], commit_id=3, hosts_reached=2),
        rollout_row(
            SECOND,
            MADE[SECOND],
            commit_id=2,
            hosts_reached=5,
            first_deployed_at=ago(19),
            reached_50_percent_at=ago(12),
        ),
        rollout_row(FIRST, MADE[FIRST], commit_id=1, hosts_reached=6),
    )
    publish_deployments(
        tmp_path,
        deployment_row("went-back", ago(5), commit_hash=THIRD, commit_timestamp=MADE[THIRD])
        | DEPLOYED,
        deployment_row("went-back", ago(4), commit_hash=FIRST, commit_timestamp=MADE[FIRST])
        | DEPLOYED,
        deployment_row("first", ago(25), commit_hash=FIRST, commit_timestamp=MADE[FIRST])
        | DEPLOYED,
    )
    return tmp_path


def call(reports: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commit, [*arguments, "--reports-dir", str(reports)])


def answer(reports: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(reports, *arguments, "--json").stdout)
    return found


def names(rows: Iterable[dict[str, Any]]) -> set[str]:
    return {row["hostname"] for row in rows}


def test_who_runs_it_or_a_later_one_and_who_does_not(reports: Path) -> None:
    found = answer(reports, SECOND)
    assert found["systems_running"] == 4
    assert names(found["missing"]) == {"first", "went-back", "moved", "new"}
    assert {row["hostname"]: row["reason"] for row in found["missing"]} == {
        "first": "not_applied",
        "went-back": "not_applied",
        "moved": "flake_mismatch",
        "new": "no_deployment",
    }
    assert names(row for row in found["missing"] if row["went_back"]) == {"went-back"}
    assert [row["commit_hash"] for row in found["later"]] == [THIRD]
    assert found["commit"]["reached_50_percent_at"] == ago(12).isoformat().replace(
        "+00:00", ".000000Z"
    )
    assert found["is_on_branch"]


def test_a_prefix_is_enough_whatever_its_case(reports: Path) -> None:
    assert answer(reports, SECOND[:8].upper()) == answer(reports, SECOND)


def test_the_first_commit_has_all_later_ones_after_it_in_order(reports: Path) -> None:
    assert [row["commit_hash"] for row in answer(reports, FIRST)["later"]] == [SECOND, THIRD]


def test_links_to_the_commit_and_from_each_system_to_it(reports: Path) -> None:
    found = answer(reports, SECOND)
    assert found["url"] == f"https://forge.example/infra/commit/{SECOND}"
    links = {row["hostname"]: row["url"] for row in found["missing"]}
    assert links == {
        "first": f"https://forge.example/infra/compare/{FIRST}...{SECOND}",
        "went-back": f"https://forge.example/infra/compare/{FIRST}...{SECOND}",
        "moved": None,
        "new": None,
    }
    assert answer(reports, FORKED)["url"] is None


def test_a_commit_that_was_rewritten_away_is_found_where_it_runs(reports: Path) -> None:
    found = answer(reports, REWRITTEN)
    assert not found["is_on_branch"]
    assert found["is_visible"]
    assert found["systems_running"] == 3  # "newest", "ahead" and itself
    assert "not on the branch" in call(reports, REWRITTEN).stdout


def test_a_commit_of_the_future_is_not_counted_yet(reports: Path) -> None:
    assert not answer(reports, FUTURE)["is_visible"]
    assert "dated after the snapshot" in call(reports, FUTURE).stdout


def test_a_commit_that_only_a_published_deployment_knows_is_found(reports: Path) -> None:
    gone = "b" * 40
    publish_deployments(
        reports,
        deployment_row("first", ago(50), commit_hash=gone, commit_timestamp=ago(60)) | DEPLOYED,
    )
    assert answer(reports, gone)["commit"]["commit_hash"] == gone


def test_the_text_has_everything_a_person_asks(reports: Path) -> None:
    text = call(reports, SECOND).stdout
    assert f"Commit {SECOND} of infra" in text
    assert "Of 8 systems of the flake, 4 run it or a later commit." in text
    table = {tuple(line.split()[:4]) for line in text.splitlines()}
    assert ("prod", "not_applied", "2", "1") in table
    assert ("-", "flake_mismatch", "1", "0") in table
    assert "After it came 1" in text
    assert "half" in text


def test_exit_status_says_whether_it_is_everywhere(reports: Path) -> None:
    assert call(reports, SECOND).exit_code == 1
    assert call(reports, FORKED).exit_code == 0
    assert call(reports, "ffffffff").exit_code == 2


def test_several_commits_are_named_and_the_flake_chooses(reports: Path) -> None:
    publish_rows(
        reports,
        COMMIT_ROLLOUTS,
        TODAY,
        rollout_row(FORKED, MADE[FORKED], commit_id=9, flake_id=2, flake_name="desktops"),
        rollout_row(FORKED, MADE[FORKED], commit_id=3),
    )
    result = call(reports, FORKED)
    assert result.exit_code == 2
    assert "2 commits begin with" in result.stderr
    assert "desktops" in result.stderr
    assert answer(reports, FORKED, "--flake", "desktops")["commit"]["flake_id"] == 2


@pytest.mark.parametrize("wrong", ["abc", "", "xyzw", "aaaa; DROP", "\udcff" * 8])
def test_what_is_no_beginning_of_a_hash_is_refused(reports: Path, wrong: str) -> None:
    result = call(reports, wrong)
    assert result.exit_code == 2
    assert "not the beginning of a git hash" in result.stderr


def test_what_is_not_published_is_said(reports: Path) -> None:
    assert "No commit that is published begins with ffffffff" in call(reports, "ffffffff").stderr
    for file in reports.glob(f"{DEPLOYMENTS.name}/*/*.parquet"):
        file.unlink()
    assert f"No {DEPLOYMENTS.name} is published" in call(reports, SECOND).stderr


def test_it_needs_neither_dagster_nor_pandas(reports: Path) -> None:
    program = (
        "import sys; from pipelines.cli import main\n"
        f"try: main(['commit', {SECOND!r}, '--reports-dir', {str(reports)!r}])\n"
        "except SystemExit: pass\n"
        "sys.exit('pandas' in sys.modules or 'dagster' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
