"""What the assets share on the way from computed rows to a published partition.

Belongs here: days, loading, conformity, replacement, checks, retries, Dagster's metadata, and where
a file lies (`layout`). Does not belong here: which assets there are; how a file or a table in
PostgreSQL is written, which `pipelines` does.
"""
