"""Rows of published files as a test wants them: complete, with only what matters spelled out."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.publishing.layout import file_of
from assets.schemas import DEPLOYMENTS, QUARANTINE, SYSTEM_DEPLOYMENT_STATUS, Dataset

SNAPSHOT_AT = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)


def status_row(hostname: str, **values: Any) -> dict[str, Any]:
    """A row of system_deployment_status: an up_to_date system, save for what is given."""
    return _row(
        SYSTEM_DEPLOYMENT_STATUS,
        {
            "hostname": hostname,
            "deployment_status": "up_to_date",
            "status_description": "Running latest commit",
            "commits_behind": 0,
            "flake_id": 1,
            "flake_name": "infra",
            "is_registered": True,
            "snapshot_date": SNAPSHOT_AT.date(),
            "snapshot_at": SNAPSHOT_AT,
            "extracted_at": SNAPSHOT_AT,
        },
        values,
    )


def deployment_row(hostname: str, deployed_at: dt.datetime, **values: Any) -> dict[str, Any]:
    """A row of deployments: an upgrade, save for what is given."""
    return _row(
        DEPLOYMENTS,
        {
            "hostname": hostname,
            "deployed_at": deployed_at,
            "system_state_id": 1,
            "deployment_kind": "upgrade",
            "derivation_path": "/nix/store/0000-nixos-system",
        },
        values,
    )


def _row(dataset: Dataset, usual: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    row = dict.fromkeys(dataset.column_names) | usual | values
    unknown = row.keys() - set(dataset.column_names)
    assert not unknown, f"{dataset.name} has no columns {unknown}"
    return row


def publish_status(reports_dir: Path, day: str, *rows: dict[str, Any]) -> Path:
    """Puts a snapshot where the pipeline puts it, as the pipeline does: by replacing the file."""
    return _publish(reports_dir, SYSTEM_DEPLOYMENT_STATUS, day, rows)


def publish_quarantine(reports_dir: Path, day: str, *rows: dict[str, Any]) -> None:
    """Puts source rows that can't be used where the pipeline puts them; each says what matters."""
    usual = {
        "source_column": "timestamp",
        "reason": "infinite_timestamp",
        "raw_text": "infinity",
        "extracted_at": SNAPSHOT_AT,
    }
    numbered = [
        _row(QUARANTINE, {**usual, "row_number": number}, row) for number, row in enumerate(rows, 1)
    ]
    _publish(reports_dir, QUARANTINE, day, numbered)


def publish_deployments(reports_dir: Path, *rows: dict[str, Any]) -> None:
    """Puts deployments where the pipeline puts them, each under its own day."""
    days = {row["deployed_at"].date() for row in rows}
    for day in days:
        of_day = [row for row in rows if row["deployed_at"].date() == day]
        _publish(reports_dir, DEPLOYMENTS, day.isoformat(), of_day)


def _publish(reports_dir: Path, dataset: Dataset, day: str, rows: Sequence[dict[str, Any]]) -> Path:
    file = reports_dir / file_of(dataset.name, dt.date.fromisoformat(day))
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = reports_dir / "beside.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=dataset.arrow_schema), beside)
    beside.replace(file)
    return file
