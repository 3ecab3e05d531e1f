"""What the dated datasets have in common as Dagster assets."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from assets.checks import Check
from assets.days import DAILY
from assets.presentation import OWNERS, Metadata, definition_metadata
from assets.schemas import Dataset


def daily_asset(
    dataset: Dataset,
    *,
    deps: Sequence[str],
    group: str,
    kinds: set[str],
    checks: Sequence[Check[Any]] = (),
    metadata: Metadata | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorates the function that makes a dataset's days.

    One run makes any number of days, so that a backfill reads the fleet database once. Its pool is
    its own: one writer at a time, whichever run it belongs to.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Dagster calls the parameter beta; there is no other way to ask for single runs.
            warnings.filterwarnings("ignore", ".*backfill_policy.*", category=dg.BetaWarning)
            return dg.asset(
                name=dataset.name,
                deps=list(deps),
                partitions_def=DAILY,
                backfill_policy=dg.BackfillPolicy.single_run(),
                group_name=group,
                kinds=kinds,
                owners=OWNERS,
                description=dataset.description,
                metadata=definition_metadata(dataset) | (metadata or {}),
                check_specs=[check.spec(dataset.name) for check in checks],
                pool=dataset.name,
            )(function)

    return decorate
