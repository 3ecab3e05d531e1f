"""From a staged extract to the indexed timeline that the computations ask."""

from dataclasses import dataclass

import dagster as dg
import pandas as pd

from assets.compute.fleet import FleetTables
from assets.compute.timeline import FleetTimeline, index_fleet
from assets.publishing.days import Day, days_as_of
from assets.publishing.interfaces import ReportStore
from assets.publishing.unusable import UnusableRows, flake_names, unusable_rows
from assets.schemas import QUARANTINE, SOURCE_TABLES
from assets.schemas.source import FLAKES

FLEET = tuple(table.name for table in (*SOURCE_TABLES, QUARANTINE))
"""What an asset that loads the fleet depends on: all of this is opened for it."""


@dataclass(frozen=True)
class LoadedFleet:
    """An extract, indexed.

    Attributes:
        run_id: the run that it was loaded for.
        tables: all source tables.
        timeline: the same, indexed.
        extracted_at: when they were read.
        unusable: their rows that can't be used, by whom they are about.
    """

    run_id: str
    tables: FleetTables
    timeline: FleetTimeline
    extracted_at: pd.Timestamp
    unusable: tuple[UnusableRows, ...]

    def days(self, context: dg.AssetExecutionContext) -> list[Day]:
        """The days of a step's partitions, as the extract shows them."""
        return days_as_of(context.partition_keys, self.extracted_at)


class FleetLoader:
    """Loads the extract that belongs to a run: once, as the steps of a run share a process.

    So every step of a run sees the same reading, and reading and indexing are most of their work.
    """

    def __init__(self, reports: ReportStore) -> None:
        self._reports = reports
        self._last: LoadedFleet | None = None

    def load(self, run: dg.DagsterRun) -> LoadedFleet:
        """The extract that the run made, or the run that it repeats; else the newest."""
        if self._last is None or self._last.run_id != run.run_id:
            extract = self._reports.extract_for_run(related_runs(run))
            quarantine = extract.table(QUARANTINE.name)
            staged = extract.tables()
            tables = FleetTables.from_arrow(staged, quarantine)
            self._last = LoadedFleet(
                run.run_id,
                tables,
                index_fleet(tables),
                pd.Timestamp(extract.extracted_at).as_unit("us"),
                unusable_rows(quarantine, flake_names(staged[FLAKES.name])),
            )
        return self._last


def related_runs(run: dg.DagsterRun) -> list[str]:
    """The run, then those that it repeats, the nearest first."""
    ancestors = [run.run_id, run.parent_run_id, run.root_run_id]
    return list(dict.fromkeys(run_id for run_id in ancestors if run_id is not None))
