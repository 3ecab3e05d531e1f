"""The source tables: read from the fleet database as of one instant, staged beside the reports."""

from collections.abc import Iterator, Mapping

import dagster as dg
import pandas as pd
import pyarrow as pa

from assets.publishing.checks import (
    NOT_EMPTY_OR_SHRUNK,
    NOTHING_QUARANTINED,
    SAME_FLEET,
    FleetRead,
    JudgedCheck,
    RowsRead,
)
from assets.publishing.interfaces import (
    ExtractSink,
    ExtractSummary,
    FleetSource,
    ReportStore,
    StagedExtract,
)
from assets.publishing.metadata import (
    OWNERS,
    PREVIEW_ROWS,
    definition_metadata,
    description_of,
    publication_metadata,
    row_metadata,
    staged_metadata,
)
from assets.publishing.partitions import StepEvents
from assets.publishing.retries import Retries
from assets.publishing.unusable import flake_names, unusable_rows
from assets.schemas import QUARANTINE, REQUIRED_TABLES, SOURCE_TABLES, Dataset
from assets.schemas.source import COMMITS, FLAKES, SYSTEMS

NEVER_EMPTY = (SYSTEMS, COMMITS)
"""What even a new fleet has: without these there is nothing to say."""

NOTED_WHOLE = (FLAKES, QUARANTINE)
"""Small tables: the one shows whose fleet it is, the other is published."""


class ReadFleetDatabase(dg.Config):
    """What an operator may say to one reading."""

    accept_shrunk: bool = False
    """Publish although most rows of a table are gone, or every flake is new."""


@dg.multi_asset(
    name="read_fleet_database",
    specs=[
        dg.AssetSpec(
            dataset.name,
            description=description_of(dataset),
            group_name="fleet_database",
            kinds={"postgres", "parquet"},
            owners=OWNERS,
            metadata=definition_metadata(dataset),
        )
        for dataset in (*SOURCE_TABLES, QUARANTINE)
    ],
    check_specs=[
        *(NOT_EMPTY_OR_SHRUNK.spec(table.name) for table in REQUIRED_TABLES),
        SAME_FLEET.spec(FLAKES.name),
        NOTHING_QUARANTINED.spec(QUARANTINE.name),
    ],
    pool="fleet_database",
)
def read_fleet_database(
    context: dg.AssetExecutionContext,
    config: ReadFleetDatabase,
    fleet_database: dg.ResourceParam[FleetSource],
    reports: dg.ResourceParam[ReportStore],
    retries: dg.ResourceParam[Retries],
) -> StepEvents:
    """Reads the tables in one read-only transaction, so that they agree with each other."""
    before = reports.newest_extract()
    with reports.new_extract(context.run.run_id) as writer:
        with retries.of(context):
            sink = _NotingSink(writer)
            summary = fleet_database.extract(sink)
        judged = _judge(summary, sink.noted, before, config)
        for table, check in judged:
            yield check.result(table)
        forbidding = [check for _, check in judged if check.forbids_publishing]
        if forbidding:
            raise dg.Failure(
                "Nothing is published. " + " ".join(c.verdict.description for c in forbidding),
                allow_retries=False,
            )
        writer.complete(summary)
    for table, check in judged:
        if not check.verdict.passed:
            context.log.warning(f"{table}: {check.verdict.description}")
    for note in summary.notes:
        context.log.warning(note)
    for column, values in summary.values_cleared.items():
        context.log.warning(f"{values:,} values of public.{column} could not be used; now null.")
    extract = reports.extract_for_run([context.run.run_id])
    for dataset in SOURCE_TABLES:
        rows = summary.rows_staged.get(dataset.name, 0)
        context.log.info(f"{dataset.name}: {summary.rows_read.get(dataset.name, 0):,} rows read")
        yield dg.MaterializeResult(
            asset_key=dataset.name,
            metadata=staged_metadata(extract, dataset)
            | row_metadata(dataset, sink.noted[dataset.name], rows),
        )
    quarantined = sink.noted[QUARANTINE.name]
    extracted_at = pd.Timestamp(summary.extracted_at)
    publication = reports.publish(
        QUARANTINE,
        extracted_at.date(),
        quarantined,
        snapshot_at=summary.extracted_at,
        extracted_at=summary.extracted_at,
        run_id=context.run.run_id,
    )
    yield dg.MaterializeResult(
        asset_key=QUARANTINE.name,
        metadata=publication_metadata(publication) | row_metadata(QUARANTINE, quarantined),
    )


class _NotingSink:
    """A sink that keeps what the step itself needs, so that no staged table is read back for it.

    Attributes:
        noted: by table, the first rows of it; all of those in `NOTED_WHOLE`.
    """

    def __init__(self, sink: ExtractSink) -> None:
        self._sink = sink
        # An optional table that the fleet lacks is never written.
        self.noted = {d.name: d.arrow_schema.empty_table() for d in (*SOURCE_TABLES, QUARANTINE)}

    def write(self, dataset: Dataset, batches: Iterator[pa.RecordBatch]) -> None:
        self._sink.write(dataset, self._note(dataset, batches))

    def _note(
        self, dataset: Dataset, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        kept: list[pa.RecordBatch] = []
        for batch in batches:
            missing = PREVIEW_ROWS - sum(some.num_rows for some in kept)
            if dataset in NOTED_WHOLE:
                kept.append(batch)
            elif missing > 0:
                # Taken, as a slice would keep the whole batch in memory.
                kept.append(batch.take(pa.array(range(min(missing, batch.num_rows)))))
            yield batch
        self.noted[dataset.name] = pa.Table.from_batches(kept, dataset.arrow_schema)


def _judge(
    summary: ExtractSummary,
    noted: Mapping[str, pa.Table],
    before: StagedExtract | None,
    config: ReadFleetDatabase,
) -> list[tuple[str, JudgedCheck]]:
    rows_before: Mapping[str, int] = {}
    repositories_before: frozenset[str] = frozenset()
    if before is not None:
        rows_before = before.rows_read
        repositories_before = _repositories(before.table(FLAKES.name))
    flakes = noted[FLAKES.name]
    unusable = unusable_rows(noted[QUARANTINE.name], flake_names(flakes))
    fleet = FleetRead(_repositories(flakes), repositories_before, config.accept_shrunk)
    return [
        *(
            (
                table.name,
                NOT_EMPTY_OR_SHRUNK.on(
                    RowsRead(
                        table=table.name,
                        rows=summary.rows_read[table.name],
                        rows_before=rows_before.get(table.name),
                        may_be_empty=table not in NEVER_EMPTY,
                        accept_shrunk=config.accept_shrunk,
                    )
                ),
            )
            for table in REQUIRED_TABLES
        ),
        (FLAKES.name, SAME_FLEET.on(fleet)),
        (QUARANTINE.name, NOTHING_QUARANTINED.on(unusable)),
    ]


def _repositories(flakes: pa.Table) -> frozenset[str]:
    return frozenset(flakes["repo_url"].to_pylist())
