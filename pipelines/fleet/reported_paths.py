"""The paths that hosts report, and which of them the derivations read so far explain.

Package derivations outnumber all others by far and stay in the database, but a host can run one:
those that explain a reported path are looked up by it. So the paths are remembered while the states
are read, and crossed out while the other derivations are.
"""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from assets.schemas.dictionary import Dataset
from assets.schemas.source import DERIVATIONS, SYSTEM_STATES

_BYTES_IN_MEMORY = 8 * 2**20
_PATHS = pa.schema([pa.field("path", pa.string())])


class ReportedPaths:
    """The distinct paths of all states, less those that a derivation has.

    Memory: a hash of each distinct path. Their texts, which hosts choose, go to a temporary file.
    """

    def __init__(self) -> None:
        self._unexplained: set[int] = set()
        self._file = tempfile.SpooledTemporaryFile(max_size=_BYTES_IN_MEMORY)  # noqa: SIM115 -- closed by __exit__
        self._writer = pa.ipc.new_stream(self._file, _PATHS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def note(self, dataset: Dataset, batch: pa.RecordBatch) -> None:
        """Takes a batch of staged rows: states add paths, derivations cross them out."""
        if dataset == SYSTEM_STATES:
            paths = batch["deployed_path"].unique().to_pylist()
            new = [path for path in paths if path.strip() and hash(path) not in self._unexplained]
            self._unexplained.update(map(hash, new))
            self._writer.write_batch(pa.record_batch([pa.array(new, pa.string())], _PATHS))
        elif dataset == DERIVATIONS:
            # A prediction counts only where nothing is built.
            built = pc.not_equal(pc.ascii_trim_whitespace(batch["store_path"]), "")
            nothing_built = pc.invert(pc.fill_null(built, fill_value=False))
            predicted = batch["expected_store_path"].filter(nothing_built)
            for paths in (batch["derivation_path"], batch["store_path"], predicted):
                self._unexplained.difference_update(map(hash, paths.to_pylist()))

    def unexplained(self, at_once: int) -> Iterator[list[str]]:
        """The paths that are left once all batches have been noted, at most so many at once."""
        self._writer.close()
        self._file.seek(0)
        kept: list[str] = []
        for batch in pa.ipc.open_stream(self._file):
            kept += [p for p in batch["path"].to_pylist() if hash(p) in self._unexplained]
            while len(kept) >= at_once:
                yield kept[:at_once]
                kept = kept[at_once:]
        if kept:
            yield kept
