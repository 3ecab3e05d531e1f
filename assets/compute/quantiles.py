"""Interpolated quantiles, as PostgreSQL's PERCENTILE_CONT."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pandas.core.groupby import SeriesGroupBy


def quantiles(grouped: "SeriesGroupBy[Any, Any]", shares: Sequence[float]) -> pd.DataFrame:
    """The quantiles of each group of a grouped column: a column for each share, 0.5 the median.

    Null where a group has no value.
    """
    return pd.DataFrame({share: grouped.quantile(share).astype("float64") for share in shares})
