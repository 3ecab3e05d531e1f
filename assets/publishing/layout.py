"""Where everything lies, and what it is called: known here and nowhere else.

Below REPORTS_DIR:

    <dataset>/date=YYYY-MM-DD/data.parquet      one file a day (UTC), and nothing else beside it
    pages/YYYY-MM-DD.html  latest.html          the report page of a day, and of the newest day
    metrics/flakelag.prom  flakelag.duckdb      the newest snapshot as metrics, the analysts' views
    _store/                                     what only flakelag itself has business in

Below FLAKELAG_VAR_DIR a folder each for Dagster and the embedded PostgreSQL.

Belongs here: names and paths. Does not belong here: reading, writing, modes. Imports neither
Dagster nor pandas, because the commands that read what is published load neither.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

LATEST_PAGE = "latest.html"
METRICS_FILE = "metrics/flakelag.prom"
ANALYSTS_FILE = "flakelag.duckdb"

PARTITION_KEY = "date="
PARTITION_FILE = "data.parquet"

OWN_FOLDER = "_store"
LOCKS = f"{OWN_FOLDER}/locks"
STAGING = f"{OWN_FOLDER}/staging"
STAGED_EXTRACTS = f"{STAGING}/extracts"
EXTRACTS = f"{OWN_FOLDER}/extracts"
MANIFEST = f"{OWN_FOLDER}/manifest"
ALERTS = f"{OWN_FOLDER}/alerts"

DAGSTER_FOLDER = "dagster"
POSTGRES_FOLDER = "postgres"
VAR_FOLDERS = (DAGSTER_FOLDER, POSTGRES_FOLDER)

EXTRACT_SUMMARY = "extract.json"
EXTRACT_LOCK = "lock"


def page_of(date: dt.date) -> str:
    """The report page of one day (UTC)."""
    return f"pages/{date}.html"


def partition_of(dataset: str, date: dt.date) -> str:
    """The folder of one day (UTC) of a dataset."""
    return f"{dataset}/{PARTITION_KEY}{date.isoformat()}"


def file_of(dataset: str, date: dt.date) -> str:
    """The file of one day (UTC) of a dataset."""
    return f"{partition_of(dataset, date)}/{PARTITION_FILE}"


def record_of(dataset: str, date: dt.date) -> str:
    """What the store writes down about one day (UTC) of a dataset."""
    return f"{MANIFEST}/{partition_of(dataset, date)}.json"


def alert_state_of(alert: str) -> str:
    """What one kind of alert has seen and told."""
    return f"{ALERTS}/{alert}.json"


def table_file(table: str) -> str:
    """The file of a source table, in the folder of an extract."""
    return f"{table}.parquet"


def published_files(root: Path, dataset: str) -> list[Path]:
    """The files of a dataset that are there, one a day (UTC), oldest first."""
    return sorted(root.glob(f"{dataset}/{PARTITION_KEY}????-??-??/{PARTITION_FILE}"))


def files_of_day(root: Path, date: dt.date) -> Iterator[Path]:
    """What is there for a day (UTC), and of what there is only the newest of."""
    yield from sorted(root.glob(file_of("*", date)))
    others = (page_of(date), LATEST_PAGE, ANALYSTS_FILE, METRICS_FILE)
    yield from (root / name for name in others if (root / name).exists())


def dataset_of(file: Path) -> str:
    """The dataset of a published file."""
    return file.parent.parent.name


def date_of(file: Path) -> dt.date:
    """The day (UTC) of a dataset's file.

    Raises:
        ValueError: its folder is not named for a day.
    """
    return dt.date.fromisoformat(file.parent.name.removeprefix(PARTITION_KEY))
