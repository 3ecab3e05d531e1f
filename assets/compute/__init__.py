"""The computations: pandas in, pandas out; nothing here knows Dagster, databases or files."""
