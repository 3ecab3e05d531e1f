"""`flakelag history HOST`: one host's deployments, put together from all published days."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assets.publishing.display import display_name
from pipelines.commands.history import history
from tests.snapshots import deployment_row, publish_deployments, publish_status, status_row

DAY = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def days_later(days: float) -> dt.datetime:
    return DAY + dt.timedelta(days=days)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A host that was installed, upgraded, rolled back and then ran something untraced."""
    publish_deployments(
        tmp_path,
        deployment_row(
            "web-1",
            DAY,
            system_state_id=1,
            deployment_kind="initial",
            flake_name="infra",
            commit_hash="a" * 40,
            lead_time_seconds=7_500.0,
        ),
        deployment_row(
            "web-1",
            days_later(1),
            system_state_id=2,
            flake_name="infra",
            commit_hash="b" * 40,
            previous_commit_hash="a" * 40,
            commits_included=3,
            lead_time_seconds=-90.0,
        ),
        deployment_row("web-10", days_later(1), system_state_id=3),
        deployment_row(
            "web-1",
            days_later(1.25),
            system_state_id=4,
            deployment_kind="rollback",
            flake_name="infra",
            commit_hash="a" * 40,
        ),
        deployment_row("web-1", days_later(2), system_state_id=5, deployment_kind="untraced"),
        deployment_row("web-10", days_later(2.9), system_state_id=6),
    )
    publish_status(
        tmp_path,
        "2026-11-23",
        status_row("web-1", deployment_time=days_later(2)),
        status_row("web-2", deployment_status="no_deployment"),
        status_row("Database-1"),
    )
    return tmp_path


def call(reports: Path, *arguments: str) -> Result:
    return CliRunner().invoke(history, [*arguments, "--reports-dir", str(reports)])


def rows_of(output: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in output.split("\n")[3:] if line]


def test_tells_how_each_deployment_went_newest_first(reports: Path) -> None:
    result = call(reports, "web-1")
    heading, newest, *others = rows_of(result.output)

    assert result.exit_code == 0
    assert result.output.startswith("web-1. Published deployments: 4, of these rollbacks: 1. ")
    assert result.output.split("\n")[1] == "Published days: 2026-11-20 to 2026-11-23."
    assert heading == [
        "DEPLOYED", "KIND", "FLAKE", "COMMIT", "COMMITS", "LEAD", "RAN", "OUTCOME",
    ]  # fmt: skip
    assert newest[:6] == ["2026-11-22 12:00 UTC", "untraced", "-", "-", "-", "-"]
    assert newest[-1] == "running"
    assert others == [
        ["2026-11-21 18:00 UTC", "rollback", "infra", "a" * 40, "-", "-", "18h 0m", "replaced"],
        [
            "2026-11-21 12:00 UTC",
            "upgrade",
            "infra",
            "b" * 40,
            "3",
            "-1m 30s",
            "6h 0m",
            "rolled back",
        ],
        ["2026-11-20 12:00 UTC", "initial", "infra", "a" * 40, "-", "2h 5m", "1d 0h", "replaced"],
    ]


def test_limits_to_the_newest(reports: Path) -> None:
    result = call(reports, "web-1", "--limit", "2")

    assert [row[1] for row in rows_of(result.output)] == ["KIND", "untraced", "rollback"]
    assert "deployments: 4" in result.output


def test_json_has_the_documented_shape(reports: Path) -> None:
    answer: Any = json.loads(call(reports, "web-1", "--json").output)
    newest, _, upgrade, _ = answer["deployments"]

    assert answer["hostname"] == "web-1"
    assert newest["outcome"] == "running"
    assert newest["ended_at"] is None
    assert newest["ended_at_known"] is True
    assert newest["ran_seconds"] is None
    assert newest["source"] == "deployments"
    assert answer["published_days"] == {
        "first": "2026-11-20", "last": "2026-11-23", "missing": [],
    }  # fmt: skip
    assert upgrade["outcome"] == "rolled back"
    assert upgrade["deployed_at"] == "2026-11-21T12:00:00.000000Z"
    assert upgrade["ended_at"] == "2026-11-21T18:00:00.000000Z"
    assert upgrade["ran_seconds"] == 6 * 3600
    assert upgrade["lead_time_seconds"] == -90.0
    assert upgrade["commit_hash"] == "b" * 40


def test_two_deployments_of_one_instant_are_in_the_order_of_their_states(tmp_path: Path) -> None:
    publish_deployments(
        tmp_path,
        deployment_row("web-1", DAY, system_state_id=8, deployment_kind="rollback"),
        deployment_row("web-1", DAY, system_state_id=7),
    )

    rows = rows_of(call(tmp_path, "web-1").output)[1:]

    assert [row[1] for row in rows] == ["rollback", "upgrade"]
    assert rows[1][-1] == "rolled back"


def test_a_host_that_was_never_deployed_is_known(reports: Path) -> None:
    result = call(reports, "web-2")

    assert result.exit_code == 0
    assert result.output == "web-2 has never been deployed.\n"
    assert json.loads(call(reports, "web-2", "--json").output)["deployments"] == []


@pytest.mark.parametrize(
    ("host", "suggested"),
    [("wbe-1", "web-1"), ("database", "Database-1"), ("web-11", "web-10"), ("web", "web-1")],
)
def test_an_unknown_host_is_answered_with_those_alike(
    reports: Path, host: str, suggested: str
) -> None:
    result = call(reports, host)

    assert result.exit_code == 2
    assert f"{host} is not among the 4 hosts" in result.output
    assert suggested in result.output.split("Did you mean ")[1]


@pytest.mark.parametrize("host", ["", "\udcff", "\x1b[31m", "%", ".*", "zzzzzz"])
def test_what_is_no_host_is_unknown_and_not_obeyed(reports: Path, host: str) -> None:
    result = call(reports, host)

    assert result.exit_code == 2
    assert f"{display_name(host)} is not among the 4 hosts" in result.output
    assert host.isprintable() or host not in result.output


def test_without_a_snapshot_the_deployments_tell_which_hosts_there_are(tmp_path: Path) -> None:
    publish_deployments(tmp_path, deployment_row("web-1", DAY))

    assert "Did you mean web-1?" in call(tmp_path, "web-2").output


def test_without_deployments_it_says_what_to_do(tmp_path: Path) -> None:
    result = call(tmp_path, "web-1")

    assert result.exit_code == 2
    assert "make report" in result.output


class TestDaysThatAreNotPublished:
    """What the published days can't tell is not stated."""

    def test_what_runs_since_before_the_first_published_day_is_told_by_the_snapshot(
        self, tmp_path: Path
    ) -> None:
        publish_deployments(tmp_path, deployment_row("web-2", days_later(3)))
        publish_status(
            tmp_path,
            "2026-11-23",
            status_row(
                "web-1",
                deployment_time=dt.datetime(2026, 8, 28, 9, 0, tzinfo=dt.UTC),
                current_derivation_path="/nix/store/1-nixos-system",
                current_flake_name="infra",
                current_commit_hash="c" * 40,
            ),
        )

        result = call(tmp_path, "web-1")
        answer: Any = json.loads(call(tmp_path, "web-1", "--json").output)

        assert result.exit_code == 0
        assert "never" not in result.output
        assert (
            "Published days: 2026-11-23 to 2026-11-23; deployments of other days are not shown. "
            "`make backfill FROM=2026-08-28` fills them."
        ) in result.output
        (row,) = rows_of(result.output)[1:]
        assert row[:6] == ["2026-08-28 09:00 UTC", "-", "infra", "c" * 40, "-", "-"]
        assert row[-1] == "running"
        (current,) = answer["deployments"]
        assert current["source"] == "snapshot"
        assert current["deployment_kind"] is None
        assert current["derivation_path"] == "/nix/store/1-nixos-system"

    def test_a_deployment_that_the_snapshot_knows_to_have_ended_does_not_run(
        self, reports: Path
    ) -> None:
        publish_status(
            reports,
            "2026-11-26",
            status_row("web-1", deployment_time=days_later(4), current_commit_hash="c" * 40),
        )

        result = call(reports, "web-1")
        answer: Any = json.loads(call(reports, "web-1", "--json").output)

        assert (
            "Published days: 2026-11-20 to 2026-11-26, 3 days missing (2026-11-24 to 2026-11-26); "
            "deployments of other days are not shown. `make backfill FROM=2026-11-24` fills them."
        ) in result.output
        current, ended = rows_of(result.output)[1:3]
        assert (current[0], current[3], current[-1]) == (
            "2026-11-24 12:00 UTC",
            "c" * 40,
            "running",
        )
        assert (ended[1], ended[-2:]) == ("untraced", ["-", "unknown"])
        assert answer["published_days"]["missing"] == ["2026-11-24", "2026-11-25", "2026-11-26"]
        assert answer["deployments"][1]["ended_at"] is None
        assert answer["deployments"][1]["ended_at_known"] is False
        assert answer["deployments"][1]["ran_seconds"] is None

    @pytest.mark.parametrize(
        ("deployment_time", "outcome"),
        [(days_later(2), "running"), (None, "unknown")],
        ids=["the snapshot knows that it runs", "the host is gone from the snapshot"],
    )
    def test_over_missing_days_only_the_snapshot_knows_what_runs(
        self, reports: Path, deployment_time: dt.datetime | None, outcome: str
    ) -> None:
        hostname = "web-1" if deployment_time else "web-2"
        publish_status(reports, "2026-11-26", status_row(hostname, deployment_time=deployment_time))

        assert rows_of(call(reports, "web-1").output)[1][-1] == outcome

    def test_what_lies_between_two_deployments_over_missing_days_is_unknown(
        self, tmp_path: Path
    ) -> None:
        publish_deployments(
            tmp_path,
            deployment_row("web-1", DAY, system_state_id=1, deployment_kind="initial"),
            deployment_row("web-1", days_later(1), system_state_id=2),
            deployment_row("web-1", days_later(3), system_state_id=3, deployment_kind="rollback"),
        )

        result = call(tmp_path, "web-1")

        assert "1 day missing (2026-11-22);" in result.output
        assert [row[-1] for row in rows_of(result.output)[1:]] == ["running", "unknown", "replaced"]

    def test_a_host_whose_deployments_are_all_missing_was_not_never_deployed(
        self, reports: Path
    ) -> None:
        result = call(reports, "Database-1")

        assert "never" not in result.output
        assert "Published deployments: 0" in result.output


def test_waits_for_neither_pandas_nor_dagster(reports: Path) -> None:
    """Their imports alone would take longer than the second in which it has to answer."""
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "history", "web-1", "--reports-dir", str(reports)],
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    imported = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.split("\n")}
    assert result.returncode == 0
    assert "pyarrow.parquet" in imported
    assert not imported & {"pandas", "dagster"}
