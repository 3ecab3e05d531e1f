"""Publishing: what lies where, what is in a file, and what becomes of a file that is there."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets.publishing.conformity import UnpublishableDataError
from assets.publishing.replacement import Outcome
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.store.atomic_files import ReportStoreError
from pipelines.store.report_store import PartitionNotFoundError, ReportStore
from tests.integration.store_writer import (
    DAY,
    NOON,
    VERSIONS,
    partition_file,
    publish_version,
    read_at,
    rows_of,
    stage_extract,
    versions_table,
)
from tests.snapshots import status_row


def published_files(store: ReportStore) -> list[str]:
    """Everything in the root but the store's own folder, and folders that hold nothing."""
    return sorted(
        str(path.relative_to(store.root))
        for path in store.root.rglob("*")
        if path.relative_to(store.root).parts[0] != "_store"
        and (path.is_file() or not any(path.iterdir()))
    )


def close_day(
    store: ReportStore, version: int, *, extracted_at: dt.datetime, **changed: Any
) -> Any:
    """Publishes a version of the day as of its end."""
    return publish_version(store, version, snapshot_at=NOON, extracted_at=extracted_at, **changed)


def test_a_partition_is_one_file_and_nothing_else(store: ReportStore) -> None:
    publication = publish_version(store, 1)
    publish_version(store, 2)
    publish_version(store, 1, date=DAY - dt.timedelta(days=1))

    assert published_files(store) == [
        "versions/date=2026-11-22/data.parquet",
        "versions/date=2026-11-23/data.parquet",
    ]
    assert publication.outcome is Outcome.PUBLISHED
    assert publication.path == partition_file(store.root)
    assert store.published_dates(VERSIONS) == [DAY - dt.timedelta(days=1), DAY]
    earlier = [DAY - dt.timedelta(days=days) for days in (30, 2, 365, 29, 3)]
    for day in earlier:
        publish_version(store, 1, date=day)
    assert store.published_dates(VERSIONS)[:5] == sorted(earlier)


def test_what_was_published_is_read(store: ReportStore) -> None:
    publication = publish_version(store, 3)

    table = store.read(VERSIONS, DAY)
    assert table.equals(versions_table(3))
    assert store.read(VERSIONS, DAY, ["version", "hostname"]).column_names == [
        "version",
        "hostname",
    ]
    assert store.describe(VERSIONS, DAY) == publication.partition
    assert publication.partition.rows == rows_of(3)
    assert publication.partition.bytes == publication.path.stat().st_size
    assert publication.partition.snapshot_at == read_at(3)
    assert publication.partition.extracted_at == read_at(3)


def test_reading_what_is_not_there_says_what_to_do(store: ReportStore) -> None:
    for ask in (store.read, store.describe):
        with pytest.raises(PartitionNotFoundError, match="versions is not published for 2026-11-"):
            ask(VERSIONS, DAY)
    assert not store.has(VERSIONS, DAY)
    publish_version(store, 1)
    assert store.has(VERSIONS, DAY)
    with pytest.raises(KeyError, match="has no column colour"):
        store.read(VERSIONS, DAY, ["colour"])
    assert store.published_dates(SYSTEM_DEPLOYMENT_STATUS) == []


def test_a_store_touches_nothing_before_it_publishes(store: ReportStore) -> None:
    assert store.published_dates(VERSIONS) == []
    assert store.newest_extract() is None
    assert not store.root.exists()


def test_a_file_says_what_it_holds(store: ReportStore) -> None:
    path = publish_version(store, 1).path
    schema = pq.read_schema(path)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)

    assert schema.equals(VERSIONS.arrow_schema)
    assert schema.field("hostname").metadata == {b"description": b"The host."}
    assert schema.field("extracted_at").metadata[b"unit"] == b"UTC"
    assert not schema.field("hostname").nullable
    assert schema.field("extracted_at").type == pa.timestamp("us", "UTC")
    assert schema.metadata == VERSIONS.arrow_schema.metadata | {
        b"snapshot_at": b"2026-11-23T12:00:01+00:00",
        b"extracted_at": b"2026-11-23T12:00:01+00:00",
    }
    assert column.compression == "ZSTD"
    assert not column.has_dictionary_page


def test_the_same_rows_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    written = [publish_version(ReportStore(tmp_path / name), 1).path.read_bytes() for name in "ab"]

    assert written[0] == written[1]


def test_no_rows_are_published_too(store: ReportStore) -> None:
    store.publish(
        VERSIONS,
        DAY,
        VERSIONS.arrow_schema.empty_table(),
        snapshot_at=NOON,
        extracted_at=NOON,
        run_id="run",
    )

    assert store.read(VERSIONS, DAY).num_rows == 0


def test_today_moves_on(store: ReportStore) -> None:
    outcomes = [publish_version(store, version).outcome for version in (1, 2, 3)]

    assert outcomes == [Outcome.PUBLISHED] * 3
    assert store.read(VERSIONS, DAY).equals(versions_table(3))


def test_an_older_extract_ends_quietly(store: ReportStore) -> None:
    published = publish_version(store, 2)
    before = published.path.read_bytes()

    late = publish_version(store, 1)

    assert late.outcome is Outcome.KEPT_NEWER
    assert late.partition == published.partition
    assert published.path.read_bytes() == before


def test_a_closed_day_that_is_run_again_keeps_its_bytes(store: ReportStore) -> None:
    first = close_day(store, 1, extracted_at=read_at(1))
    before = (first.path.read_bytes(), first.path.stat().st_mtime_ns)

    same = close_day(store, 1, extracted_at=read_at(1))
    later = close_day(store, 1, extracted_at=read_at(9))

    assert (same.outcome, later.outcome) == (Outcome.KEPT_UNCHANGED, Outcome.KEPT_UNCHANGED)
    assert (first.path.read_bytes(), first.path.stat().st_mtime_ns) == before
    assert later.partition.extracted_at == read_at(1)


def test_a_confirmed_day_is_not_replaced_by_an_extract_from_before_the_confirmation(
    store: ReportStore,
) -> None:
    close_day(store, 1, extracted_at=read_at(1))
    close_day(store, 1, extracted_at=read_at(9))

    assert close_day(store, 2, extracted_at=read_at(5)).outcome is Outcome.KEPT_NEWER
    assert close_day(store, 2, extracted_at=read_at(10)).outcome is Outcome.PUBLISHED


def test_a_confirmation_goes_with_the_file_that_it_confirmed(store: ReportStore) -> None:
    path = close_day(store, 1, extracted_at=read_at(1)).path
    close_day(store, 1, extracted_at=read_at(9))
    path.unlink()

    assert close_day(store, 2, extracted_at=read_at(5)).outcome is Outcome.PUBLISHED
    assert close_day(store, 3, extracted_at=read_at(6)).outcome is Outcome.PUBLISHED


def test_a_file_that_came_back_is_not_confirmed_by_what_confirmed_another(
    store: ReportStore,
) -> None:
    """As when an operator restores it; or when a process died between a file and its record."""
    path = close_day(store, 1, extracted_at=read_at(1)).path
    backup = path.read_bytes()
    close_day(store, 2, extracted_at=read_at(5))
    close_day(store, 2, extracted_at=read_at(9))
    path.write_bytes(backup)

    assert close_day(store, 3, extracted_at=read_at(6)).outcome is Outcome.PUBLISHED


def test_a_day_that_was_only_confirmed_later_is_dated_by_the_newest_confirmation(
    store: ReportStore,
) -> None:
    close_day(store, 1, extracted_at=read_at(1))
    close_day(store, 1, extracted_at=read_at(9))
    close_day(store, 1, extracted_at=read_at(12))

    for version in (2, 1, 2):
        late = close_day(store, version, extracted_at=read_at(10 + version % 2))
        assert late.outcome is Outcome.KEPT_NEWER
    assert close_day(store, 2, extracted_at=read_at(12)).outcome is Outcome.PUBLISHED


def test_without_a_confirmation_the_file_speaks_for_itself(store: ReportStore) -> None:
    close_day(store, 1, extracted_at=read_at(3))
    [record] = (store.root / "_store" / "manifest").rglob("*.json")
    record.unlink()

    assert close_day(store, 2, extracted_at=read_at(2)).outcome is Outcome.KEPT_NEWER
    assert close_day(store, 2, extracted_at=read_at(3)).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize("damage", ["", "{}", "[]", "null", '{"extracted_at": 1}'])
def test_a_damaged_confirmation_costs_nothing_else(store: ReportStore, damage: str) -> None:
    close_day(store, 1, extracted_at=read_at(1))
    [record] = (store.root / "_store" / "manifest").rglob("*.json")
    record.write_text(damage)

    assert close_day(store, 1, extracted_at=read_at(3)).outcome is Outcome.KEPT_UNCHANGED
    assert close_day(store, 2, extracted_at=read_at(2)).outcome is Outcome.KEPT_NEWER


def test_a_closed_day_is_not_replaced_by_less(store: ReportStore) -> None:
    many, few = (2, 1) if rows_of(2) > rows_of(1) else (1, 2)
    path = close_day(store, many, extracted_at=read_at(1)).path
    before = path.read_bytes()

    kept = close_day(store, few, extracted_at=read_at(9))

    assert kept.outcome is Outcome.KEPT_RICHER
    assert "the row is gone in 300 rows" in kept.reason
    assert path.read_bytes() == before

    # What has less confirms nothing either.
    assert close_day(store, many, extracted_at=read_at(5)).outcome is Outcome.KEPT_UNCHANGED

    path.unlink()
    assert close_day(store, few, extracted_at=read_at(9)).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize(
    "damage", ["cut short", "in its pages", "no Parquet", "not ours", "dated by a word"]
)
def test_a_file_that_nobody_can_use_is_replaced(store: ReportStore, damage: str) -> None:
    path = close_day(store, 1, extracted_at=read_at(9)).path
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "in its pages":
        content = path.read_bytes()
        # From the last page on, short of the footer, which stays readable.
        column = pq.ParquetFile(path).metadata.row_group(0).column(3)
        at, size = column.data_page_offset, column.total_compressed_size
        path.write_bytes(content[:at] + b"\xff" * size + content[at + size :])
    elif damage == "no Parquet":
        path.write_bytes(b"")
    elif damage == "dated by a word":
        said = {"snapshot_at": "today", "extracted_at": "today"}
        pq.write_table(versions_table(1).replace_schema_metadata(said), path)
    else:
        pq.write_table(versions_table(1), path)

    with pytest.raises(ReportStoreError, match="Materialize that partition again"):
        store.read(VERSIONS, DAY)
    assert close_day(store, 2, extracted_at=read_at(1)).outcome is Outcome.PUBLISHED
    assert store.read(VERSIONS, DAY).num_rows == rows_of(2)


def test_what_is_not_what_the_dataset_says_is_not_published(store: ReportStore) -> None:
    published = publish_version(store, 1)
    before = published.path.read_bytes()
    table = versions_table(2)
    twice = pa.concat_tables([table, table])
    instants = {"snapshot_at": read_at(2), "extracted_at": read_at(2)}
    later = instants | {"extracted_at": read_at(3)}

    with pytest.raises(UnpublishableDataError, match=r"versions\.hostname: 1600 keys occur"):
        store.publish(VERSIONS, DAY, twice, run_id="run", **instants)
    with pytest.raises(UnpublishableDataError, match=r"versions\.note: missing"):
        store.publish(VERSIONS, DAY, table.drop_columns(["note"]), run_id="run", **instants)
    with pytest.raises(UnpublishableDataError, match=r"versions\.extracted_at: not .*12:00:03"):
        store.publish(VERSIONS, DAY, table, run_id="run", **later)
    for name in instants:
        naive = instants | {name: read_at(2).replace(tzinfo=None)}
        with pytest.raises(ValueError, match="has no time zone"):
            store.publish(VERSIONS, DAY, table, run_id="run", **naive)
    assert published.path.read_bytes() == before


def test_a_reader_that_remembers_the_old_file_gets_an_error_and_no_mixture(
    store: ReportStore,
) -> None:
    """As DuckDB and polars do within one read: the footer of one version, pages of the next."""
    remembered = None
    for version in range(1, 60):
        # Always as many rows, and columns that encode to the same size: the worst case.
        at = read_at(version)
        rows = pa.table(
            [
                [f"host-{number}" for number in range(500)],
                [version] * 500,
                [None] * 500,
                [at] * 500,
            ],
            schema=VERSIONS.arrow_schema,
        )
        store.publish(VERSIONS, DAY, rows, snapshot_at=at, extracted_at=at, run_id="run")
        if remembered is not None:
            with pytest.raises(OSError, match=r"\w"):
                remembered.to_table()
        remembered = ds.dataset(store.root / VERSIONS.name, partitioning="hive")
        assert set(remembered.to_table()["version"].to_pylist()) == {version}


def test_pages_are_replaced_whole(store: ReportStore) -> None:
    path = store.write_atomically("pages/2026-11-23.html", b"<p>one")
    store.write_atomically("pages/2026-11-23.html", b"<p>two")
    store.write_atomically("latest.html", b"<p>two")

    assert path == store.root / "pages" / "2026-11-23.html"
    assert path.read_bytes() == b"<p>two"
    assert published_files(store) == ["latest.html", "pages/2026-11-23.html"]
    assert not [path for path in (store.root / "_store" / "staging").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "path",
    ["../page.html", "/page.html", "pages/../../x", "", ".", "_store/x", "versions/date=x/y"],
)
def test_pages_stay_where_pages_may_be(store: ReportStore, path: str) -> None:
    with pytest.raises(ValueError, match=r"under REPORTS_DIR|the report store's own"):
        store.write_atomically(path, b"")
    assert not store.root.exists()


def test_staging_is_empty_once_all_is_done(store: ReportStore) -> None:
    publish_version(store, 1)
    stage_extract(store, 1)

    assert not [path for path in (store.root / "_store" / "staging").rglob("*") if path.is_file()]


def test_a_day_of_an_earlier_version_is_read_with_null_in_the_later_columns(
    store: ReportStore,
) -> None:
    today = SYSTEM_DEPLOYMENT_STATUS
    earlier = replace(today, columns=tuple(c for c in today.columns if not c.nullable))
    [row] = [status_row("web")]
    at = row["snapshot_at"]
    table = pa.Table.from_pylist([row], earlier.arrow_schema)
    store.publish(earlier, DAY, table, snapshot_at=at, extracted_at=at, run_id="run")

    read = store.read(today, DAY)
    assert read.schema.equals(today.arrow_schema)
    assert read["behind_reason"].to_pylist() == [None]
    assert read["last_seen_at"].type == today["last_seen_at"].type
    assert store.read(today, DAY, ["liveness", "hostname"]).to_pylist() == [
        {"liveness": None, "hostname": "web"}
    ]
    with pytest.raises(KeyError, match="has no column colour"):
        store.read(today, DAY, ["colour"])
