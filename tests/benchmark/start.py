"""What a process takes before it does anything: importing what it needs.

Belongs here: the start of a run and of `flakelag status` beside that of their libraries. Does not
belong here: which modules they may load; that is tested.
"""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing.layout import file_of
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from tests.webservers import REPOSITORY, settings_environment

SYSTEMS = 20_000

_IMPORT = "import dagster, pandas"


def measure_start(repetitions: int) -> dict[str, float]:
    """The least processor seconds of each start, by name; the first is what the others are held to.

    They take turns, so that a busy machine is busy for all of them.
    """
    with tempfile.TemporaryDirectory(prefix="flakelag-start-") as folder:
        _write_snapshot(Path(folder))
        commands = {
            _IMPORT: ["-c", _IMPORT],
            "the definitions, as a run begins": ["-c", "import pipelines.definitions"],
            f"flakelag status of {SYSTEMS:,} systems": [
                *("-m", "pipelines.cli", "status", "--reports-dir", folder)
            ],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, arguments in commands.items():
                taken[name].append(_processor_seconds(arguments))
        return {name: min(seconds) for name, seconds in taken.items()}


def _processor_seconds(arguments: list[str]) -> float:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=settings_environment(),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # `flakelag status` ends with 1 where a system is behind.
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{arguments} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime


def _write_snapshot(folder: Path) -> None:
    """A snapshot of systems that are all alike but for their names."""
    schema = SYSTEM_DEPLOYMENT_STATUS.arrow_schema
    now = datetime.now(UTC)
    given = {
        "hostname": pa.array([f"host-{number:05}" for number in range(SYSTEMS)]),
        "deployment_status": pa.array(["behind"] * SYSTEMS),
        "flake_name": pa.array(["infrastructure"] * SYSTEMS),
        "commits_behind": pa.array(range(SYSTEMS)),
        "hours_behind": pa.array([number / 7 for number in range(SYSTEMS)]),
        **{name: pa.array([now] * SYSTEMS) for name in ("snapshot_at", "extracted_at")},
        "snapshot_date": pa.array([now.date()] * SYSTEMS),
    }
    columns = [
        given[field.name].cast(field.type) if field.name in given else pa.nulls(SYSTEMS, field.type)
        for field in schema
    ]
    fields = [pa.field(field.name, field.type) for field in schema]
    file = folder / file_of(SYSTEM_DEPLOYMENT_STATUS.name, now.date())
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), file)
