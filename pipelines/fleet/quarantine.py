"""The rows that can't be used, as they are met: kept for the quarantine, counted for the verdict.

Belongs here: writing them down without holding them all in memory, and refusing an extract of which
too much is missing. Does not belong here: deciding which rows they are
(`assets.compute.quarantine`).
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

import pyarrow as pa

from assets.compute.quarantine import SortedBatch, UnusableRow
from assets.publishing.display import display_name
from assets.schemas import QUARANTINE
from assets.schemas.dictionary import Dataset
from pipelines.fleet.errors import TooManyUnusableRows
from pipelines.fleet.preflight import SCHEMA

LARGEST_UNUSABLE_SHARE = 0.01

_EXAMPLES_SHOWN = 3
_LONGEST_EXAMPLE = 60
_BYTES_IN_MEMORY = 8 * 2**20


class QuarantineLog:
    """Takes the parted batches of one extract, table by table.

    Attributes:
        rows_read: by table, the rows that came from the database.
        rows_staged: of these, the rows that can be used.
        rows_quarantined: the others.
        values_cleared: by `table.column`, values that were out of range and became null.
    """

    def __init__(self, extracted_at: datetime) -> None:
        self.rows_read: Counter[str] = Counter()
        self.rows_staged: Counter[str] = Counter()
        self.rows_quarantined: Counter[str] = Counter()
        self.values_cleared: Counter[str] = Counter()
        self._extracted_at = extracted_at
        self._faults: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._examples: dict[tuple[str, str, str], list[UnusableRow]] = defaultdict(list)
        self._file = tempfile.SpooledTemporaryFile(max_size=_BYTES_IN_MEMORY)  # noqa: SIM115 -- closed by __exit__
        self._writer = pa.ipc.new_stream(self._file, QUARANTINE.arrow_schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(
        self, dataset: Dataset, batch: SortedBatch, source_columns: Mapping[str, str | None]
    ) -> None:
        """Writes down what became of one batch of a table.

        Args:
            dataset: the table.
            batch: the batch, parted.
            source_columns: what the source calls the columns of the dataset; a person who looks
                for a row looks there.
        """
        table = dataset.name
        self.rows_read[table] += len(batch.usable) + len(batch.unusable)
        self.rows_staged[table] += len(batch.usable)
        first_number = self.rows_quarantined[table] + 1
        self.rows_quarantined[table] += len(batch.unusable)
        for column, count in batch.cleared.items():
            self.values_cleared[f"{table}.{column}"] += count
        rows = []
        for number, row in enumerate(batch.unusable, first_number):
            column = source_columns[row.column] or row.column
            self._faults[table][column, row.reason] += 1
            examples = self._examples[table, column, row.reason]
            if len(examples) < _EXAMPLES_SHOWN:
                examples.append(row)
            rows.append(
                {
                    "source_table": f"{SCHEMA}.{table}",
                    "row_number": number,
                    "row_key": row.row_key,
                    "source_column": column,
                    "reason": row.reason,
                    "raw_text": row.raw_text,
                    "extracted_at": self._extracted_at,
                }
            )
        if rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(rows, QUARANTINE.arrow_schema))

    def require_few(self) -> None:
        """Refuses an extract of which too much can't be used.

        Raises:
            TooManyUnusableRows: over 1 % of the rows of any one table.
        """
        too_many = [
            table
            for table, count in self.rows_quarantined.items()
            if count > LARGEST_UNUSABLE_SHARE * self.rows_read[table]
        ]
        if too_many:
            raise TooManyUnusableRows(
                f"Over {LARGEST_UNUSABLE_SHARE:.0%} of a table's rows can't be used, so nothing is "
                "published:\n"
                + "\n".join(line for table in too_many for line in self._described(table))
                + "\nCorrect or delete these rows in the fleet database, then run again."
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The quarantined rows, in the order of the tables and within them as they were met."""
        self._writer.close()
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)

    def _described(self, table: str) -> Iterator[str]:
        unusable, read = self.rows_quarantined[table], self.rows_read[table]
        yield f"  - {SCHEMA}.{table}: {unusable:,} of {read:,} rows ({unusable / read:.1%})"
        for (column, reason), count in self._faults[table].most_common():
            examples = "; ".join(
                f"{display_name(row.row_key or 'unreadable key', _LONGEST_EXAMPLE)}: "
                f"'{display_name(row.raw_text, _LONGEST_EXAMPLE)}'"
                for row in self._examples[table, column, reason]
            )
            yield f"    {SCHEMA}.{table}.{column}: {count:,} {reason} (by key, {examples})"
