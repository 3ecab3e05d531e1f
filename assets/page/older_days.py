"""Snapshots from before an upgrade, which lack the columns that it brought."""

import pandas as pd

from assets.compute.fleet import frame_from_arrow
from assets.schemas import Dataset


def with_every_column(frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """A frame in which a column that it lacks and that may be null is null.

    Args:
        frame: published at any time.
        dataset: whose frame it is.
    """
    lacking = [
        column.name
        for column in dataset.columns
        if column.nullable and column.name not in frame.columns
    ]
    if not lacking:
        return frame
    blank = frame_from_arrow(dataset.arrow_schema.empty_table().select(lacking))
    return frame.join(blank.reindex(frame.index))
