"""The paths that hosts report, and which of them the derivations read so far explain.

Package derivations outnumber all others by far and stay in the database, but a host can run one:
those that explain a reported path are looked up by it. So the paths are remembered while the states
are read, and crossed out while the other derivations are.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from assets.schemas.dictionary import Dataset
from assets.schemas.source import DERIVATIONS, SYSTEM_STATES
from pipelines.fleet.spool import SpooledBatches

_PATHS = pa.schema([pa.field("path", pa.string())])


class ReportedPaths:
    """The distinct paths of all states, less those that a derivation has.

    Memory: a hash of each distinct path. Their texts, which hosts choose, go to a temporary file.
    """

    def __init__(self) -> None:
        self._unexplained: set[int] = set()
        self._spool = SpooledBatches(_PATHS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spool.__exit__(exception_type, exception, traceback)

    def note(self, dataset: Dataset, batch: pa.RecordBatch) -> None:
        """Takes a batch of staged rows: states add paths, derivations cross them out."""
        if dataset == SYSTEM_STATES:
            paths = batch["deployed_path"].unique().to_pylist()
            new = [path for path in paths if path.strip() and hash(path) not in self._unexplained]
            self._unexplained.update(map(hash, new))
            self._spool.write(pa.record_batch([pa.array(new, pa.string())], _PATHS))
        elif dataset == DERIVATIONS:
            # A prediction counts only where nothing is built.
            built = pc.not_equal(pc.ascii_trim_whitespace(batch["store_path"]), "")
            nothing_built = pc.invert(pc.fill_null(built, fill_value=False))
            predicted = batch["expected_store_path"].filter(nothing_built)
            for paths in (batch["derivation_path"], batch["store_path"], predicted):
                self._unexplained.difference_update(map(hash, paths.to_pylist()))

    def unexplained(self, at_once: int) -> Iterator[list[str]]:
        """The paths that are left once all batches have been noted, at most so many at once."""
        kept: list[str] = []
        for batch in self._spool.read():
            for path in batch["path"].to_pylist():
                # What was found for those before may explain it by now, and is not to be read anew.
                if hash(path) in self._unexplained:
                    kept.append(path)
                if len(kept) == at_once:
                    yield kept
                    kept = []
        if kept:
            yield kept
