"""What the assets that have days have in common."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from assets.publishing.checks import Check
from assets.publishing.days import DAILY
from assets.publishing.metadata import OWNERS, Metadata, definition_metadata, description_of
from assets.schemas import Dataset

AssetDecorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def daily_asset(
    name: str,
    *,
    description: str,
    deps: Sequence[str],
    group: str,
    kinds: set[str],
    metadata: Metadata,
    check_specs: Sequence[dg.AssetCheckSpec] = (),
) -> AssetDecorator:
    """Decorates the function that makes the days of an asset.

    One run makes any number of days, so that a backfill reads the fleet database once. Its pool is
    its own: one writer at a time, whichever run it belongs to.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Dagster calls the parameter beta; there is no other way to ask for single runs.
            warnings.filterwarnings("ignore", ".*backfill_policy.*", category=dg.BetaWarning)
            return dg.asset(
                name=name,
                deps=list(deps),
                partitions_def=DAILY,
                backfill_policy=dg.BackfillPolicy.single_run(),
                group_name=group,
                kinds=kinds,
                owners=OWNERS,
                description=description,
                metadata=metadata,
                check_specs=list(check_specs),
                pool=name,
            )(function)

    return decorate


def daily_dataset(
    dataset: Dataset,
    *,
    deps: Sequence[str],
    group: str,
    kinds: set[str],
    checks: Sequence[Check[Any]] = (),
    metadata: Metadata | None = None,
) -> AssetDecorator:
    """Decorates the function that makes the days of a dataset; see `daily_asset`."""
    return daily_asset(
        dataset.name,
        description=description_of(dataset),
        deps=deps,
        group=group,
        kinds=kinds,
        metadata=definition_metadata(dataset) | (metadata or {}),
        check_specs=[check.spec(dataset.name) for check in checks],
    )
