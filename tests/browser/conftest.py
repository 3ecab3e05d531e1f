"""What the browser tests share: the browser, a way to open pages, and report pages."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from assets.page import render_fleet_report
from tests.browser.opening import DESK, PATIENCE_MS, Open
from tests.evident_fleet import evident_fleet
from tests.report_pages import drawn_fleet, hostile_fleet

# In a container there is no sandbox and no GPU; the rest keeps Chromium from calling home.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of somebody else's, for tests of what a foreign page can do.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)


# For the folder, not the session: while it lives, its thread counts as inside an event loop, and
# `asyncio.run` in other tests (Dagster calls it) would fail.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail(
            "The browser tests drive Debian's chromium: "
            "apt-get update && apt-get install -y chromium",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=list(_ARGUMENTS), timeout=PATIENCE_MS
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_html(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page in a context of its own.

    Afterwards, the test fails on any console message, error or request beyond the file itself;
    unless the page was opened with `watched=False`.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_(html: str, *, width: int = DESK, watched: bool = True, **options: Any) -> Page:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(html, "utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        if watched:
            page.on("console", lambda message: wrong.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
            page.on("request", lambda request: wrong.append(f"request: {request.url}"))
        page.goto(file.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [each for each in wrong if not re.fullmatch(r"request: file://.*/\d+\.html", each)] == []


@pytest.fixture(scope="package")
def fleet_page() -> str:
    """The page of 300 systems in 6 flakes."""
    return render_fleet_report(drawn_fleet(300, 6))


@pytest.fixture(scope="package")
def evident_page() -> str:
    """A page on which every feed status, liveness and reason to be behind occurs."""
    return render_fleet_report(evident_fleet())


@pytest.fixture(scope="package")
def hostile_page() -> str:
    """A page on which every name, hash and environment is hostile."""
    return render_fleet_report(hostile_fleet())
