"""What is published for a fixed fleet and fixed instants, as digests of the contents.

A change of structure must leave every digest as it is; a change of results renews those that it
means to change, and its commit says why. `python -m tests.golden` prints them, with `--write` they
go to `digests.json`. Contents are digested and not files, whose bytes are those of a library's
version.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
from pydantic import SecretStr

from assets.publishing.interfaces import ExtractSink, ExtractSummary
from assets.publishing.layout import ANALYSTS_FILE, METRICS_FILE, page_of
from assets.schemas import PUBLISHED_DATASETS, SOURCE_TABLES
from pipelines.demo.ensure import grant_reader_role
from pipelines.demo.fleet import DemoFleet, generate_fleet
from pipelines.demo.load import fill_database
from pipelines.demo.source_schema import Generation
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.extraction import FleetDatabase
from pipelines.postgres.address import startup_options
from pipelines.postgres.session import PINNED
from tests.integration.pipeline import Pipeline, failures, quiet_instance

DIGESTS = Path(__file__).with_name("digests.json")

EXTRACTED_AT = dt.datetime(2026, 5, 31, 13, 37, 42, 123456, dt.UTC)
FIRST_DAY = EXTRACTED_AT.date() - dt.timedelta(days=29)

_SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)
_HISTORY = {
    "deployment_history": "deployed_at, hostname, system_state_id",
    "deployment_history_with_end": "deployed_at, hostname, system_state_id",
    "view_system_deployment_status": "hostname",
    "deployment_velocity": "snapshot_date, flake_id",
}


class FixedReading:
    """A fleet database whose clock shows an instant of ours."""

    def __init__(self, url: str, extracted_at: dt.datetime = EXTRACTED_AT) -> None:
        self._database = FleetDatabase(SecretStr(url))
        self._extracted_at = extracted_at

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads the real database; only the instant is ours."""
        return dataclasses.replace(self._database.extract(sink), extracted_at=self._extracted_at)


def digests_of(
    generation: Generation,
    server: EmbeddedPostgres,
    folder: Path,
    spoil: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Publishes 30 days of a demo fleet of one generation, and digests what came out.

    Args:
        generation: of the source schema.
        server: running; gets two databases of this generation's name.
        folder: empty; gets the reports and a Dagster instance.
        spoil: takes the URL of each of the two databases before we first read or write it.

    Returns:
        By dataset, source table, table or view of the history, or file: a SHA-256, with the number
        of rows before it where there are rows.
    """
    fleet = server.ensure_database(f"golden_fleet_{generation}")
    spec = DemoFleet(until=EXTRACTED_AT, systems=80, commits=200, generation=generation)
    with psycopg.connect(fleet) as connection:
        fill_database(connection, generate_fleet(spec), generation)
        grant_reader_role(connection)
    history = server.ensure_database(f"golden_history_{generation}")
    for url in (fleet, history):
        spoil(url)
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range(30)]
    with quiet_instance(folder / "dagster") as instance:
        pipeline = Pipeline(
            fleet, history, folder / "reports", instance, {"fleet_database": FixedReading(fleet)}
        )
        result = pipeline.run(days[0].isoformat(), days[-1].isoformat())
        assert result.success, failures(result)
        extract = pipeline.reports.newest_extract()
        assert extract is not None
        digests = {
            f"staged/{table.name}": _digest(extract.table(table.name)) for table in SOURCE_TABLES
        }
        for dataset in PUBLISHED_DATASETS:
            dates = pipeline.reports.published_dates(dataset)
            tables = [pipeline.reports.read(dataset, date) for date in dates]
            digests[dataset.name] = _digest(pa.concat_tables(tables))
    for name, order in _HISTORY.items():
        digests[f"history/{name}"] = _history_digest(history, name, order)
    for day in (days[0], days[-1]):
        page = _SVG.sub("<svg/>", (folder / "reports" / page_of(day)).read_text())
        digests[f"page/{day}"] = _sha256(page)
    digests["metrics"] = _sha256((folder / "reports" / METRICS_FILE).read_text())
    assert (folder / "reports" / ANALYSTS_FILE).exists()
    return digests


def read_digests() -> dict[str, dict[str, str]]:
    """The digests that are kept, by generation."""
    kept: dict[str, dict[str, str]] = json.loads(DIGESTS.read_text())
    return kept


def _digest(table: pa.Table) -> str:
    columns = [
        (field.name, str(field.type), table[field.name].to_pylist()) for field in table.schema
    ]
    return f"{table.num_rows} rows {_sha256(repr(columns))}"


def _history_digest(url: str, name: str, order: str) -> str:
    with psycopg.connect(url, options=startup_options(PINNED)) as connection:
        query = f"SELECT * FROM flakelag.{name} ORDER BY {order}"
        cursor = connection.execute(query.encode())
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    return f"{len(rows)} rows {_sha256(repr((columns, rows)))}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
