"""The fleet database: somebody else's PostgreSQL, read in one transaction.

Belongs here: the order of events of an extract. Does not belong here: where its rows go (a sink's
business), and whether what was read makes sense (the asset checks' business).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

import pyarrow as pa
from pydantic import SecretStr

from assets.compute.quarantine import sort_batch
from assets.publishing.interfaces import ExtractSink, ExtractSummary
from assets.schemas import OPTIONAL_TABLES, QUARANTINE, REQUIRED_TABLES, SOURCE_TABLES
from assets.schemas.dictionary import Dataset
from assets.schemas.source import (
    DERIVATION_STATUSES,
    DERIVATIONS,
    ENVIRONMENTS,
    FLAKES,
    SYSTEM_STATES,
)
from pipelines.fleet import queries
from pipelines.fleet.connection import FleetConnection
from pipelines.fleet.errors import FleetDatabaseError, FleetDatabaseUnavailable
from pipelines.fleet.preflight import SCHEMA, FleetShape, inspect_fleet
from pipelines.fleet.quarantine import QuarantineLog
from pipelines.fleet.reported_paths import ReportedPaths

# Large enough that a batch costs little, small enough that a few of them are nothing.
BATCH_BYTES = 16 * 2**20
PATHS_A_LOOK_UP = 1_000

# Others refer to their rows: without one of them, what is built would look as if it were not, and
# who has an environment as if nobody had recorded it.
NEEDED_WHOLE = (DERIVATION_STATUSES, ENVIRONMENTS)

# What hosts report comes first: by it we know which package derivations are needed.
_READING_ORDER = sorted(SOURCE_TABLES, key=lambda table: (table != SYSTEM_STATES, table.name))


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

    def look(self) -> FleetShape:
        """Says what there is to read, and reads nothing.

        Raises:
            FleetDatabaseMisconfigured: a person must correct URL, password, privileges or schema.
            FleetDatabaseUnavailable: unreachable, busy, or lost on the way.
        """
        with FleetConnection(self._url, self._patience) as connection:
            connection.run(*queries.begin_look_around(self._statement_timeout))
            return inspect_fleet(connection)

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables as of one instant and hands them to the sink.

        The sink is called once a table, and last with `QUARANTINE`, each in the schema of its
        dataset. It must take every batch; there may be none. Rows are read while it takes them, so
        a sink that keeps no batch needs memory for one batch only.

        Raises:
            FleetDatabaseMisconfigured: a person must correct URL, password, privileges or schema.
            FleetDatabaseUnavailable: unreachable, busy, locked or lost on the way; try again.
            TooManyUnusableRows: of a required table; what the sink was given is worthless.
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
            notes = list(shape.notes)
            read: list[Dataset] = []
            with QuarantineLog(extracted_at) as log, ReportedPaths() as reported:
                for dataset in _READING_ORDER:
                    if dataset not in shape.tables:
                        continue
                    batches = self._read(connection, dataset, shape, log, reported)
                    if dataset in OPTIONAL_TABLES:
                        usable = _read_if_possible(connection, dataset, batches, log)
                        if isinstance(usable, str):
                            notes.append(usable)
                            continue
                        batches = usable
                    sink.write(dataset, batches)
                    _require_exhausted(batches, dataset)
                    read.append(dataset)
                # Before the sink's last work, so that the owner's tables are free again.
                connection.run(queries.END)
                log.require_few(REQUIRED_TABLES)
                quarantined = log.batches()
                sink.write(QUARANTINE, quarantined)
                _require_exhausted(quarantined, QUARANTINE)
        return ExtractSummary(
            extracted_at=extracted_at,
            generation=shape.generation,
            server_version=shape.server_version,
            rows_read=_by_table(log.rows_read, read),
            rows_staged=_by_table(log.rows_staged, read),
            rows_quarantined=_by_table(log.rows_quarantined, read),
            values_cleared=dict(log.values_cleared),
            optional_tables=tuple(table.name for table in read if table in OPTIONAL_TABLES),
            notes=tuple(notes),
        )

    def _read(
        self,
        connection: FleetConnection,
        dataset: Dataset,
        shape: FleetShape,
        log: QuarantineLog,
        reported: ReportedPaths,
    ) -> Iterator[pa.RecordBatch]:
        [key] = dataset.key
        table = f"{SCHEMA}.{dataset.name}"
        statements = iter([queries.select_table(dataset, shape)])
        if dataset == DERIVATIONS:
            statements = chain(statements, _packages_that_explain(reported, shape))
        for statement in statements:
            for batch in connection.stream(statement, table, self._batch_bytes):
                parted = sort_batch(
                    batch,
                    dataset.arrow_schema,
                    key=key,
                    flake="id" if dataset == FLAKES else "flake_id",
                    paths=queries.PATH_COLUMNS.get(dataset.name, ()),
                    dispensable=queries.DISPENSABLE_COLUMNS.get(dataset.name, ()),
                )
                log.add(dataset, parted, shape.source_columns[dataset.name])
                reported.note(dataset, parted.usable)
                if len(parted.usable):
                    yield parted.usable


def _packages_that_explain(reported: ReportedPaths, shape: FleetShape) -> Iterator[str]:
    """The statements that look up the paths which no derivation read so far has.

    Made only once those have been read, which is when the first of them is asked for.
    """
    for paths in reported.unexplained(PATHS_A_LOOK_UP):
        yield queries.select_packages(paths, shape)


def _read_if_possible(
    connection: FleetConnection,
    dataset: Dataset,
    batches: Iterator[pa.RecordBatch],
    log: QuarantineLog,
) -> Iterator[pa.RecordBatch] | str:
    """Reads an optional table whole; gives instead the reason why it counts as absent."""
    connection.run("SAVEPOINT optional_table")
    try:
        read = list(batches)
    except FleetDatabaseError as error:
        # Raises where the connection is gone, which is no fault of the table.
        connection.run("ROLLBACK TO SAVEPOINT optional_table")
        fault = str(error)
    else:
        is_needed_whole = dataset in NEEDED_WHOLE
        problem = log.any_unusable(dataset) if is_needed_whole else log.too_many(dataset)
        if problem is None:
            return iter(read)
        fault = f"{'some' if is_needed_whole else 'too much'} of it can't be used.\n{problem}"
    log.forget(dataset)
    return f"The optional table {SCHEMA}.{dataset.name} counts as absent: {fault}"


def _by_table(counts: Mapping[str, int], tables: Sequence[Dataset]) -> dict[str, int]:
    return {table.name: counts[table.name] for table in tables}


def _require_exhausted(batches: Iterator[pa.RecordBatch], dataset: Dataset) -> None:
    if next(batches, None) is not None:
        raise RuntimeError(f"The sink did not take every row of {dataset.name}.")
