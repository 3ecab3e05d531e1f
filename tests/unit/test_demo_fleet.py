"""The demo fleet: the same from the same seed, as Nix and git write things, and never late."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.compute.fleet import FleetTables
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.compute.vocabulary import DEPLOYMENT_STATUSES, UNKNOWN_REASONS
from assets.schemas import SOURCE_TABLES
from pipelines.demo.commits import apportion
from pipelines.demo.fleet import DemoFleet, generate_fleet, staged_tables
from pipelines.demo.source_schema import Generation

UNTIL = datetime(2026, 11, 23, 9, 30, 15, 123456, tzinfo=UTC)
# All generations, both ends of a day and of a week, other sizes and seeds.
FLEETS = {
    "the demo": DemoFleet(until=UNTIL),
    "newer": DemoFleet(until=UNTIL, generation="newer", seed=6),
    "older": DemoFleet(until=UNTIL, generation="older", seed=7),
    "sunday midnight": DemoFleet(until=datetime(2026, 11, 22, tzinfo=UTC), seed=8),
    "many flakes": DemoFleet(until=UNTIL, systems=500, flakes=40, commits=2000, days=365, seed=9),
    "one of each": DemoFleet(until=UNTIL, systems=1, flakes=1, commits=1, days=10),
}
NIX_PATH = r"^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-"


@pytest.fixture(params=FLEETS)
def spec(request: pytest.FixtureRequest) -> DemoFleet:
    return FLEETS[request.param]


def test_equal_descriptions_give_equal_tables(spec: DemoFleet) -> None:
    first, second = generate_fleet(spec), generate_fleet(spec)
    assert first == second


def test_another_seed_gives_another_fleet() -> None:
    other = generate_fleet(DemoFleet(until=UNTIL, seed=1))
    assert other["commits"] != generate_fleet(FLEETS["the demo"])["commits"]


def test_nothing_is_later_than_the_present_but_commits_of_fast_clocks(spec: DemoFleet) -> None:
    tables = generate_fleet(spec)
    present = pa.scalar(spec.until, pa.timestamp("us", tz="UTC"))
    for name, table in tables.items():
        for column in table.column_names:
            if not pa.types.is_timestamp(table.schema.field(column).type):
                continue
            late = table.filter(pc.greater_equal(table[column], present))
            if column == "commit_timestamp":
                assert 1 <= len(late) <= 3
                assert pc.min(late[column]).as_py() > spec.until + timedelta(days=20)
            else:
                assert len(late) == 0, f"{name}.{column}"


def test_ids_are_given_in_the_order_in_which_rows_arrive(spec: DemoFleet) -> None:
    tables = generate_fleet(spec)
    for name, arrival in (
        ("system_states", "timestamp"),
        ("agent_heartbeats", "timestamp"),
        ("derivations", "scheduled_at"),
    ):
        table = tables[name]
        assert table["id"].to_pylist() == list(range(1, len(table) + 1))
        assert pc.all(pc.less_equal(table[arrival][:-1], table[arrival][1:])).as_py() is not False
    assert tables["commits"]["id"].to_pylist() == list(range(1, len(tables["commits"]) + 1))


def test_hashes_paths_and_names_look_as_git_and_nix_write_them(spec: DemoFleet) -> None:
    tables = generate_fleet(spec)
    hashes = tables["commits"]["git_commit_hash"].to_pylist()
    assert all(re.fullmatch("[0-9a-f]{40}", text) for text in hashes)
    assert len(set(hashes)) == len(hashes)
    derivations = tables["derivations"]
    recipes = derivations["derivation_path"].drop_null()
    assert pc.all(pc.match_substring_regex(recipes, NIX_PATH + r".*\.drv$")).as_py()
    assert pc.count_distinct(recipes).as_py() == len(recipes)
    hostnames = set(tables["systems"]["hostname"].to_pylist())
    assert len(hostnames) == len(tables["systems"])
    assert all(re.fullmatch("[a-z][a-z0-9-]{2,62}", name) for name in hostnames)
    if spec.generation != "older":
        outputs = derivations["store_path"].drop_null()
        assert pc.all(pc.match_substring_regex(outputs, NIX_PATH)).as_py()
        assert not pc.any(pc.ends_with(outputs, ".drv")).as_py()


@pytest.mark.parametrize("generation", get_args(Generation))
def test_columns_are_those_of_the_generation(generation: Generation) -> None:
    tables = generate_fleet(DemoFleet(until=UNTIL, systems=20, generation=generation))
    newer = {
        "commits": {"evaluation_status"},
        "derivations": {"store_path"},
        "systems": {"deployment_policy", "system_configuration_name"},
        "system_states": {"store_path"},
    }
    newest = {
        "flakes": {"branch", "deleted_at", "sync_status", "last_sync_at", "last_sync_error"},
        "commits": {"source_archived"},
        "derivations": {"expected_store_path"},
        "systems": {"desired_target"},
    }
    for added, without in ((newer, ["older"]), (newest, ["newer", "older"])):
        for name, columns in added.items():
            expected = set() if generation in without else columns
            assert columns & set(tables[name].column_names) == expected
    assert ("derivation_path" in tables["system_states"].column_names) is (generation == "older")

    staged = staged_tables(tables, generation)
    newest_tables = {"flake_branch_commit_snapshot", "cache_push_jobs", "agent_heartbeats"}
    every = {dataset.name for dataset in SOURCE_TABLES}
    assert staged.keys() == (every if generation == "newest" else every - newest_tables)
    for dataset in (each for each in SOURCE_TABLES if each.name in staged):
        assert staged[dataset.name].schema.equals(dataset.arrow_schema, check_metadata=True)
    assert set(staged["derivations"]["derivation_type"].to_pylist()) == {"nixos"}


def test_commits_are_made_at_work_and_flakes_differ_in_size() -> None:
    commits = generate_fleet(DemoFleet(until=UNTIL, commits=3000, seed=4))["commits"].to_pandas()
    commits = commits[commits.commit_timestamp < UNTIL]
    at = commits.commit_timestamp.dt
    assert ((at.hour >= 6) & (at.hour <= 21)).mean() > 0.99
    assert (at.day_of_week >= 5).mean() < 0.1
    sizes = commits.groupby("flake_id").size().sort_values(ascending=False)
    assert sizes.iloc[0] > 3 * sizes.iloc[-1]
    assert commits.duplicated(["flake_id", "commit_timestamp"]).any()


def test_sizes_are_as_ordered() -> None:
    spec = DemoFleet(
        until=UNTIL,
        systems=300,
        deployments_per_host=5,
        reports_per_host=7,
        derivations_per_host=3,
        package_derivations=11,
    )
    tables = generate_fleet(spec)
    types = tables["derivations"]["derivation_type"].value_counts().to_pylist()
    counts = {entry["values"]: entry["counts"] for entry in types}
    assert counts["package"] == 11
    assert counts["nixos"] < 300 * (5 + 3) * 2
    hosts = len(set(tables["system_states"]["hostname"].to_pylist()))
    assert len(tables["system_states"]) < hosts * (5 + 7) * 2
    assert sum(apportion(300, 7)) == 300


@pytest.mark.parametrize(("systems", "flakes"), [(40, 4), (200, 6)])
@pytest.mark.parametrize("seed", range(4))
def test_every_status_and_reason_occurs_whatever_the_seed_and_the_hour(
    systems: int, flakes: int, seed: int
) -> None:
    until = UNTIL + timedelta(hours=53 * seed)
    spec = DemoFleet(until=until, systems=systems, flakes=flakes, seed=seed, package_derivations=0)
    tables = FleetTables.from_arrow(staged_tables(generate_fleet(spec), spec.generation))
    now = pd.Timestamp(until)
    status = system_deployment_status(index_fleet(tables), now, now)
    counts = status["deployment_status"].value_counts()
    assert set(counts.index) == set(DEPLOYMENT_STATUSES)
    # A database with its constraints has no row that can't be used.
    unusable = {"registration_unusable", "flake_unusable"}
    assert set(status["unknown_reason"].dropna()) == set(UNKNOWN_REASONS) - unusable
    # Believable: most systems are where they should be, and some are not.
    assert counts["up_to_date"] + counts["behind"] > 0.7 * len(status)


def test_a_fleet_that_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        DemoFleet(until=datetime(2026, 1, 1))  # noqa: DTZ001 -- what is refused
    for field in ("systems", "flakes", "commits", "days"):
        wrong: Any = {field: 0}
        with pytest.raises(ValueError, match="at least one"):
            DemoFleet(until=UNTIL, **wrong)
