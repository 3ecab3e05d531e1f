"""Small fleets for tests: written by hand and turned into `FleetTables`, and rows read back.

Belongs here: how a fleet of plain rows is written and converted, and how a computed frame is read
back as plain rows. Does not belong here: what any column means; how fleets are drawn at random
(`tests.random_fleets`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from assets.compute.fleet import FleetTables
from assets.schemas import SOURCE_TABLES, Dataset
from tests.plain_reading.rows import (
    Commit,
    Derivation,
    DerivationStatus,
    Flake,
    Fleet,
    State,
    System,
)
from tests.plain_reading.words import Row, Value

FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: float, hour: float = 0, *, microsecond: int = 0) -> datetime:
    """An instant: `at(0)` is the first day's midnight, `at(2, 12)` noon two days later."""
    return FIRST_DAY + timedelta(days=day, hours=hour, microseconds=microsecond)


# Rows with defaults, for fleets that are written by hand.


def flake(flake_id: int = 1, name: str | None = None) -> Flake:
    """A flake; by default named after its id."""
    return Flake(flake_id, name or f"flake-{flake_id}", f"https://git.example/{flake_id}.git")


def commit(
    commit_id: int, when: datetime, *, flake_id: int = 1, commit_hash: str | None = None
) -> Commit:
    """A commit whose hash, by default, is `c` and its id."""
    return Commit(commit_id, flake_id, commit_hash or f"c{commit_id}", when)


def nixos(
    derivation_id: int,
    commit_id: int | None,
    output: str | None,
    *,
    name: str = "web",
    drv: str | None = None,
    status_id: int = 1,
    derivation_type: str = "nixos",
    completed_at: datetime | None = None,
) -> Derivation:
    """A host's derivation of a commit, with the output that it builds."""
    return Derivation(
        derivation_id, commit_id, derivation_type, name, drv, output, status_id, completed_at
    )


def system(
    hostname: str = "web",
    *,
    flake_id: int | None = 1,
    is_active: bool | None = True,
    created_at: datetime | None = None,
    configuration: str | None = None,
    environment_id: str | None = None,
) -> System:
    """A registered system; by default of flake 1, active, and registered before anything."""
    return System(
        f"id-of-{hostname}",
        hostname,
        environment_id,
        is_active,
        flake_id,
        configuration,
        created_at,
    )


def state(state_id: int, path: str, when: datetime, *, hostname: str = "web") -> State:
    """A report of a host."""
    return State(state_id, hostname, path, when)


BUILT, FAILED, DRY_RUN = 1, 2, 3
BUILD_STATUSES = (
    DerivationStatus(BUILT, "build-complete", is_success=True),
    DerivationStatus(DRY_RUN, "dry-run-complete", is_success=True),
    DerivationStatus(FAILED, "build-failed", is_success=False),
)


# Conversion.


@dataclass(frozen=True)
class Staging:
    """How the staged tables give the same rows: none of it may change a result.

    Attributes:
        dictionary: text that repeats comes dictionary-encoded.
        leftovers: the dictionaries hold values that no row has any more.
        chunk_rows: rows a chunk, each chunk with a dictionary of its own; 0 for one chunk.
    """

    dictionary: bool = False
    leftovers: bool = False
    chunk_rows: int = 0


PLAIN_STAGING = Staging()


def fleet_tables(fleet: Fleet, staging: Staging = PLAIN_STAGING) -> FleetTables:
    """The fleet as the computations take it."""
    tables = {}
    for dataset in SOURCE_TABLES:
        rows = getattr(fleet, dataset.name)
        if rows is not None:
            tables[dataset.name] = _staged_table(dataset, rows, staging)
    return replace(
        FleetTables.from_arrow(tables),
        unusable_hostnames=frozenset(fleet.unusable_hostnames),
        unusable_flake_ids=frozenset(fleet.unusable_flake_ids),
    )


def _staged_table(dataset: Dataset, rows: Sequence[object], staging: Staging) -> pa.Table:
    step = staging.chunk_rows or max(len(rows), 1)
    chunks = [rows[start : start + step] for start in range(0, max(len(rows), 1), step)]
    columns = []
    for column in dataset.columns:
        arrays = []
        for chunk in chunks:
            values = [getattr(row, column.name) for row in chunk]
            array = pa.array(values, column.type)
            if staging.dictionary and column.repeated:
                array = _dictionary_encoded(array, leftovers=staging.leftovers)
            arrays.append(array)
        columns.append(pa.chunked_array(arrays))
    return pa.table(columns, names=list(dataset.column_names))


def _dictionary_encoded(array: pa.Array, *, leftovers: bool) -> pa.Array:
    if not leftovers:
        return array.dictionary_encode()
    extended = pa.concat_arrays([pa.array(["a value of no row"], pa.string()), array])
    return extended.dictionary_encode().slice(1)


def plain_rows(dataset: Dataset, frame: pd.DataFrame) -> list[Row]:
    """Reads a computed frame back as plain rows, through the dataset's exact Arrow schema."""
    assert sorted(frame.columns) == sorted(dataset.column_names)
    table = pa.Table.from_pandas(frame, schema=dataset.arrow_schema, preserve_index=False)
    for column in dataset.columns:
        assert column.nullable or table[column.name].null_count == 0, column.name
    rows: list[Row] = table.to_pylist()
    return rows


def assert_rows(dataset: Dataset, frame: pd.DataFrame, expected: list[Row]) -> None:
    """Holds a computed frame to the expected rows: keys, order, columns, values and types.

    Fractions may differ in what rounding leaves.
    """
    actual = plain_rows(dataset, frame)

    def keys(rows: list[Row]) -> list[tuple[Value, ...]]:
        return [tuple(row[name] for name in dataset.key) for row in rows]

    assert keys(actual) == keys(expected)
    differences = [
        (key, name, row[name], value)
        for key, row, wanted in zip(keys(expected), actual, expected, strict=True)
        for name, value in wanted.items()
        if row[name] != (pytest.approx(value, 1e-12, 1e-12) if type(value) is float else value)
    ]
    assert not differences, f"(key, column, actual, expected): {differences}"
