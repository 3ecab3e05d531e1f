"""Which flakes have gone quiet."""

import datetime as dt

import pandas as pd
import pyarrow as pa

from assets.compute.flake_freshness import quiet_flakes
from assets.compute.fleet import FleetTables
from assets.compute.timeline import FleetTimeline, index_fleet
from assets.schemas import SOURCE_TABLES

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _timeline(hours_of_commits: dict[str, list[int]]) -> FleetTimeline:
    rows: dict[str, list[dict[str, object]]] = {table.name: [] for table in SOURCE_TABLES}
    for flake_id, (name, hours) in enumerate(hours_of_commits.items(), start=1):
        rows["flakes"].append({"id": flake_id, "name": name, "repo_url": name})
        for hour in hours:
            commit_id = len(rows["commits"]) + 1
            rows["commits"].append(
                {
                    "id": commit_id,
                    "flake_id": flake_id,
                    "git_commit_hash": f"{commit_id:040x}",
                    "commit_timestamp": START + dt.timedelta(hours=hour),
                }
            )
    return index_fleet(
        FleetTables.from_arrow(
            {
                table.name: pa.Table.from_pylist(rows[table.name], schema=table.arrow_schema)
                for table in SOURCE_TABLES
            }
        )
    )


def _rows_at(hour: int, hours_of_commits: dict[str, list[int]]) -> pd.DataFrame:
    at = pd.Timestamp(START + dt.timedelta(hours=hour))
    return quiet_flakes(_timeline(hours_of_commits), at)


def _quiet_at(hour: int, hours_of_commits: dict[str, list[int]]) -> list[str]:
    return list(_rows_at(hour, hours_of_commits)["flake_name"])


def test_a_flake_is_quiet_after_a_week_and_five_usual_gaps() -> None:
    daily = {"daily": [0, 24, 48, 72, 96]}
    assert _quiet_at(96 + 168, daily) == []
    assert _quiet_at(96 + 169, daily) == ["daily"]


def test_a_slow_flake_is_given_more_time() -> None:
    weekly = {"weekly": [0, 168, 336, 504, 672]}
    assert _quiet_at(672 + 5 * 168, weekly) == []
    assert _quiet_at(672 + 5 * 168 + 1, weekly) == ["weekly"]


def test_four_commits_show_no_rhythm() -> None:
    assert _quiet_at(100_000, {"young": [0, 1, 2, 3]}) == []


def test_a_commit_that_is_not_visible_yet_does_not_make_a_flake_fresh() -> None:
    assert _quiet_at(1000, {"web": [0, 1, 2, 3, 4, 1000]}) == ["web"]


def test_the_quietest_flake_comes_first() -> None:
    assert _quiet_at(2000, {"a": [10, 11, 12, 13, 14], "b": [0, 1, 2, 3, 4]}) == ["b", "a"]


def test_a_quiet_flake_is_told_with_its_age_and_its_rhythm() -> None:
    rows = _rows_at(2000, {"fresh": [2000], "quiet": [0, 24, 48, 72, 96]})

    assert rows.to_dict("records") == [
        {"flake_id": 2, "flake_name": "quiet", "age_hours": 1904.0, "usual_gap_hours": 24.0}
    ]
