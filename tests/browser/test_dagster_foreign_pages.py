"""What a page of somebody else, open in the operator's browser, can do to the UI: nothing.

The browser is real, and so are the foreign origins: another port, and names that lead here.
"""

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.foreign_pages import ASSET, foreign_pages, tricks
from tests.running_ui import RunningUI, running_ui

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000
STATE = """
    query ($asset: AssetKeyInput!) {
        runsOrError { ... on Runs { results { id } } }
        assetOrError(assetKey: $asset) {
            ... on Asset {
                assetMaterializations { partition }
                assetObservations { timestamp }
            }
        }
        assetCheckExecutions(assetKey: $asset, checkName: "one_row_per_hostname", limit: 9) { id }
    }
"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUI]:
    """A UI that knows of one materialization, which a program reported to it."""
    names = ("--allow-host", "proxy.test")
    with running_ui(tmp_path_factory.mktemp("ui"), *names) as running:
        running.wait_until_ready()
        request = urllib.request.Request(
            f"{running.url}/report_asset_materialization/{ASSET}",
            json.dumps({"partition": "2026-01-01"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        yield running


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with foreign_pages() as port:
        yield port


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1500, "height": 1400}) as context:
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield context


@pytest.fixture(params=["127.0.0.1", "localhost", "somebody.test", "proxy.test"])
def foreign_page(
    request: pytest.FixtureRequest, context: BrowserContext, foreign_port: int
) -> Page:
    """A page on another port of our own host, of our names, or of somebody else's."""
    page = context.new_page()
    page.goto(f"http://{request.param}:{foreign_port}/")
    return page


def state(ui: RunningUI) -> Any:
    return ui.ask(STATE, asset={"path": [ASSET]})


def test_no_trick_changes_anything(ui: RunningUI, foreign_page: Page) -> None:
    before = state(ui)
    assert before["assetOrError"]["assetMaterializations"] == [{"partition": "2026-01-01"}]

    for script in tricks(ui.url).values():
        foreign_page.evaluate(f"() => {script}")
    assert state(ui) == before


def test_nothing_is_read_over_a_websocket(ui: RunningUI, foreign_page: Page) -> None:
    socket = ui.url.replace("http", "ws") + "/graphql"
    happened = foreign_page.evaluate(
        """
        url => new Promise(done => {
            const socket = new WebSocket(url, "graphql-ws")
            socket.onopen = socket.onclose = event => done(event.type)
        })
        """,
        socket,
    )

    assert happened == "close"


def test_no_page_frames_the_ui(ui: RunningUI, foreign_page: Page) -> None:
    with foreign_page.expect_event("frameattached"):
        foreign_page.evaluate(
            """
            url => new Promise(done => {
                const frame = document.createElement("iframe")
                frame.onload = done
                frame.src = url
                document.body.append(frame)
            })
            """,
            f"{ui.url}/runs",
        )

    [_, frame] = foreign_page.frames
    frame.wait_for_url(re.compile("^chrome-error:"))


def test_a_name_that_was_made_to_lead_here_shows_nothing(
    ui: RunningUI, context: BrowserContext
) -> None:
    rebound = ui.url.replace("127.0.0.1", "somebody.test")
    page = context.new_page()
    answer = page.goto(rebound)
    assert answer is not None
    assert answer.status == 403

    for request in (
        'fetch("/graphql?query={version}")',
        'fetch("/server_info")',
        """fetch("/graphql", {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({query: "{version}"}),
        })""",
    ):
        assert page.evaluate(f"() => {request}.then(said => said.status)") == 403
    happened = page.evaluate(
        """
        () => new Promise(done => {
            const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws")
            socket.onopen = socket.onclose = event => done(event.type)
        })
        """
    )
    assert happened == "close"


def test_a_link_from_elsewhere_leads_to_a_page_of_the_ui(ui: RunningUI, foreign_page: Page) -> None:
    foreign_page.evaluate(
        "url => { document.body.innerHTML = `<a href='${url}'>runs</a>` }", ui.url + "/runs"
    )
    foreign_page.get_by_text("runs").click()

    expect(foreign_page.get_by_text("Show runs within backfills")).to_be_visible()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "proxy.test"])
def test_the_ui_launches_a_run_and_shows_it_live(
    ui: RunningUI, context: BrowserContext, name: str
) -> None:
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page = context.new_page()
    page.goto(ui.url.replace("127.0.0.1", name) + "/locations/flakelag/jobs/report_pages")
    page.get_by_role("button", name="Materialize all").click()
    # Nothing is published yet: the run will fail, which is good enough to see it end.
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("dialog").get_by_role("button", name="Latest").click()
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_text("View", exact=True).click()

    # Told over the WebSocket: first that it began, then how it ended.
    expect(page.get_by_text("RUN_START", exact=True)).to_be_visible()
    expect(page.get_by_text("RUN_FAILURE", exact=True)).to_be_visible()
    assert errors == []
