"""Dagster's web UI, closed to every web page but its own."""
