"""The project's own way: staged tables, one index of the fleet, and what is computed from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from assets.compute.deployments import deployments
from assets.compute.flake_status import flake_deployment_status
from assets.compute.fleet import FleetTables
from assets.compute.status import system_deployment_status
from assets.compute.timeline import index_fleet
from assets.publishing.conformity import to_arrow
from assets.schemas import (
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    SYSTEM_DEPLOYMENT_STATUS,
    Dataset,
)
from pipelines.store.extracts import StagedExtract
from pipelines.store.report_store import ReportStore
from tests.benchmark.measure import Stopwatch, peak_memory
from tests.benchmark.rows import write_rows

READ = "staged Parquet to pandas"
INDEX = "index, once for all instants"
STATUS = "status of every system"
FLAKES = "status of every flake"
EVENTS = "every deployment"
PUBLISH = "the status as Parquet, durable"


@dataclass(frozen=True)
class Computation:
    """What the computation took.

    Attributes:
        seconds: by part, the least of all repetitions.
        peak_memory: of the process, in bytes.
    """

    seconds: Mapping[str, float]
    peak_memory: int


def compute(folder: Path, snapshot_at: datetime, rows: Path, repetitions: int) -> Computation:
    """Computes everything of one instant from the newest extract, again and again.

    Args:
        folder: the report store with the extract.
        snapshot_at: T.
        rows: where to leave the rows of the last repetition, to be compared.
        repetitions: how often; the first is the slowest, because the system has to find memory.
    """
    stopwatch = Stopwatch()
    instant = pd.Timestamp(snapshot_at).as_unit("us")
    for number in range(repetitions):
        # Published anew each time: a second version would first be compared with the one before.
        _compute_once(stopwatch, ReportStore(folder), folder / f"published-{number}", instant, rows)
    return Computation(stopwatch.seconds, peak_memory())


def _compute_once(
    stopwatch: Stopwatch, staged: ReportStore, published: Path, instant: pd.Timestamp, rows: Path
) -> None:
    extract = staged.extract_for_run([])
    tables = stopwatch.time(READ, _read, extract)
    timeline = stopwatch.time(INDEX, index_fleet, tables)
    status = stopwatch.time(STATUS, system_deployment_status, timeline, instant, instant)
    flakes = stopwatch.time(FLAKES, flake_deployment_status, timeline, status, instant, instant)
    events = stopwatch.time(EVENTS, deployments, timeline, instant)
    stopwatch.time(PUBLISH, _publish, published, SYSTEM_DEPLOYMENT_STATUS, status, instant)
    for dataset, frame in (
        (SYSTEM_DEPLOYMENT_STATUS, status),
        (FLAKE_DEPLOYMENT_STATUS, flakes),
        (DEPLOYMENTS, events),
    ):
        write_rows(rows, dataset.name, to_arrow(dataset, frame))


def _read(extract: StagedExtract) -> FleetTables:
    return FleetTables.from_arrow(extract.tables())


def _publish(root: Path, dataset: Dataset, frame: pd.DataFrame, instant: pd.Timestamp) -> None:
    ReportStore(root).publish(
        dataset,
        (instant - pd.Timedelta(1, "us")).date(),
        to_arrow(dataset, frame),
        snapshot_at=instant.to_pydatetime(),
        extracted_at=instant.to_pydatetime(),
        run_id="benchmark",
    )
