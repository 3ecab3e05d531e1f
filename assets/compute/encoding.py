"""From pandas columns to the integer arrays that the computations sort and search."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

# As pandas keeps it. The smaller kind ends at 2 GB, the paths of some ten million derivations.
TEXT = pa.large_string()

NOTHING = -1
"""The code of a null, and of a value that a look-up does not find."""


def text_chunks(column: "pd.Series[Any]") -> pa.ChunkedArray:
    """The column as Arrow text, whether it came plain or dictionary-encoded; nothing is copied."""
    array = pa.Array.from_pandas(column)
    chunks = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return chunks.cast(TEXT)


def text_array(column: "pd.Series[Any]") -> pa.Array:
    """The column as one Arrow array of text, whether it came plain or dictionary-encoded."""
    return text_chunks(column).combine_chunks()


def text_codes(column: "pd.Series[Any]") -> tuple[Integers, pa.Array]:
    """Codes of a column of text (`NOTHING` for null), and the distinct values that they index."""
    array = pa.Array.from_pandas(column)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return _without_nulls(array.indices), array.dictionary.cast(TEXT)


def find_text(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Integers:
    """The index of each value in `among`, `NOTHING` for null and for what is not there."""
    return _without_nulls(pc.index_in(values, value_set=among, skip_nulls=True))


def translate(codes: Integers, translation: Integers | Booleans) -> Integers:
    """Replaces each code by its translation; `NOTHING` stays `NOTHING`."""
    if len(translation) == 0:
        return np.full(len(codes), NOTHING, np.int64)
    return np.where(codes == NOTHING, NOTHING, translation[codes]).astype(np.int64, copy=False)


def sorted_distinct(values: Integers) -> Integers:
    """The distinct values, ascending."""
    # numpy.unique hashes first: 25 times slower for a million instants.
    ascending = np.sort(values)
    distinct: Integers = ascending[np.diff(ascending, prepend=ascending[:1] - 1) != 0]
    return distinct


def ends_before(values: Integers, starts: Integers, ends: Integers, bounds: Integers) -> Integers:
    """Searches many ranges of one array at once, each of them ascending.

    Args:
        values: the array.
        starts: by search, where its range begins.
        ends: by search, one after the last of its range.
        bounds: by search, what to look for.

    Returns:
        By search, one after the last value of the range that is less than the bound; the start of
        the range where there is none.
    """
    # One binary search over (code, value) keys would look right through a large array for each of
    # many bounds in no order, which misses the processor's caches: five times slower.
    low, high = starts.copy(), ends.copy()
    undecided = np.flatnonzero(low < high)
    while len(undecided):
        middle = (low[undecided] + high[undecided]) // 2
        is_before = values[middle] < bounds[undecided]
        low[undecided] = np.where(is_before, middle + 1, low[undecided])
        high[undecided] = np.where(is_before, high[undecided], middle)
        undecided = undecided[low[undecided] < high[undecided]]
    return low


def integers(column: "pd.Series[Any]") -> Integers:
    """A column of identifiers as int64, `NOTHING` for null; never through float."""
    return np.asarray(column.astype("Int64").to_numpy(np.int64, na_value=NOTHING), np.int64)


def microseconds(column: "pd.Series[Any]") -> Integers:
    """A column of instants as microseconds since 1970 (UTC); null becomes the least int64."""
    naive = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.asarray(naive.view(np.int64), np.int64)


def instant_microseconds(instant: pd.Timestamp) -> int:
    """An instant as microseconds since 1970 (UTC)."""
    return int(np.datetime64(instant.tz_convert("UTC").tz_localize(None), "us").astype(np.int64))


def instants(values: Integers, valid: Booleans | None = None) -> "pd.Series[Any]":
    """Microseconds since 1970 as a column of instants in UTC, null where not valid."""
    if valid is not None:
        values = np.where(valid, values, np.iinfo(np.int64).min)
    return pd.Series(values.view("datetime64[us]")).dt.tz_localize("UTC")


def whole_numbers(values: Integers, valid: Booleans) -> "pd.Series[Any]":
    """A nullable column of integers, null where not valid."""
    return pd.Series(pd.arrays.IntegerArray(np.ascontiguousarray(values), ~valid))


def take_text(values: pa.Array, positions: Integers) -> "pd.Series[Any]":
    """The values at the positions as a column of text, null at `NOTHING`."""
    indices = pa.array(positions, mask=positions == NOTHING)
    return pd.Series(values.take(indices), dtype="str")


def _without_nulls(codes: pa.Array | pa.ChunkedArray) -> Integers:
    filled = codes.cast(pa.int64()).fill_null(NOTHING)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.int64)
