"""A process that reads a fleet and stops for good in the middle: run as a program by tests."""

import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
from pydantic import SecretStr

from assets.schemas.dictionary import Dataset
from pipelines.fleet.extraction import FleetDatabase


class Stopped:
    """A sink that stops its process when the first states have come."""

    def __init__(self, *, with_group: bool) -> None:
        self._with_group = with_group

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        if dataset.name == "system_states":
            next(batches)
            print("in the middle", flush=True)
            if self._with_group:
                os.killpg(0, signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
        for _ in batches:
            continue


if __name__ == "__main__":
    url, seconds, who = sys.argv[1:]
    database = FleetDatabase(
        SecretStr(url), batch_bytes=100_000, patience=timedelta(seconds=float(seconds))
    )
    database.extract(Stopped(with_group=who == "all"))
