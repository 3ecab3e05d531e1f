"""Publishing the days of a run: compute, judge, publish and report, one day after the other."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pandas as pd

from assets.checks import JudgedCheck, first_failures
from assets.days import Day
from assets.interfaces import ReportStore
from assets.presentation import publication_metadata, row_metadata
from assets.publication import to_arrow
from assets.schemas import Dataset

StepEvents = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]
ComputeDay = Callable[[Day], tuple[pd.DataFrame, Sequence[JudgedCheck]]]

PROGRESS_REPORTS = 20


def publish_days(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    days: Sequence[Day],
    reports: ReportStore,
    compute: ComputeDay,
) -> StepEvents:
    """Publishes each day of a run, if its checks allow.

    Args:
        context: of the step.
        dataset: what is published.
        days: in order.
        reports: where to.
        compute: gives a day's rows and what the checks say of them.

    Yields:
        The check results, then the materialization; each day's own metadata is added to it.

    Raises:
        dg.Failure: a blocking check failed. Nothing of that day or a later one is published.
    """
    judged: list[JudgedCheck] = []
    step = max(1, len(days) // PROGRESS_REPORTS)
    for number, day in enumerate(days, start=1):
        frame, checks = compute(day)
        judged.extend(checks)
        forbidding = [check for check in checks if check.forbids_publishing]
        if forbidding:
            yield from (check.result(dataset.name) for check in first_failures(judged))
            raise dg.Failure(
                f"{dataset.name} of {day.date} is not published. "
                + " ".join(check.verdict.description for check in forbidding),
                allow_retries=False,
            )
        table = to_arrow(dataset, frame)
        publication = reports.publish(
            dataset,
            day.date,
            table,
            snapshot_at=day.snapshot_at.to_pydatetime(),
            extracted_at=day.extracted_at.to_pydatetime(),
            run_id=context.run.run_id,
        )
        context.add_asset_metadata(
            row_metadata(dataset, table) | publication_metadata(publication),
            partition_key=day.date.isoformat(),
        )
        if number % step == 0 or number == len(days):
            context.log.info(
                f"{dataset.name} {day.date}: {table.num_rows:,} rows, "
                f"{publication.outcome.value} ({number} of {len(days)} days)"
            )
    yield from (check.result(dataset.name) for check in first_failures(judged))
    yield dg.MaterializeResult(asset_key=dataset.name)


def days_of_run(context: dg.AssetExecutionContext) -> list[str]:
    """The partition keys of the run, ascending."""
    return sorted(context.partition_keys)
