"""Where the files that are not datasets lie, below REPORTS_DIR."""

import datetime as dt

LATEST_PAGE = "latest.html"
METRICS_FILE = "metrics/flakelag.prom"
ANALYSTS_FILE = "flakelag.duckdb"


def page_of(date: dt.date) -> str:
    """The report page of one day (UTC)."""
    return f"pages/{date}.html"
