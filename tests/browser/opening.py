"""The words in which browser tests ask for a page."""

from collections.abc import Callable

from playwright.sync_api import Page

PHONE, DESK = 390, 1280
"""Widths of a window, in CSS pixels."""

Open = Callable[..., Page]
"""What the fixture `open_html` gives."""
