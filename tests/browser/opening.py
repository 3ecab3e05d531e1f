"""The words in which browser tests ask for a page."""

from collections.abc import Callable

from playwright.sync_api import Page

PHONE, DESK = 390, 1280
"""Widths of a window, in CSS pixels."""

PATIENCE_MS = 120_000
"""How long a page may take to show one thing.

Less than `PATIENCE_SECONDS`, because a page that shows nothing of what it should takes so long for
each thing that a test looks for.
"""

Open = Callable[..., Page]
"""What the fixture `open_html` gives."""
