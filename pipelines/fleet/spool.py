"""Record batches that are written down once and then read again, in memory only while they are few.

Belongs here: where they lie meanwhile. Does not belong here: what they hold.
"""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

_BYTES_IN_MEMORY = 8 * 2**20


class SpooledBatches:
    """Batches of one schema; a temporary file takes them as soon as they are more than 8 MiB."""

    def __init__(self, schema: pa.Schema) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_BYTES_IN_MEMORY)  # noqa: SIM115 -- closed by __exit__
        self._writer = pa.ipc.new_stream(self._file, schema)
        self._is_whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds a batch; none can be added once they have been read."""
        self._writer.write_batch(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        """All batches, as they were written."""
        if not self._is_whole:
            # Writes the end, where the file stands.
            self._writer.close()
            self._is_whole = True
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)
