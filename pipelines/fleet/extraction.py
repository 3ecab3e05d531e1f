"""The fleet database: somebody else's PostgreSQL, read in one transaction.

Belongs here: the order of events of an extract. Does not belong here: where its rows go (a sink's
business), and whether what was read makes sense (the asset checks' business).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from pydantic import SecretStr

from assets.compute.quarantine import sort_batch
from assets.publishing.interfaces import ExtractSink
from assets.schemas import QUARANTINE
from assets.schemas.dictionary import Dataset
from pipelines.fleet import queries
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.errors import FleetDatabaseUnavailable
from pipelines.fleet.preflight import SCHEMA, FleetShape, Generation, inspect_fleet
from pipelines.fleet.quarantine import QuarantineLog

# Large enough that a batch costs little, small enough that a few of them are nothing.
BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ExtractSummary:
    """What one extract found; for every table, rows read = rows staged + rows quarantined.

    Attributes:
        extracted_at: the instant, by the server's clock, as of which all tables were read (UTC).
        generation: of the fleet's schema.
        server_version: of PostgreSQL, as it counts: 180004 for 18.4.
        rows_read: by table, `package` derivations aside.
        rows_staged: by table.
        rows_quarantined: by table.
        values_cleared: by `table.column`, dispensable values that were out of range and are null.
        optional_tables: names of the optional tables that were read.
        notes: why other optional tables that exist were not, and what to do.
    """

    extracted_at: datetime
    generation: Generation
    server_version: int
    rows_read: Mapping[str, int]
    rows_staged: Mapping[str, int]
    rows_quarantined: Mapping[str, int]
    values_cleared: Mapping[str, int]
    optional_tables: tuple[str, ...]
    notes: tuple[str, ...]


class FleetDatabase:
    """A Crystal Forge database that we may read and nothing else."""

    def __init__(
        self,
        url: SecretStr,
        *,
        lock_timeout: timedelta = timedelta(seconds=10),
        statement_timeout: timedelta = timedelta(minutes=10),
        transaction_timeout: timedelta = timedelta(minutes=30),
        patience: timedelta = timedelta(seconds=60),
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """Connects to nothing yet.

        Args:
            url: libpq URL or conninfo string; a password may come from libpq's own places instead.
            lock_timeout: how long to wait while the owner changes a table.
            statement_timeout: how long reading one table may take, and how long we may be idle.
            transaction_timeout: how long the whole may take (PostgreSQL 17 and newer), during which
                the owner can't change the tables' shape.
            patience: how long the server may send nothing at all before it is given up on.
            batch_bytes: about how large a record batch is.
        """
        self._url = url
        self._lock_timeout = lock_timeout
        self._statement_timeout = statement_timeout
        self._transaction_timeout = transaction_timeout
        self._patience = patience
        self._batch_bytes = batch_bytes

    def __repr__(self) -> str:
        return "FleetDatabase(**********)"

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables as of one instant and hands them to the sink.

        The sink is called once a table, and last with `QUARANTINE`, each in the schema of its
        dataset. It must take every batch; there may be none. Rows are read while it takes them, so
        a sink that keeps no batch needs memory for one batch only.

        Raises:
            FleetDatabaseMisconfigured: a person must correct URL, password, privileges or schema.
            FleetDatabaseUnavailable: unreachable, busy, locked or lost on the way; try again.
            TooManyUnusableRows: over 1 % of a table's rows; what the sink was given is worthless.
        """
        with FleetConnection(self._url, self._patience) as connection:
            connection.run(*queries.begin_look_around(self._statement_timeout))
            expected = inspect_fleet(connection)
            connection.run(queries.END)
            connection.run(
                *queries.begin_extract(
                    expected,
                    lock_timeout=self._lock_timeout,
                    statement_timeout=self._statement_timeout,
                    transaction_timeout=self._transaction_timeout,
                ),
                longer=self._lock_timeout,
            )
            [transaction] = connection.query(queries.EXTRACTED_AT)
            extracted_at: datetime = transaction["extracted_at"]
            # Looked at again, because only now are the tables kept from changing.
            shape = inspect_fleet(connection)
            if shape.tables != expected.tables:
                raise FleetDatabaseUnavailable(
                    "The tables of the fleet database change just now (a migration?)."
                )
            with QuarantineLog(extracted_at) as log:
                # By name, which is the order of the quarantine.
                for dataset in sorted(shape.tables, key=lambda table: table.name):
                    batches = self._read(connection, dataset, shape, log)
                    sink.write(dataset, batches)
                    _require_exhausted(batches, dataset)
                # Before the sink's last work, so that the owner's tables are free again.
                connection.run(queries.END)
                log.require_few()
                quarantined = log.batches()
                sink.write(QUARANTINE, quarantined)
                _require_exhausted(quarantined, QUARANTINE)
        return ExtractSummary(
            extracted_at=extracted_at,
            generation=shape.generation,
            server_version=shape.server_version,
            rows_read=_by_table(log.rows_read, shape),
            rows_staged=_by_table(log.rows_staged, shape),
            rows_quarantined=_by_table(log.rows_quarantined, shape),
            values_cleared=dict(log.values_cleared),
            optional_tables=shape.optional_tables,
            notes=shape.notes,
        )

    def _read(
        self, connection: FleetConnection, dataset: Dataset, shape: FleetShape, log: QuarantineLog
    ) -> Iterator[pa.RecordBatch]:
        [key] = dataset.key
        statement = queries.select_table(dataset, shape)
        for batch in connection.stream(statement, f"{SCHEMA}.{dataset.name}", self._batch_bytes):
            parted = sort_batch(
                batch,
                dataset.arrow_schema,
                key=key,
                dispensable=queries.DISPENSABLE_COLUMNS.get(dataset.name, ()),
            )
            log.add(dataset, parted, shape.source_columns[dataset.name])
            if len(parted.usable):
                yield parted.usable


def _by_table(counts: Mapping[str, int], shape: FleetShape) -> dict[str, int]:
    return {table.name: counts[table.name] for table in shape.tables}


def _require_exhausted(batches: Iterator[pa.RecordBatch], dataset: Dataset) -> None:
    if next(batches, None) is not None:
        raise RuntimeError(f"The sink did not take every row of {dataset.name}.")
