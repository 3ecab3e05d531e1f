"""The rows that each way gives, in files: the ways are measured in processes of their own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def write_rows(folder: Path, name: str, table: pa.Table) -> None:
    """Keeps the rows that one way gives."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{name}.parquet")


def find_differences(ours: Path, theirs: Path, name: str) -> list[str]:
    """Says where the rows of two ways differ, in the columns of the second: order and values.

    Fractions may differ in what rounding leaves.
    """
    expected, found = (pq.read_table(folder / f"{name}.parquet") for folder in (theirs, ours))
    if expected.num_rows != found.num_rows:
        return [f"{name}: {found.num_rows:,} rows, {expected.num_rows:,} by SQL"]
    return [
        f"{name}.{column}: {count:,} rows differ"
        for column in expected.column_names
        if (count := _differing(found[column], expected[column]))
    ]


def _differing(found: pa.ChunkedArray, expected: pa.ChunkedArray) -> int:
    if pa.types.is_floating(found.type):
        ours, theirs = found.to_numpy(), expected.cast(found.type).to_numpy()
        return int((~np.isclose(ours, theirs, rtol=1e-12, atol=1e-9, equal_nan=True)).sum())
    expected = expected.cast(found.type)
    both_null = pc.and_(pc.is_null(found), pc.is_null(expected))
    same = pc.or_kleene(pc.equal(found, expected), both_null).fill_null(fill_value=False)
    return int(pc.sum(pc.invert(same)).as_py() or 0)
