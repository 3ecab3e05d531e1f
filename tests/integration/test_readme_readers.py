"""The README's ways to read the snapshots, also where older days lack the newer columns."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from assets.publishing.layout import published_files
from assets.schemas import DEPLOYMENTS, SYSTEM_DEPLOYMENT_STATUS, Dataset
from tests.integration.pipeline import Pipeline
from tests.markdown import ROOT, blocks, run_as_notebook

README = blocks(ROOT / "README.md")


def write_as_before_an_upgrade(reports_dir: Path, dataset: Dataset) -> int:
    """Takes every column that may be null from all days but the newest; gives the days' number."""
    *older, _ = published_files(reports_dir, dataset.name)
    kept = [column.name for column in dataset.columns if not column.nullable]
    for file in older:
        with pq.ParquetFile(file) as parquet:
            rows = parquet.read(kept)
        pq.write_table(rows, file)
    return len(older) + 1


@pytest.fixture(scope="module", params=["as published", "after an upgrade"])
def reports_dir(
    request: pytest.FixtureRequest, published: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("analyst") / "reports"
    shutil.copytree(published.reports_dir, folder)
    if request.param == "after an upgrade":
        for dataset in (SYSTEM_DEPLOYMENT_STATUS, DEPLOYMENTS):
            assert write_as_before_an_upgrade(folder, dataset) > 1
    return folder


@pytest.fixture
def shown(reports_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the Python blocks define, and the last value of each, by the library it imports."""
    monkeypatch.chdir(reports_dir.parent)
    names: dict[str, Any] = {}
    for block in README:
        if block.language == "python":
            value = run_as_notebook(block.text, names)
            names["polars" if "polars" in block.text else "pandas"] = value
    return names


def days_of(reports_dir: Path) -> int:
    return len(published_files(reports_dir, SYSTEM_DEPLOYMENT_STATUS.name))


def test_pandas_reads_the_newest_day_and_all_days(reports_dir: Path, shown: dict[str, Any]) -> None:
    status, every_day = shown["status"], shown["every_day"]
    assert (
        list(status.columns)
        == list(every_day.columns)
        == [column.name for column in SYSTEM_DEPLOYMENT_STATUS.columns]
    )
    assert every_day["snapshot_date"].nunique() == days_of(reports_dir)
    newest = every_day[every_day.snapshot_date == every_day.snapshot_date.max()]
    assert newest["environment"].notna().any()
    assert len(newest) == len(status)


def test_polars_reads_all_days(reports_dir: Path, shown: dict[str, Any]) -> None:
    counted, days = shown["polars"], shown["days"]
    assert counted["snapshot_date"].n_unique() == days_of(reports_dir)
    assert days.collect_schema().names()[:-1] == [
        column.name for column in SYSTEM_DEPLOYMENT_STATUS.columns
    ]


def test_duckdb_reads_all_days(reports_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reports_dir.parent)
    [block] = [block for block in README if block.language == "sql"]
    assert len(duckdb.execute(block.text).fetchall()) == days_of(reports_dir)
    every_column = "FROM read_parquet('{}/*/data.parquet', union_by_name = true)"
    found = duckdb.execute(every_column.format(f"reports/{SYSTEM_DEPLOYMENT_STATUS.name}"))
    columns = {name for name, *_ in found.description or []}
    assert columns >= {column.name for column in SYSTEM_DEPLOYMENT_STATUS.columns}
