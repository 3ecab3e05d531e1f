"""The benchmark at a tiny size: both of its ways give the same rows. How fast is not tested."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipelines.demo.fleet import DemoFleet
from tests.benchmark import computation, handwritten, source
from tests.benchmark.__main__ import benchmark
from tests.benchmark.rows import find_differences, write_rows

UNTIL = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_hand_written_sql_gives_the_rows_that_are_computed_at_any_instant(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    spec = DemoFleet(
        until=UNTIL,
        systems=150,
        flakes=6,
        commits=400,
        package_derivations=500,
        days=40,
        generation="newer",
    )
    url = new_database()
    source.load(url, spec)
    source.extract(url, tmp_path, repetitions=1)
    for days_before in (0, 7, 33, 50):
        snapshot_at = UNTIL - timedelta(days=days_before)
        ours, theirs = tmp_path / f"ours-{days_before}", tmp_path / f"theirs-{days_before}"
        computation.compute(tmp_path, snapshot_at, ours, repetitions=1)
        handwritten.run(url, snapshot_at, theirs, repetitions=1)
        for name in handwritten.STATEMENTS:
            assert find_differences(ours, theirs, name) == []


def test_rows_that_differ_are_counted_by_column(tmp_path: Path) -> None:
    columns = {"host": ["a", "b", "c"], "behind": [1, None, 3], "hours": [0.5, None, 2.0]}
    write_rows(tmp_path / "ours", "status", pa.table(columns))
    columns |= {"behind": [1, 0, 4], "hours": [0.5 + 1e-14, 0.0, 2.0]}
    write_rows(tmp_path / "theirs", "status", pa.table(columns))
    assert find_differences(tmp_path / "ours", tmp_path / "theirs", "status") == [
        "status.behind: 2 rows differ",
        "status.hours: 1 rows differ",
    ]
    write_rows(tmp_path / "theirs", "status", pa.table({"host": ["a"]}))
    assert find_differences(tmp_path / "ours", tmp_path / "theirs", "status") == [
        "status: 3 rows, 1 by SQL"
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "Both ways give the same rows."),
        (["--no-sql"], "index, once for all instants"),
        (["--backfill", "2"], "2 days in all"),
        (["--heartbeats", "2000"], "using agent_heartbeats_system_state_id_timestamp_idx"),
        (["--records", "2", "--minutes", "480"], "Dagster's records in PostgreSQL"),
    ],
)
def test_make_bench(options: list[str], expected: str) -> None:
    sizes = ["--systems", "40", "--flakes", "4", "--commits", "120", "--repetitions", "1"]
    result = CliRunner().invoke(benchmark, [*sizes, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert expected in result.output
