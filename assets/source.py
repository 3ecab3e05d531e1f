"""The source tables: read from the fleet database as of one instant, staged beside the reports."""

from collections.abc import Mapping

import dagster as dg
import pandas as pd

from assets.checks import NOTHING_QUARANTINED, JudgedCheck, RowsRead, not_empty_or_shrunk
from assets.interfaces import (
    ExtractSummary,
    FleetSource,
    ReportStore,
    StagedExtract,
)
from assets.presentation import (
    OWNERS,
    definition_metadata,
    description_of,
    publication_metadata,
    row_metadata,
    staged_metadata,
)
from assets.publishing import StepEvents
from assets.retrying import retried
from assets.schemas import QUARANTINE, SOURCE_TABLES

CHECKED_TABLES = ("systems", "commits")
"""The tables whose loss would make every status wrong without any error."""


class ReadFleetDatabase(dg.Config):
    """What an operator may say to one reading."""

    accept_shrunk: bool = False
    """Publish although `systems` or `commits` lost over half of their rows."""


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
        *(not_empty_or_shrunk().spec(table) for table in CHECKED_TABLES),
        NOTHING_QUARANTINED.spec(QUARANTINE.name),
    ],
    pool="fleet_database",
)
def read_fleet_database(
    context: dg.AssetExecutionContext,
    config: ReadFleetDatabase,
    fleet_database: dg.ResourceParam[FleetSource],
    reports: dg.ResourceParam[ReportStore],
    first_retry_seconds: dg.ResourceParam[float],
) -> StepEvents:
    """Reads the tables in one read-only transaction, so that they agree with each other."""
    before = reports.newest_extract()
    with reports.new_extract(context.run.run_id) as writer:
        with retried(context, first_retry_seconds):
            summary = fleet_database.extract(writer)
        judged = _judge(summary, before, accept_shrunk=config.accept_shrunk)
        for table, check in judged.items():
            yield check.result(table)
        forbidding = [check for check in judged.values() if check.forbids_publishing]
        if forbidding:
            raise dg.Failure(
                "Nothing is published. " + " ".join(c.verdict.description for c in forbidding),
                allow_retries=False,
            )
        writer.complete(summary)
    for note in summary.notes:
        context.log.warning(note)
    for column, values in summary.values_cleared.items():
        context.log.warning(f"{values:,} values of public.{column} could not be used; now null.")
    extract = reports.extract_for_run([context.run.run_id])
    for dataset in SOURCE_TABLES:
        table = extract.table(dataset.name)
        context.log.info(f"{dataset.name}: {table.num_rows:,} rows read")
        yield dg.MaterializeResult(
            asset_key=dataset.name,
            metadata=staged_metadata(extract, dataset) | row_metadata(dataset, table),
        )
    quarantined = extract.table(QUARANTINE.name)
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


def _judge(
    summary: ExtractSummary, before: StagedExtract | None, *, accept_shrunk: bool
) -> Mapping[str, JudgedCheck]:
    rows_before = {} if before is None else before.rows_staged
    judged = {
        table: not_empty_or_shrunk().on(
            RowsRead(table, summary.rows_staged[table], rows_before.get(table), accept_shrunk)
        )
        for table in CHECKED_TABLES
    }
    return judged | {QUARANTINE.name: NOTHING_QUARANTINED.on(summary.rows_quarantined)}
