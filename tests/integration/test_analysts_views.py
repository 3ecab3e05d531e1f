"""The DuckDB file for analysts: what its views hold, and from where they work."""

import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.analysts import analyst_database
from assets.compute.forges import commit_link, comparison_link
from assets.exports.duckdb_views import LINKS, SNAPSHOTS
from assets.publishing.layout import ANALYSTS_FILE
from assets.schemas import (
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    PUBLISHED_DATASETS,
    QUARANTINE,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)
from tests.integration.pipeline import Pipeline
from tests.integration.test_history_queries import MOST_BEHIND, RECENT, SUMMARY, UNTRACEABLE

Rows = list[tuple[Any, ...]]

COUNT_BEHIND = "SELECT count(*) FROM view_system_deployment_status WHERE commits_behind > 0"


@pytest.fixture
def views(published: Pipeline) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(published.reports_dir / ANALYSTS_FILE, read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    return connection.execute(sql).fetchall()


def rows_in_postgres(pipeline: Pipeline, sql: str) -> Rows:
    options = "-c search_path=flakelag,public"
    with psycopg.connect(pipeline.history_url, options=options) as connection:
        # The document's words, as they stand.
        return connection.execute(sql.encode()).fetchall()


@pytest.fixture(scope="module")
def behind(published: Pipeline) -> int:
    """How many systems are behind."""
    [(count,)] = rows_in_postgres(published, COUNT_BEHIND)
    assert count > 0
    return int(count)


def answer_elsewhere(database: str, folder: Path, sql: str = COUNT_BEHIND) -> int:
    """Asks in a process of its own, which works in the folder."""
    script = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print(connection.execute(sys.argv[2]).fetchone()[0])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, database, sql],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


def copied(published: Pipeline, target: Path) -> Path:
    return shutil.copytree(
        published.reports_dir, target, ignore=shutil.ignore_patterns("_store", "pages")
    )


class TestWhatTheViewsHold:
    def test_every_dataset_has_its_view_and_every_snapshot_its_newest_day(
        self, views: duckdb.DuckDBPyConnection
    ) -> None:
        names = rows(views, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
        assert {name for (name,) in names} == {
            *(dataset.name for dataset in PUBLISHED_DATASETS),
            *(f"latest_{dataset.name}" for dataset in SNAPSHOTS),
            *(f"latest_{dataset.name}_with_links" for dataset in LINKS),
            "view_system_deployment_status",
            "deployment_history_with_end",
        }

    @pytest.mark.parametrize("dataset", PUBLISHED_DATASETS, ids=lambda dataset: dataset.name)
    def test_a_view_holds_the_rows_of_every_day(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline, dataset: Dataset
    ) -> None:
        for date in published.reports.published_dates(dataset):
            shown = views.sql(f"SELECT * EXCLUDE (date) FROM {dataset.name} WHERE date = '{date}'")
            expected = published.reports.read(dataset, date)
            # Instants come in the session's time zone, and without the columns' descriptions.
            assert shown.to_arrow_table().cast(expected.schema).equals(expected)

    @pytest.mark.parametrize("dataset", SNAPSHOTS, ids=lambda dataset: dataset.name)
    def test_the_newest_day_is_that_of_the_newest_file(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline, dataset: Dataset
    ) -> None:
        newest = published.reports.published_dates(dataset)[-1]
        expected = published.reports.read(dataset, newest).num_rows
        [(count, dates)] = rows(
            views, f"SELECT count(*), list(DISTINCT date) FROM latest_{dataset.name}"
        )
        assert count == expected
        assert dates in ([newest], [], None)

    def test_links_lead_to_the_forge_of_each_flake(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline
    ) -> None:
        templates = {
            row["flake_id"]: row for row in published.published(FLAKE_DEPLOYMENT_STATUS).to_pylist()
        }
        system = published.published(SYSTEM_DEPLOYMENT_STATUS).to_pylist()
        shown = views.execute(
            "SELECT hostname, current_commit_url, latest_commit_url, comparison_url "
            "FROM latest_system_deployment_status_with_links"
        ).fetchall()
        links = {hostname: tuple(urls) for hostname, *urls in shown}

        assert links.keys() == {row["hostname"] for row in system}
        assert any(None not in urls for urls in links.values())
        for row in system:
            flake = templates.get(row["flake_id"], {})
            current, latest = row["current_commit_hash"], row["latest_commit_hash"]
            own = current if row["unknown_reason"] != "flake_mismatch" else None
            assert links[row["hostname"]] == (
                commit_link(flake.get("commit_url_template"), own),
                commit_link(flake.get("commit_url_template"), latest),
                comparison_link(flake.get("comparison_url_template"), own, latest),
            )

    def test_the_document_view_is_that_of_postgresql(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline
    ) -> None:
        """The same columns and rows in the same order."""
        shown = views.execute("SELECT * FROM view_system_deployment_status")
        columns = [name for name, *_ in shown.description or []]
        with psycopg.connect(published.history_url) as connection:
            kept = connection.execute("SELECT * FROM flakelag.view_system_deployment_status")
            assert columns == [column.name for column in kept.description or []]
            assert shown.fetchall() == kept.fetchall() != []

    def test_deployments_end_as_in_postgresql(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline
    ) -> None:
        sql = """
            SELECT hostname, system_state_id, deployed_at, ended_at
            FROM deployment_history_with_end ORDER BY deployed_at, hostname, system_state_id
        """
        shown = rows(views, sql)
        assert shown == rows_in_postgres(published, sql)
        assert {ended_at is None for *_, ended_at in shown} == {True, False}

    @pytest.mark.parametrize("dataset", PUBLISHED_DATASETS, ids=lambda dataset: dataset.name)
    def test_views_and_columns_say_what_they_are(
        self, views: duckdb.DuckDBPyConnection, dataset: Dataset
    ) -> None:
        [(described,)] = rows(
            views, f"SELECT comment FROM duckdb_views() WHERE view_name = '{dataset.name}'"
        )
        assert described.startswith(dataset.description)
        comments: dict[str, str] = dict(
            rows(
                views,
                "SELECT column_name, comment FROM duckdb_columns() "
                f"WHERE table_name = '{dataset.name}'",
            )
        )
        for column in dataset.columns:
            assert comments[column.name].startswith(column.description)
            assert (column.unit or "") in comments[column.name]
        undescribed = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL"
        assert rows(views, undescribed) == []


class TestTheDocumentsQueries:
    """As they stand in the document."""

    @pytest.mark.parametrize("query", [MOST_BEHIND, SUMMARY, UNTRACEABLE])
    def test_give_what_they_give_in_postgresql(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline, query: str
    ) -> None:
        found = rows(views, query)
        assert sorted(found, key=str) == sorted(rows_in_postgres(published, query), key=str)
        assert found != []

    def test_find_the_systems_deployed_in_the_last_day(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline
    ) -> None:
        """The question's "now" moves on from one database to the other."""
        before = rows_in_postgres(published, RECENT)
        found = rows(views, RECENT)
        after = rows_in_postgres(published, RECENT)
        assert set(after) <= set(found) <= set(before)
        times = [deployed_at for *_, deployed_at in found]
        assert times == sorted(times, reverse=True)


class TestWhereTheViewsWork:
    def test_from_any_folder_and_for_several_at_once(
        self, views: duckdb.DuckDBPyConnection, published: Pipeline, behind: int, tmp_path: Path
    ) -> None:
        reports = published.reports_dir
        assert rows(views, COUNT_BEHIND) == [(behind,)]
        assert answer_elsewhere(str(reports / ANALYSTS_FILE), tmp_path) == behind
        assert answer_elsewhere(ANALYSTS_FILE, reports) == behind
        assert answer_elsewhere(f"{reports.name}/{ANALYSTS_FILE}", reports.parent) == behind
        assert answer_elsewhere(f"../{ANALYSTS_FILE}", reports / DEPLOYMENTS.name) == behind

    @pytest.mark.parametrize("name", ["moved", "it's [1] of *, env=prod"])
    def test_after_the_tree_was_moved(
        self, published: Pipeline, behind: int, tmp_path: Path, name: str
    ) -> None:
        first = copied(published, tmp_path / "first")
        moved = first.rename(tmp_path / name)
        # A second tree, empty, where a path that was not moved along would lead.
        copied(published, first)
        shutil.rmtree(first / SYSTEM_DEPLOYMENT_STATUS.name)
        assert answer_elsewhere(str(moved / ANALYSTS_FILE), tmp_path) == behind

    def test_where_nothing_may_be_written(self, published: Pipeline, behind: int) -> None:
        with read_only_copy(published) as reports:
            with pytest.raises(PermissionError):
                (reports / "new").touch()
            with duckdb.connect(reports / ANALYSTS_FILE, read_only=True) as connection:
                assert rows(connection, COUNT_BEHIND) == [(behind,)]

    def test_nothing_is_written_by_reading(
        self, published: Pipeline, behind: int, tmp_path: Path
    ) -> None:
        reports = copied(published, tmp_path / "reports")
        before = sorted(reports.rglob("*"))
        assert answer_elsewhere(str(reports / ANALYSTS_FILE), tmp_path) == behind
        assert sorted(reports.rglob("*")) == before

    def test_attached_to_another_database_by_saying_where_the_reports_are(
        self, published: Pipeline, behind: int, tmp_path: Path
    ) -> None:
        with duckdb.connect(tmp_path / "mine.duckdb") as connection:
            database = published.reports_dir / ANALYSTS_FILE
            connection.execute(f"ATTACH '{database}' AS fleet (READ_ONLY)")
            connection.execute(f"SET VARIABLE flakelag_reports = '{published.reports_dir}'")
            found = rows(connection, COUNT_BEHIND.replace("view_", "fleet.view_"))
        assert found == [(behind,)]

    def test_where_only_some_datasets_are_published(
        self, published: Pipeline, behind: int, tmp_path: Path
    ) -> None:
        reports = copied(published, tmp_path / "reports")
        shutil.rmtree(reports / FLAKE_DEPLOYMENT_STATUS.name)
        with duckdb.connect(reports / ANALYSTS_FILE, read_only=True) as connection:
            assert rows(connection, COUNT_BEHIND) == [(behind,)]
            with pytest.raises(duckdb.IOException, match="flake_deployment_status/date="):
                connection.execute("FROM flake_deployment_status")


class TestDays:
    @pytest.fixture
    def reports(self, tmp_path: Path) -> Path:
        (tmp_path / ANALYSTS_FILE).write_bytes(analyst_database())
        return tmp_path

    def test_a_newest_day_without_a_row_has_none(self, reports: Path) -> None:
        row = {
            "source_table": "public.systems",
            "row_number": 1,
            "source_column": "hostname",
            "reason": "empty_hostname",
            "raw_text": "",
            "extracted_at": dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC),
        }
        table = pa.Table.from_pylist([row], QUARANTINE.arrow_schema)
        write_day(reports, QUARANTINE, "2026-01-01", table)
        write_day(reports, QUARANTINE, "2026-01-02", table.slice(1))
        with duckdb.connect(reports / ANALYSTS_FILE, read_only=True) as connection:
            assert rows(connection, "SELECT count(*) FROM quarantine") == [(1,)]
            assert rows(connection, "FROM latest_quarantine") == []

    def test_days_from_before_a_column_was_added_have_null_in_it(self, reports: Path) -> None:
        row = {
            "deployed_at": dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC),
            "hostname": "web",
            "system_state_id": 1,
            "deployment_kind": "upgrade",
            "derivation_path": "/nix/store/web",
            "commits_included": 3,
        }
        table = pa.Table.from_pylist([row], DEPLOYMENTS.arrow_schema)
        write_day(reports, DEPLOYMENTS, "2026-01-01", table.drop_columns("commits_included"))
        write_day(reports, DEPLOYMENTS, "2026-01-02", table)
        with duckdb.connect(reports / ANALYSTS_FILE, read_only=True) as connection:
            found = rows(connection, "SELECT commits_included FROM deployments ORDER BY date")
        assert found == [(None,), (3,)]


def test_the_file_depends_on_the_datasets_alone() -> None:
    assert analyst_database() == analyst_database()


def test_every_duckdb_since_1_0_knows_the_files_format(
    views: duckdb.DuckDBPyConnection,
) -> None:
    [(version,)] = rows(
        views,
        "SELECT tags['storage_version'] FROM duckdb_databases() "
        "WHERE database_name = current_database()",
    )
    assert version == "v1.0.0+"


def write_day(reports: Path, dataset: Dataset, day: str, table: pa.Table) -> None:
    partition = reports / dataset.name / f"date={day}"
    partition.mkdir(parents=True)
    pq.write_table(table, partition / "data.parquet")


@contextmanager
def read_only_copy(published: Pipeline) -> Iterator[Path]:
    """A copy that the process may not write to, even if it is root's."""
    # Not below pytest's folder: only its owner may enter that.
    with tempfile.TemporaryDirectory(prefix="flakelag-test-") as folder:
        reports = copied(published, Path(folder, "reports"))
        entries = [Path(folder), reports, *reports.rglob("*")]
        for entry in entries:
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield reports
        finally:
            os.seteuid(user)
            for entry in entries:
                entry.chmod(0o755)
