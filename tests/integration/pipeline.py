"""The whole pipeline on a real Dagster instance, for tests: real databases, real files."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.retries import Retries
from assets.schemas import Dataset
from pipelines.definitions import build_defs
from pipelines.fleet.extraction import FleetDatabase
from pipelines.history.database import HistoryDatabase
from pipelines.jobs import FLEET_STATUS_JOB
from pipelines.store.report_store import ReportStore

# Where two runs share a process, the one would keep the other's output, and leave the `tail` that
# copies it behind.
NO_OUTPUT_KEPT = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def today() -> str:
    """Today's partition."""
    return dt.datetime.now(dt.UTC).date().isoformat()


@dataclass
class Pipeline:
    """A fleet database, a history database, a folder for reports and a Dagster instance."""

    fleet_url: str
    history_url: str
    reports_dir: Path
    instance: dg.DagsterInstance
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reports(self) -> ReportStore:
        """The store over the folder."""
        return ReportStore(self.reports_dir)

    def definitions(self) -> dg.Definitions:
        """The definitions, with these databases and this folder."""
        return build_defs(
            {
                "reports": self.reports,
                "fleet_database": FleetDatabase(SecretStr(self.fleet_url)),
                "history": HistoryDatabase(SecretStr(self.history_url)),
                "retries": Retries(0.01),
                **self.overrides,
            }
        )

    def run(
        self,
        first_day: str | None = None,
        last_day: str | None = None,
        *,
        selection: Sequence[str] | None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Runs the job for a day (today by default) or a range; failures are in the result."""
        first = first_day or today()
        job = self.definitions().resolve_job_def(FLEET_STATUS_JOB)
        arguments: dict[str, Any] = {
            "instance": self.instance,
            "raise_on_error": False,
            "run_config": {"loggers": {"progress": {}}, **(run_config or {})},
            "asset_selection": None if selection is None else [dg.AssetKey(s) for s in selection],
        }
        if last_day is None:
            return job.execute_in_process(partition_key=first, **arguments)
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last_day,
        }
        return job.execute_in_process(tags=tags, **arguments)

    def published(self, dataset: Dataset, day: str | None = None) -> pa.Table:
        """One published partition."""
        return self.reports.read(dataset, dt.date.fromisoformat(day or today()))

    def files(self) -> dict[str, bytes]:
        """Every published file with its bytes, `_store` aside."""
        return {
            str(path.relative_to(self.reports_dir)): path.read_bytes()
            for path in sorted(self.reports_dir.rglob("*.parquet"))
            if "_store" not in path.parts
        }


@contextmanager
def quiet_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance below a new folder."""
    home.mkdir()
    quiet = {"telemetry": {"enabled": False}, "nux": {"enabled": False}, **NO_OUTPUT_KEPT}
    with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
        yield instance


def query(sql: str, **tables: pa.Table) -> list[tuple[Any, ...]]:
    """Asks DuckDB about Arrow tables, by name."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.execute(sql).fetchall()


def check_results(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Whether each check of a run passed, by `asset:check`."""
    return {
        f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}": evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


def failures(result: dg.ExecuteInProcessResult) -> str:
    """What the failed steps of a run say."""
    told = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            told.append(str(data.user_failure_data or "") + str(data.error))
    return "\n".join(told)
