"""Factors between units of time, each once."""

HOUR = 3_600
"""Seconds."""

DAY = 24 * HOUR
"""Seconds."""

MICROSECONDS = 1_000_000
"""In a second."""
