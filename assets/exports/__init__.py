"""What is published, in the words of other programs: Prometheus' metrics, DuckDB's views.

Belongs here: text made from datasets or their definitions. Does not belong here: files, Dagster.
"""
