"""What may be published, and what the errors say of the rest."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.publishing.conformity import (
    Problem,
    UnpublishableDataError,
    find_problems,
    find_wrong_stamps,
    to_arrow,
)
from assets.schemas.dictionary import (
    DATE,
    Column,
    Dataset,
    count,
    flag,
    identifier,
    instant,
    number,
    text,
)

NOON = pd.Timestamp("2026-11-23 12:00", tz="UTC")

HOSTS = Dataset(
    name="hosts",
    grain="one row a host",
    description="A dataset with a column of every type.",
    key=("hostname", "flake_id"),
    order_by="hostname",
    columns=(
        text("hostname", "The host."),
        identifier("flake_id", "Its flake."),
        text("status", "How it stands.", allowed=("good", "bad")),
        text("reason", "Why it is bad.", nullable=True, allowed=("old", "lost")),
        count("commits", "commits", "How many.", nullable=True),
        number("hours", "hours", "How long.", nullable=True),
        flag("is_active", "Whether it is.", nullable=True),
        instant("reported_at", "When.", nullable=True),
        Column("snapshot_date", DATE, "The day."),
    ),
)


def frame(**changed: Any) -> pd.DataFrame:
    """Two rows that may be published, but for the columns that are given."""
    columns = {
        "hostname": pd.Series(["a", "b"], dtype="str"),
        "flake_id": pd.Series([1, 2], dtype="int64"),
        "status": pd.Series(["good", "bad"], dtype="category"),
        "reason": pd.Series([None, "old"], dtype="str"),
        "commits": pd.Series([None, 2**60 + 1], dtype="Int64"),
        "hours": pd.Series([1.5, np.nan]),
        "is_active": pd.Series([True, None], dtype="boolean"),
        "reported_at": pd.Series([NOON, pd.NaT]).dt.as_unit("us"),
        "snapshot_date": [dt.date(2026, 11, 23)] * 2,
    }
    return pd.DataFrame(columns | changed)


def texts(problems: Sequence[Problem]) -> tuple[str, ...]:
    return tuple(problem.text for problem in problems)


def problems_of(frame: pd.DataFrame) -> tuple[str, ...]:
    try:
        found = find_problems(HOSTS, to_arrow(HOSTS, frame))
    except UnpublishableDataError as error:
        found = list(error.problems)
    message = str(UnpublishableDataError(HOSTS, found))
    assert message == f"hosts can't be published. {' '.join(texts(found))}"
    return texts(found)


def test_computed_rows_become_a_table_of_the_exact_schema() -> None:
    table = to_arrow(HOSTS, frame()[list(reversed(HOSTS.column_names))])

    assert table.schema.equals(HOSTS.arrow_schema, check_metadata=True)
    assert table.to_pylist()[1] == {
        "hostname": "b",
        "flake_id": 2,
        "status": "bad",
        "reason": "old",
        "commits": 2**60 + 1,
        "hours": None,
        "is_active": None,
        "reported_at": None,
        "snapshot_date": dt.date(2026, 11, 23),
    }
    assert table["reported_at"][0].as_py() == NOON


def test_a_column_of_nothing_but_nulls_keeps_its_type() -> None:
    nothing = pd.Series([None, None], dtype="object")
    nullable = {column.name: nothing for column in HOSTS.columns if column.nullable}

    table = to_arrow(HOSTS, frame(**nullable))

    assert table.schema.equals(HOSTS.arrow_schema, check_metadata=True)
    assert all(table[name].null_count == 2 for name in nullable)


def test_no_rows_are_rows_too() -> None:
    table = to_arrow(HOSTS, frame().iloc[:0])

    assert table.num_rows == 0
    assert table.schema.equals(HOSTS.arrow_schema, check_metadata=True)


def test_instants_of_another_zone_or_unit_are_the_same_instants() -> None:
    elsewhere = pd.Series([NOON, NOON]).dt.tz_convert("America/St_Johns").dt.as_unit("ns")

    table = to_arrow(HOSTS, frame(reported_at=elsewhere))

    assert table["reported_at"].to_pylist() == [NOON, NOON]


def test_smaller_numbers_of_the_same_kind_lose_nothing() -> None:
    small = pd.Series([1, 2], dtype="int32")
    single = pd.Series([0.5, np.nan], dtype="float32")

    table = to_arrow(HOSTS, frame(flake_id=small, hours=single))

    assert table["flake_id"].to_pylist() == [1, 2]
    assert table["hours"].to_pylist() == [0.5, None]


def test_how_a_frame_was_put_together_does_not_show() -> None:
    whole = to_arrow(HOSTS, frame())
    parts = to_arrow(HOSTS, pd.concat([frame().iloc[:1], frame().iloc[1:]]))

    assert parts.equals(whole)
    assert {column.num_chunks for column in parts.columns} == {1}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param(
            {"commits": pd.Series([1.0, np.nan])},
            "hosts.commits: double (pandas float64) instead of int64.",
            id="integers that went through float",
        ),
        pytest.param(
            {"flake_id": ["1", "2"]},
            "hosts.flake_id: large_string (pandas str) instead of int64.",
            id="numbers as text",
        ),
        pytest.param(
            {"hostname": [1, 2]},
            "hosts.hostname: int64 (pandas int64) instead of string.",
            id="text as numbers",
        ),
        pytest.param(
            {"hours": [1, 2]},
            "hosts.hours: int64 (pandas int64) instead of double.",
            id="a quantity as whole numbers",
        ),
        pytest.param(
            {"reported_at": pd.Series([NOON, NOON]).dt.tz_localize(None).dt.as_unit("us")},
            "hosts.reported_at: timestamp[us] (pandas datetime64[us]) instead of "
            "timestamp[us, tz=UTC].",
            id="instants without a zone",
        ),
        pytest.param(
            {"reported_at": ["now", "now"]},
            "hosts.reported_at: large_string (pandas str) instead of timestamp[us, tz=UTC].",
            id="instants as text",
        ),
        pytest.param(
            {"snapshot_date": pd.Series([NOON, NOON]).dt.as_unit("us")},
            "hosts.snapshot_date: timestamp[us, tz=UTC] (pandas datetime64[us, UTC]) instead of "
            "date32[day].",
            id="an instant as a day",
        ),
        pytest.param(
            {"is_active": [0, 1]},
            "hosts.is_active: int64 (pandas int64) instead of bool.",
            id="a flag as numbers",
        ),
        pytest.param(
            {"hostname": ["a", None]},
            "hosts.hostname: null in 1 row, the first hostname=None, flake_id=2.",
            id="null where none may be",
        ),
        pytest.param(
            {"status": ["good", "ugly"]},
            "hosts.status: 'ugly', which is none of good, bad, in 1 row, the first hostname=b, "
            "flake_id=2.",
            id="outside the closed set",
        ),
        pytest.param(
            {"reason": ["young", "young"]},
            "hosts.reason: 'young', which is none of old, lost, in 2 rows, the first hostname=a, "
            "flake_id=1.",
            id="outside the closed set of a nullable column",
        ),
        pytest.param(
            {"hostname": ["a", "a"], "flake_id": [7, 7]},
            "hosts.hostname+flake_id: 1 key occurs more than once, the first hostname=a, "
            "flake_id=7, 2 times.",
            id="a key twice",
        ),
        pytest.param({"colour": ["red", "red"]}, "hosts.colour: not a column of it.", id="extra"),
    ],
)
def test_what_is_wrong_is_named_by_column_row_and_key(
    changed: dict[str, Any], problem: str
) -> None:
    assert problems_of(frame(**changed)) == (problem,)


def test_finer_than_microseconds_is_refused_rather_than_cut() -> None:
    finer = pd.Series([NOON, NOON]).dt.as_unit("ns") + pd.Timedelta(1, "ns")

    [problem] = problems_of(frame(reported_at=finer))

    assert problem.startswith("hosts.reported_at: ")
    assert "would lose data" in problem


def test_a_number_beyond_64_bits_is_refused_rather_than_cut() -> None:
    [problem] = problems_of(frame(commits=pd.Series([2**70, 1], dtype="object")))

    assert problem.startswith("hosts.commits: ")


def test_text_that_is_no_unicode_is_refused() -> None:
    [problem] = problems_of(frame(hostname=pd.Series(["a", "\udcff"], dtype="object")))

    assert problem.startswith("hosts.hostname: ")


def test_all_problems_are_told_at_once() -> None:
    wrong = frame(flake_id=["1", "2"], colour="red").drop(columns="hours")

    assert [problem.partition(": ")[0] for problem in problems_of(wrong)] == [
        "hosts.hours",
        "hosts.colour",
        "hosts.flake_id",
    ]


def test_all_that_is_wrong_in_a_column_is_told() -> None:
    measured = Dataset(
        name="measured",
        grain="one row a host",
        description="A dataset whose values must all be there.",
        key=("hostname",),
        order_by="hostname",
        columns=(
            text("hostname", "The host."),
            text("status", "How it stands.", allowed=("good", "bad")),
            number("hours", "hours", "How long."),
        ),
    )
    fields = [column.arrow_field() for column in measured.columns]
    table = pa.table([["a", "b"], ["ugly", None], [float("nan"), None]], schema=pa.schema(fields))

    assert texts(find_problems(measured, table)) == (
        "measured.status: null in 1 row, the first hostname=b.",
        "measured.status: 'ugly', which is none of good, bad, in 1 row, the first hostname=a.",
        "measured.hours: null in 1 row, the first hostname=b.",
        "measured.hours: NaN in 1 row, the first hostname=a.",
    )


def test_several_keys_that_occur_again_are_counted() -> None:
    table = to_arrow(HOSTS, frame())

    assert texts(find_problems(HOSTS, pa.concat_tables([table, table]))) == (
        "hosts.hostname+flake_id: 2 keys occur more than once, the first hostname=a, flake_id=1, "
        "2 times.",
    )


def test_one_of_two_columns_of_the_same_name_is_not_chosen() -> None:
    twice = pd.concat([frame(), frame()[["status"]]], axis="columns")

    assert problems_of(twice) == ("hosts.status: there twice.",)


def test_what_is_stored_is_judged_like_what_was_computed() -> None:
    table = to_arrow(HOSTS, frame())
    nan = table.set_column(
        table.schema.get_field_index("hours"), HOSTS["hours"].arrow_field(), [[1.0, float("nan")]]
    )
    nullable = table.cast(pa.schema([field.with_nullable(True) for field in table.schema]))
    raw = pa.array([b"a", b"\xff"]).view(pa.string())
    undecodable = table.set_column(0, HOSTS["hostname"].arrow_field(), raw)

    assert find_problems(HOSTS, table) == []
    assert texts(find_problems(HOSTS, nan)) == (
        "hosts.hours: NaN in 1 row, the first hostname=b, flake_id=2.",
    )
    assert find_problems(HOSTS, nullable)[0].text == (
        "hosts.hostname: pyarrow.Field<hostname: string> instead of "
        "pyarrow.Field<hostname: string not null>."
    )
    assert texts(find_problems(HOSTS, table.select(list(reversed(table.column_names))))) == (
        "hosts: the columns are not in its order.",
    )
    assert "UTF8" in find_problems(HOSTS, undecodable)[0].text
    assert texts(find_problems(HOSTS, nan.drop_columns(["commits"]))) == (
        "hosts.commits: missing.",
    )
    reversed_too = find_problems(HOSTS, nullable.select(HOSTS.column_names[::-1]))
    assert reversed_too[0].text.startswith("hosts.hostname: pyarrow.Field")


def test_some_of_the_rows_are_not_asked_for_a_unique_key() -> None:
    table = to_arrow(HOSTS, frame())

    assert find_problems(HOSTS, pa.concat_tables([table, table]), in_part=True) == []


def test_rows_belong_to_the_partition_that_they_go_to() -> None:
    dataset = replace(
        HOSTS,
        columns=(
            *HOSTS.columns,
            instant("snapshot_at", "T."),
            instant("extracted_at", "Reading."),
        ),
    )
    later = NOON + pd.Timedelta(1, "h")
    table = to_arrow(dataset, frame(snapshot_at=NOON, extracted_at=[NOON, later]))
    day = dt.date(2026, 11, 23)

    assert find_wrong_stamps(dataset, table.slice(0, 1), day, NOON, NOON) == []
    assert find_wrong_stamps(HOSTS, to_arrow(HOSTS, frame()), day, later, later) == []
    assert texts(find_wrong_stamps(dataset, table, day, NOON, NOON)) == (
        "hosts.extracted_at: not 2026-11-23 12:00:00+00:00, that of the partition, in 1 row, the "
        "first hostname=b, flake_id=2.",
    )
    assert [
        problem.text.partition(":")[0]
        for problem in find_wrong_stamps(dataset, table, dt.date(2026, 11, 22), later, NOON)
    ] == ["hosts.snapshot_date", "hosts.snapshot_at", "hosts.extracted_at"]
