"""Publishing the days of a run: compute, judge, publish and report, one day after the other."""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pandas as pd
import pyarrow as pa

from assets.publishing.checks import JudgedCheck, conformity_checks, first_failures
from assets.publishing.conformity import Problem, UnpublishableDataError, to_arrow
from assets.publishing.days import Day
from assets.publishing.interfaces import HistoryDatabase, LoadOutcome, ReportStore
from assets.publishing.metadata import (
    Metadata,
    lineage_metadata,
    publication_metadata,
    row_metadata,
)
from assets.publishing.replacement import Outcome
from assets.publishing.retries import Retries
from assets.schemas import Dataset

StepEvents = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]
ComputeDay = Callable[[Day], tuple[pd.DataFrame, Sequence[JudgedCheck]]]

PROGRESS_REPORTS = 20


def newest_published(reports: ReportStore, dataset: Dataset) -> dt.date:
    """The newest day (UTC) that is published.

    Raises:
        dg.Failure: there is none yet.
    """
    published = reports.published_dates(dataset)
    if not published:
        raise dg.Failure(
            f"No {dataset.name} is published yet. Materialize it first, or run `flakelag report`.",
            allow_retries=False,
        )
    return published[-1]


def publish_days(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    days: Sequence[Day],
    reports: ReportStore,
    compute: ComputeDay,
) -> StepEvents:
    """Publishes each day of a run, if its checks and the report store allow.

    Args:
        context: of the step.
        dataset: what is published.
        days: in order.
        reports: where to.
        compute: gives a day's rows, and what the checks say of them besides `conformity_checks`.

    Yields:
        The check results, then the materialization; each day's own metadata is added to it.

    Raises:
        dg.Failure: a blocking check failed, or the rows are not what the dataset says. Nothing of
            that day or a later one is published.
    """
    judged: list[JudgedCheck] = []
    step = max(1, len(days) // PROGRESS_REPORTS)
    for number, day in enumerate(days, start=1):
        frame, checks = compute(day)
        judged.extend(checks)
        forbidding = [check.verdict.description for check in checks if check.forbids_publishing]
        if not forbidding:
            problems: tuple[Problem, ...] = ()
            try:
                table = to_arrow(dataset, frame)
                publication = reports.publish(
                    dataset,
                    day.date,
                    table,
                    snapshot_at=day.snapshot_at.to_pydatetime(),
                    extracted_at=day.extracted_at.to_pydatetime(),
                    run_id=context.run.run_id,
                )
            except UnpublishableDataError as error:
                problems = error.problems
            judged.extend(check.on(problems) for check in conformity_checks(dataset))
            forbidding = [problem.text for problem in problems]
        if forbidding:
            yield from (check.result(dataset.name) for check in first_failures(judged))
            raise dg.Failure(
                f"{dataset.name} of {day.date} is not published. {' '.join(forbidding)}",
                allow_retries=False,
            )
        # The UI tells and plots what is published, which may be what another run has published.
        is_kept = publication.outcome in (Outcome.KEPT_NEWER, Outcome.KEPT_RICHER)
        published = reports.read(dataset, day.date) if is_kept else table
        told = publication_metadata(publication) | row_metadata(dataset, published)
        if number == len(days):
            # Of the asset's latest materialization, Dagster shows the lineage.
            told |= lineage_metadata(dataset)
        context.add_asset_metadata(told, partition_key=day.date.isoformat())
        if number % step == 0 or number == len(days):
            context.log.info(
                f"{dataset.name} {day.date}: {published.num_rows:,} rows, "
                f"{publication.outcome.value} ({number} of {len(days)} days)"
            )
    for check in first_failures(judged):
        if not check.verdict.passed:
            context.log.warning(f"{dataset.name}: {check.verdict.description}")
        yield check.result(dataset.name)
    yield dg.MaterializeResult(asset_key=dataset.name)


def keep_days(
    context: dg.AssetExecutionContext,
    published: Dataset,
    kept: Dataset,
    reports: ReportStore,
    history: HistoryDatabase,
    retries: Retries,
) -> None:
    """Copies the published days of a run into a table of the history database.

    Each counts as of the reading that its file is stamped with, whichever run published it.

    Args:
        context: of the step; each day's outcome is added to its metadata.
        published: what is copied.
        kept: the same columns, as the history database knows them.
        reports: where from.
        history: where to.
        retries: of the step, where the database is not there.
    """
    dates = sorted(dt.date.fromisoformat(key) for key in context.partition_keys)
    readings: dict[dt.datetime, list[dt.date]] = defaultdict(list)
    for date in dates:
        readings[reports.describe(published, date).extracted_at].append(date)
    outcomes: dict[dt.date, LoadOutcome] = {}
    with retries.of(context):
        history.migrate()
        for extracted_at, days in readings.items():
            table = pa.concat_tables([reports.read(published, day) for day in days])
            outcomes |= history.replace_days(
                kept, days, table.cast(kept.arrow_schema), extracted_at=extracted_at
            )
    for date, outcome in outcomes.items():
        metadata: Metadata = {
            "history/rows": outcome.rows,
            "history/rows_added": outcome.added,
            "history/rows_removed": outcome.removed,
            "history/outcome": outcome.decision.value,
        }
        context.add_asset_metadata(metadata, partition_key=date.isoformat())
    rows = sum(outcome.rows for outcome in outcomes.values())
    added = sum(outcome.added for outcome in outcomes.values())
    context.log.info(
        f"{kept.name} in the history database: {rows:,} rows, {added:,} new or changed"
    )
