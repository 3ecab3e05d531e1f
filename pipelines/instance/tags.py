"""Dagster's own tags of a run that say which days it is for."""

PARTITION_TAG = "dagster/partition"
"""One day."""

RANGE_START_TAG = "dagster/asset_partition_range_start"
"""The first of several days, as Dagster's backfills set it."""

RANGE_END_TAG = "dagster/asset_partition_range_end"
"""The last of them."""
