"""How an instant is written for people: known here and nowhere else."""

import datetime as dt


def minute(instant: dt.datetime) -> str:
    """An instant in UTC to the minute, `2026-11-23 09:00`, without naming the zone."""
    return instant.astimezone(dt.UTC).replace(tzinfo=None).isoformat(" ", "minutes")


def utc_minute(instant: dt.datetime) -> str:
    """An instant in UTC to the minute, naming the zone: `2026-11-23 09:00 UTC`."""
    return f"{minute(instant)} UTC"
