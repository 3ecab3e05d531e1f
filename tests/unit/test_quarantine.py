from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.compute.quarantine import (
    DUPLICATE_FLAG,
    LONGEST_HOSTNAME,
    LONGEST_PATH,
    RAW_SUFFIX,
    REASONS,
    SortedBatch,
    UnusableRow,
    sort_batch,
)
from assets.schemas.dictionary import Dataset
from assets.schemas.source import (
    DERIVATIONS,
    SYSTEM_STATES,
    SYSTEMS,
    UNUSABLE_ROW_REASONS,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# One byte more than may be, but by far less characters.
LONG_PATH = "/" + "ü" * (LONGEST_PATH // 2)
LONG_NAME = "h" * (LONGEST_HOSTNAME + 1)


def state(number: int, **changes: Any) -> dict[str, Any]:
    usable = {
        "id": number,
        "hostname": f"host-{number}",
        "deployed_path": "/nix/store/a-nixos-system",
        "timestamp": NOON,
        "timestamp" + RAW_SUFFIX: None,
        DUPLICATE_FLAG: False,
    }
    return {**usable, **changes}


def system(number: int, **changes: Any) -> dict[str, Any]:
    usable = {
        "id": f"00000000-0000-0000-0000-{number:012}",
        "hostname": f"host-{number}",
        "environment_id": None,
        "is_active": None,
        "flake_id": None,
        "system_configuration_name": None,
        "deployment_policy": None,
        "desired_target": None,
        "created_at": None,
        "created_at" + RAW_SUFFIX: None,
        DUPLICATE_FLAG: False,
    }
    return {**usable, **changes}


def derivation(number: int, **changes: Any) -> dict[str, Any]:
    usable = {
        "id": number,
        "commit_id": None,
        "derivation_type": "nixos",
        "derivation_name": "host",
        "derivation_path": None,
        "store_path": None,
        "expected_store_path": None,
        "status_id": 1,
        "completed_at": None,
        "completed_at" + RAW_SUFFIX: None,
    }
    return {**usable, **changes}


def as_read(dataset: Dataset, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """A batch as it comes from the database: texts are bytes that nobody has checked."""
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name == DUPLICATE_FLAG:
            columns[name] = pa.array(values, pa.bool_())
        elif name.endswith(RAW_SUFFIX) or pa.types.is_string(dataset[name].type):
            raw = [value.encode() if isinstance(value, str) else value for value in values]
            columns[name] = pa.array(raw, pa.binary()).view(pa.string())
        else:
            columns[name] = pa.array(values, dataset[name].type)
    return pa.RecordBatch.from_pydict(columns)


def sort(dataset: Dataset, *rows: dict[str, Any]) -> SortedBatch:
    paths = ("deployed_path", "derivation_path", "store_path")
    return sort_batch(
        as_read(dataset, list(rows)),
        dataset.arrow_schema,
        key=dataset.key,
        paths=[name for name in paths if name in dataset.column_names],
        dispensable=("completed_at", "expected_store_path", "last_sync_error"),
        excerpts={"last_sync_error": 300},
    )


def test_the_reasons_are_those_of_the_dictionary() -> None:
    assert REASONS == UNUSABLE_ROW_REASONS


def test_usable_rows_come_through_in_the_exact_schema() -> None:
    parted = sort(SYSTEM_STATES, state(1), state(2))

    assert parted.unusable == []
    assert parted.usable.schema.equals(SYSTEM_STATES.arrow_schema, check_metadata=True)
    assert parted.usable.to_pylist() == [
        {name: state(number)[name] for name in SYSTEM_STATES.column_names} for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("changes", "column", "reason", "raw_text"),
    [
        (
            {"timestamp": None, "timestamp__raw": "infinity"},
            "timestamp",
            "infinite_timestamp",
            "infinity",
        ),
        (
            {"timestamp": None, "timestamp__raw": "-infinity"},
            "timestamp",
            "infinite_timestamp",
            "-infinity",
        ),
        (
            {"timestamp": None, "timestamp__raw": "294276-12-31 23:59:59+00"},
            "timestamp",
            "absurd_timestamp",
            "294276-12-31 23:59:59+00",
        ),
        ({"timestamp": None}, "timestamp", "missing_value", "NULL"),
        ({"deployed_path": None}, "deployed_path", "missing_value", "NULL"),
        ({"hostname": ""}, "hostname", "empty_hostname", ""),
        ({"hostname": " \t\u00a0"}, "hostname", "empty_hostname", " \t\u00a0"),
        ({"hostname": LONG_NAME}, "hostname", "hostname_too_long", LONG_NAME),
        ({"hostname": b"caf\xe9"}, "hostname", "undecodable_text", r"caf\xe9"),
        ({"deployed_path": b"\xff/a"}, "deployed_path", "undecodable_text", r"\xff/a"),
        ({"deployed_path": LONG_PATH}, "deployed_path", "path_too_long", LONG_PATH[:1000]),
        ({DUPLICATE_FLAG: True}, "id", "duplicate_key", "2"),
    ],
)
def test_a_row_that_cant_be_used_is_taken_out_with_its_reason(
    changes: dict[str, Any], column: str, reason: str, raw_text: str
) -> None:
    parted = sort(SYSTEM_STATES, state(1), state(2, **changes), state(3))

    hostname = None if column == "hostname" else "host-2"
    assert parted.unusable == [UnusableRow("2", column, reason, raw_text, hostname)]
    assert parted.usable.column("id").to_pylist() == [1, 3]
    parted.usable.validate(full=True)


def test_the_longest_hostname_counts_characters_not_bytes() -> None:
    parted = sort(SYSTEM_STATES, state(1, hostname="ü" * LONGEST_HOSTNAME))

    assert parted.unusable == []


@pytest.mark.parametrize(("longest", "column"), [(253, "hostname"), (4096, "deployed_path")])
def test_a_text_has_its_longest_length(longest: int, column: str) -> None:
    parted = sort(
        SYSTEM_STATES,
        state(1, **{column: "x" * longest}),
        state(2, **{column: "x" * (longest + 1)}),
    )

    assert parted.usable.column("id").to_pylist() == [1]
    assert [row.column for row in parted.unusable] == [column]


def test_a_fault_elsewhere_in_the_row_of_the_longest_hostname_names_the_host() -> None:
    longest = "h" * LONGEST_HOSTNAME

    [row] = sort(SYSTEM_STATES, state(1, hostname=longest, deployed_path=None)).unusable

    assert row.hostname == longest


def test_the_longest_path_counts_bytes() -> None:
    parted = sort(SYSTEM_STATES, state(1, deployed_path="/" * LONGEST_PATH))

    assert parted.unusable == []


def test_a_row_with_several_faults_is_quarantined_once() -> None:
    everything = {
        "hostname": b"\xff",
        "deployed_path": None,
        "timestamp": None,
        "timestamp__raw": "infinity",
        DUPLICATE_FLAG: True,
    }

    parted = sort(SYSTEM_STATES, state(1, **everything))

    assert [row.reason for row in parted.unusable] == ["undecodable_text"]
    assert len(parted.usable) == 0


def test_a_repeated_hostname_is_shown_by_the_key_of_its_row() -> None:
    parted = sort(
        SYSTEMS, system(1, hostname="a"), system(2, hostname="a", **{DUPLICATE_FLAG: True})
    )

    assert parted.unusable == [
        UnusableRow("00000000-0000-0000-0000-000000000002", "hostname", "duplicate_key", "a", "a")
    ]


def test_a_key_that_cant_be_read_is_null() -> None:
    parted = sort(SYSTEMS, system(1, id=None), system(2, id=b"\xfe"))

    assert [(row.row_key, row.reason) for row in parted.unusable] == [
        (None, "missing_value"),
        (None, "undecodable_text"),
    ]


def test_nullable_columns_may_be_null() -> None:
    assert sort(SYSTEMS, system(1)).unusable == []


def test_a_path_that_may_be_null_is_not_too_long() -> None:
    parted = sort(
        DERIVATIONS,
        derivation(1),
        derivation(2, store_path=LONG_PATH),
    )

    assert parted.usable.column("id").to_pylist() == [1]


def test_a_fault_of_a_table_without_hostnames_is_of_no_host() -> None:
    [row] = sort(DERIVATIONS, derivation(1, status_id=None)).unusable

    assert (row.column, row.hostname) == ("status_id", None)


def test_a_system_registered_at_infinity_is_unusable() -> None:
    parted = sort(SYSTEMS, system(1, created_at__raw="infinity"))

    assert [row.column for row in parted.unusable] == ["created_at"]


def test_a_dispensable_instant_costs_its_value_not_its_row() -> None:
    parted = sort(
        DERIVATIONS,
        derivation(1, completed_at=NOON),
        derivation(2, completed_at__raw="infinity"),
    )

    assert parted.unusable == []
    assert parted.usable.column("completed_at").to_pylist() == [NOON, None]
    assert parted.cleared == {"completed_at": 1}


def test_every_instant_out_of_range_is_looked_at() -> None:
    at_infinity = {
        "id": 1,
        "seen_at": None,
        "seen_at" + RAW_SUFFIX: "infinity",
        "built_at": None,
        "built_at" + RAW_SUFFIX: "infinity",
        "made_at": None,
        "made_at" + RAW_SUFFIX: "infinity",
    }
    instant = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [
            pa.field("id", pa.int64()),
            *(pa.field(name, instant) for name in ("seen_at", "built_at", "made_at")),
        ]
    )
    batch = pa.RecordBatch.from_pylist([at_infinity])

    parted = sort_batch(batch, schema, key="id", dispensable=("seen_at", "built_at"))

    assert parted.cleared == {"seen_at": 1, "built_at": 1}
    assert [row.column for row in parted.unusable] == ["made_at"]


# Pieces of every kind of valid and invalid UTF-8: cut, overlong, surrogate, too far.
_PIECES = [b"a", b" ", b"\xc3", b"\xa9", b"\xc3\xa9", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80"]
_PIECES += [b"\xf0\x9f\x92\xa9", b"\xf4\x90\x80\x80", b"\xff", b"\xef\xbb\xbf"]
_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=4).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda hostname, path, raw, repeated: {
                "hostname": hostname,
                "deployed_path": path,
                "timestamp": None if raw else NOON,
                "timestamp__raw": raw,
                DUPLICATE_FLAG: repeated,
            },
            st.one_of(st.none(), st.just(LONG_NAME), _TEXTS),
            st.one_of(st.none(), _TEXTS),
            st.sampled_from([None, None, "infinity", "294276-01-01 00:00:00+00"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_rows_in_are_rows_out_and_quarantined(rows: list[dict[str, Any]]) -> None:
    numbered = [state(number, **row) for number, row in enumerate(rows)]

    parted = sort(SYSTEM_STATES, *numbered)

    parted.usable.validate(full=True)
    usable = parted.usable.column("id").to_pylist()
    unusable = [int(row.row_key or -1) for row in parted.unusable]
    assert sorted(usable + unusable) == list(range(len(rows)))
    assert usable == sorted(usable)
    assert all(
        (row["hostname"] or b"").strip() and row["deployed_path"] is not None
        for number, row in enumerate(rows)
        if number in usable
    )
    for field in SYSTEM_STATES.arrow_schema:
        assert field.nullable or parted.usable.column(field.name).null_count == 0
