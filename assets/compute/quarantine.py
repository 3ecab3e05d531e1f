"""Which rows of the source tables can't be used, and why.

Belongs here: the decision on one record batch as it came from the database. Does not belong here:
how the batch was read, or where the rows go.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

INFINITE_TIMESTAMP = "infinite_timestamp"
ABSURD_TIMESTAMP = "absurd_timestamp"
UNDECODABLE_TEXT = "undecodable_text"
MISSING_VALUE = "missing_value"
EMPTY_HOSTNAME = "empty_hostname"
HOSTNAME_TOO_LONG = "hostname_too_long"
PATH_TOO_LONG = "path_too_long"
DUPLICATE_KEY = "duplicate_key"
REASONS = (
    INFINITE_TIMESTAMP,
    ABSURD_TIMESTAMP,
    UNDECODABLE_TEXT,
    MISSING_VALUE,
    EMPTY_HOSTNAME,
    HOSTNAME_TOO_LONG,
    PATH_TOO_LONG,
    DUPLICATE_KEY,
)

# The longest name that the DNS can carry, in characters.
LONGEST_HOSTNAME = 253
# The longest path that Linux takes, in bytes.
LONGEST_PATH = 4096
# What is kept of an offending value, in characters.
LONGEST_RAW_TEXT = 1000
# The raw text of an instant stands beside it, in a column of this name, where the instant is out of
# the usable range; Arrow can hold neither infinity nor every year that PostgreSQL knows.
RAW_SUFFIX = "__raw"
# A flag on each row whose key an earlier row has already.
DUPLICATE_FLAG = "__is_duplicate"
# A flag on each row whose primary key another row has too, where that is not the key: on all of
# them, because whatever refers to it may mean any of them.
SHARED_ID_FLAG = "__shares_id"

_INFINITIES = frozenset({"infinity", "-infinity"})
# What stands for the raw text of a value that is not there.
_NO_VALUE = "NULL"


@dataclass(frozen=True)
class UnusableRow:
    r"""A row that can't be used, with the first fault found.

    Attributes:
        row_key: the row's primary key as text; None where it can't be read.
        column: the column at fault.
        reason: one of `REASONS`.
        raw_text: the offending value, its beginning where it is longer than `LONGEST_RAW_TEXT`;
            undecodable bytes are escaped as `\xNN`.
        hostname: of the host that the row is about; None where the table has none or it is what
            can't be read.
        flake_id: of the flake that the row is about; likewise.
    """

    row_key: str | None
    column: str
    reason: str
    raw_text: str
    hostname: str | None = None
    flake_id: int | None = None


@dataclass(frozen=True)
class SortedBatch:
    """A batch, parted: every row of it is in exactly one of the first two.

    Attributes:
        usable: the rows that can be used, in their order, in the schema asked for.
        unusable: the others, in their order.
        cleared: how many values of each dispensable column were out of range and became null.
    """

    usable: pa.RecordBatch
    unusable: list[UnusableRow]
    cleared: Counter[str]


def sort_batch(
    batch: pa.RecordBatch,
    schema: pa.Schema,
    *,
    key: str,
    primary_key: str = "id",
    hostname: str = "hostname",
    flake: str = "flake_id",
    paths: Collection[str] = (),
    dispensable: Collection[str] = (),
) -> SortedBatch:
    """Parts the rows that can be used from those that can't.

    A row has one reason, the first that applies: text that is not UTF-8, an instant that is
    infinite or out of range, null where the schema has none, an empty or over-long hostname, an
    over-long path, a repeated key.

    Args:
        batch: the columns of `schema`; for an instant, also its raw text (`RAW_SUFFIX`) where it is
            out of range; optionally `DUPLICATE_FLAG` and `SHARED_ID_FLAG`.
        schema: of the usable rows; says which columns may be null.
        key: the column that `DUPLICATE_FLAG` is about.
        primary_key: the column that `UnusableRow.row_key` is taken from.
        hostname: the column that holds a hostname, where there is one.
        flake: the column that holds the id of a flake, where there is one.
        paths: the columns that hold paths.
        dispensable: nullable instants without which the row can be used safely: out of range, they
            become null and the row stays.
    """
    raw_columns = [name for name in batch.schema.names if name.endswith(RAW_SUFFIX)]
    cleared: Counter[str] = Counter()
    faults: dict[int, tuple[str, str, str]] = {}
    for row, column, raw_text in _undecodable(batch, schema):
        faults.setdefault(row, (column, UNDECODABLE_TEXT, raw_text))
    for raw_column in raw_columns:
        column, raw = raw_column.removesuffix(RAW_SUFFIX), batch.column(raw_column)
        if column in dispensable:
            cleared[column] += len(raw) - raw.null_count
            continue
        for row in _rows(pc.is_valid(raw)):
            text = raw[row].as_py()
            reason = INFINITE_TIMESTAMP if text in _INFINITIES else ABSURD_TIMESTAMP
            faults.setdefault(row, (column, reason, text))
    for row, column in _missing(batch, schema):
        faults.setdefault(row, (column, MISSING_VALUE, _NO_VALUE))
    if hostname in schema.names:
        names = _without(batch.column(hostname), faults)
        for row, reason in _unusable_hostnames(names):
            faults.setdefault(row, (hostname, reason, names[row].as_py()))
    for path in paths:
        values = _without(batch.column(path), faults)
        for row in _rows(pc.greater(pc.binary_length(values), LONGEST_PATH)):
            faults.setdefault(row, (path, PATH_TOO_LONG, values[row].as_py()))
    for flag, column in ((DUPLICATE_FLAG, key), (SHARED_ID_FLAG, primary_key)):
        if flag in batch.schema.names:
            for row in _rows(batch.column(flag)):
                faults.setdefault(row, (column, DUPLICATE_KEY, str(_key_text(batch, column, row))))

    rows = sorted(faults)
    unusable = [
        UnusableRow(
            row_key=_key_text(batch, primary_key, row),
            column=column,
            reason=reason,
            raw_text=raw_text[:LONGEST_RAW_TEXT],
            hostname=_usable_hostname(batch, hostname, row),
            flake_id=batch.column(flake)[row].as_py() if flake in schema.names else None,
        )
        for row in rows
        for column, reason, raw_text in (faults[row],)
    ]
    kept = batch.filter(_mask(len(batch), rows, at=False)) if rows else batch
    usable = pa.RecordBatch.from_arrays([kept.column(name) for name in schema.names], schema=schema)
    return SortedBatch(usable, unusable, +cleared)


def _undecodable(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[tuple[int, str, str]]:
    for field in schema:
        column = batch.column(field.name)
        if not pa.types.is_string(field.type) or _is_valid(column):
            continue
        # Row by row, because Arrow says that a column is invalid but not where.
        for row, value in enumerate(column.cast(pa.binary()).to_pylist()):
            if value is not None and _decoded(value) is None:
                yield row, field.name, value.decode("utf-8", errors="backslashreplace")


def _missing(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[tuple[int, str]]:
    for field in schema:
        if not field.nullable and batch.column(field.name).null_count:
            for row in _rows(pc.is_null(batch.column(field.name))):
                yield row, field.name


def _unusable_hostnames(names: pa.Array) -> Iterator[tuple[int, str]]:
    for row in _rows(pc.equal(pc.utf8_trim_whitespace(names), "")):
        yield row, EMPTY_HOSTNAME
    for row in _rows(pc.greater(pc.utf8_length(names), LONGEST_HOSTNAME)):
        yield row, HOSTNAME_TOO_LONG


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _rows(flags: pa.Array) -> list[int]:
    """The positions of true; null is not true."""
    rows: list[int] = pc.indices_nonzero(pc.fill_null(flags, fill_value=False)).to_pylist()
    return rows


def _mask(length: int, rows: Collection[int], *, at: bool) -> pa.Array:
    flags = [not at] * length
    for row in rows:
        flags[row] = at
    return pa.array(flags, pa.bool_())


def _without(column: pa.Array, rows: Collection[int]) -> pa.Array:
    """The column with null at rows already found wanting, which may not even be valid text."""
    if not rows:
        return column
    return pc.if_else(_mask(len(column), rows, at=False), column, pa.scalar(None, column.type))


def _usable_hostname(batch: pa.RecordBatch, hostname: str, row: int) -> str | None:
    if hostname not in batch.schema.names:
        return None
    name = _key_text(batch, hostname, row)
    return name if name and name.strip() and len(name) <= LONGEST_HOSTNAME else None


def _key_text(batch: pa.RecordBatch, primary_key: str, row: int) -> str | None:
    value = batch.column(primary_key)[row]
    if not value.is_valid:
        return None
    if pa.types.is_string(value.type):
        return _decoded(value.as_buffer().to_pybytes())
    return str(value.as_py())
