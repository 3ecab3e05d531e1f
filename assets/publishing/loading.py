"""From a staged extract to the indexed timeline that the computations ask."""

import threading
from dataclasses import dataclass

import dagster as dg
import pandas as pd

from assets.compute.fleet import FleetTables
from assets.compute.timeline import FleetTimeline, index_fleet
from assets.publishing.interfaces import ReportStore, StagedExtract


@dataclass(frozen=True)
class LoadedFleet:
    """An extract, indexed."""

    extract: StagedExtract
    tables: FleetTables
    timeline: FleetTimeline
    extracted_at: pd.Timestamp


class FleetLoader:
    """Loads the extract that belongs to a run.

    The last one is kept: the steps of a run share a process, and indexing is most of their work.
    """

    def __init__(self, reports: ReportStore) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        self._last: LoadedFleet | None = None

    def load(self, run: dg.DagsterRun) -> LoadedFleet:
        """The extract that the run made, or the run that it repeats; else the newest."""
        extract = self._reports.extract_for_run(related_runs(run))
        with self._lock:
            if self._last is None or self._last.extract.extracted_at != extract.extracted_at:
                tables = FleetTables.from_arrow(extract.tables())
                self._last = LoadedFleet(
                    extract,
                    tables,
                    index_fleet(tables),
                    pd.Timestamp(extract.extracted_at).as_unit("us"),
                )
            return self._last


def related_runs(run: dg.DagsterRun) -> list[str]:
    """The run, then those that it repeats, the nearest first."""
    ancestors = [run.run_id, run.parent_run_id, run.root_run_id]
    return list(dict.fromkeys(run_id for run_id in ancestors if run_id is not None))
