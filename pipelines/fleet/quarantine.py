"""The rows that can't be used, as they are met: kept for the quarantine, counted for the verdict.

Belongs here: writing them down without holding them all in memory, and refusing an extract of which
too much is missing. Does not belong here: deciding which rows they are
(`assets.compute.quarantine`).
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

import pyarrow as pa

from assets.compute.quarantine import SortedBatch, UnusableRow
from assets.publishing.display import display_name
from assets.schemas import QUARANTINE
from assets.schemas.dictionary import Dataset
from assets.schemas.source import SYSTEM_STATES
from pipelines.fleet.errors import TooManyUnusableRows
from pipelines.fleet.preflight import SCHEMA

# More than the one and more than the other: a few rows stop nothing, however small the table.
LARGEST_UNUSABLE_SHARE = 0.01
LARGEST_UNUSABLE_COUNT = 10

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
        self._hosts: set[str] = set()
        # None stands for whoever reported under a name that can't be read.
        self._hosts_at_fault: set[str | None] = set()
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
        if dataset == SYSTEM_STATES:
            self._hosts.update(batch.usable["hostname"].unique().to_pylist())
            self._hosts_at_fault.update(row.hostname for row in batch.unusable)
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
                    "hostname": row.hostname,
                    "flake_id": row.flake_id,
                }
            )
        if rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(rows, QUARANTINE.arrow_schema))

    def require_few(self, tables: Iterable[Dataset]) -> None:
        """Refuses an extract of which too much can't be used.

        Raises:
            TooManyUnusableRows: of any of the tables.
        """
        problems = [problem for table in tables if (problem := self.too_many(table)) is not None]
        if problems:
            raise TooManyUnusableRows(
                "So much of a table can't be used that nothing is published:\n"
                + "\n".join(problems)
                + "\nCorrect or delete these rows in the fleet database, then run again."
            )

    def too_many(self, dataset: Dataset) -> str | None:
        """Says what is wrong with a table of which too much can't be used; None of any other.

        Too much is more than 1 % and more than 10 of its rows. In `system_states` hosts are counted
        and not rows, so that no host can keep the others from being published by what it reports.
        """
        table = dataset.name
        unusable, of, what = self.rows_quarantined[table], self.rows_read[table], "rows"
        if dataset == SYSTEM_STATES:
            hosts = self._hosts | self._hosts_at_fault
            unusable, of, what = len(self._hosts_at_fault), len(hosts), "hosts"
        if unusable <= max(LARGEST_UNUSABLE_COUNT, LARGEST_UNUSABLE_SHARE * of):
            return None
        return self._faults_of(table, f"{unusable:,} of {of:,} {what} ({unusable / of:.1%})")

    def any_unusable(self, dataset: Dataset) -> str | None:
        """Says which rows of a table can't be used; None where all can."""
        unusable, of = self.rows_quarantined[dataset.name], self.rows_read[dataset.name]
        return self._faults_of(dataset.name, f"{unusable:,} of {of:,} rows") if unusable else None

    def _faults_of(self, table: str, how_many: str) -> str:
        lines = [f"  - {SCHEMA}.{table}: {how_many}"]
        for (column, reason), count in self._faults[table].most_common():
            examples = "; ".join(
                f"{display_name(row.row_key or 'unreadable key', _LONGEST_EXAMPLE)}: "
                f"'{display_name(row.raw_text, _LONGEST_EXAMPLE)}'"
                for row in self._examples[table, column, reason]
            )
            lines.append(f"    {SCHEMA}.{table}.{column}: {count:,} {reason} (by key, {examples})")
        return "\n".join(lines)

    def forget(self, dataset: Dataset) -> None:
        """Takes back what was written down of a table that counts as absent."""
        for counts in (self.rows_read, self.rows_staged, self.rows_quarantined):
            del counts[dataset.name]
        for column in dataset.column_names:
            del self.values_cleared[f"{dataset.name}.{column}"]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The quarantined rows, by table and within it as they were met."""
        self._writer.close()
        for table in sorted(name for name, rows in self.rows_quarantined.items() if rows):
            self._file.seek(0)
            for batch in pa.ipc.open_stream(self._file):
                if batch["source_table"][0].as_py() == f"{SCHEMA}.{table}":
                    yield batch
