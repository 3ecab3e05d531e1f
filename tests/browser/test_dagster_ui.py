"""Dagster's UI in a real browser, on an instance in which the job really ran.

The tests look for what a person would look for, by its words. With FLAKELAG_PICTURE set to the name
of a file, the picture of the lineage is written there; `make picture` does that for the README.
"""

import datetime as dt
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    expect,
)

from assets.compute.vocabulary import DEPLOYMENT_STATUSES, UNKNOWN_REASONS
from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.definitions import build_defs
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.schedules import close_yesterday, refresh_today, remove_old_runs
from pipelines.store.report_store import ReportStore
from tests.browser.dagster_server import SECRET, DagsterServer, dagster_server
from tests.browser.opening import PATIENCE_MS

pytestmark = pytest.mark.browser

PICTURE = os.environ.get("FLAKELAG_PICTURE")

# What an asset's box in the graph can show; the UI's own words.
FACETS = (
    "Sync status tags",
    "Description",
    "Owner",
    "Asset checks",
    "Freshness",
    "Latest event",
    "Status",
    "Kind tag",
    "Automation",
    "Partitions",
)
GROUPS = ("fleet_database", "deployment_status", "velocity", "history", "report")
WHOLE: ViewportSize = {"width": 3000, "height": 16000}
# Below half of its size the UI draws boxes with large, shortened names.
FOR_THE_PICTURE: ViewportSize = {"width": 1400, "height": 1120}
LARGEST_PICTURE = 300_000

Visit = Callable[[str], Page]


@pytest.fixture(scope="module")
def server(
    postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterServer]:
    with dagster_server(postgres_server, tmp_path_factory.mktemp("ui")) as server:
        yield server


@pytest.fixture(scope="module")
def visit(
    server: DagsterServer, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visit]:
    """Opens a page of the UI; afterwards nothing may have gone wrong, and no secret been sent."""
    answers = tmp_path_factory.mktemp("answers") / "graphql.har"
    context = browser.new_context(
        viewport={"width": 1500, "height": 1400},
        color_scheme="light",
        timezone_id="UTC",
        device_scale_factor=2 if PICTURE else 1,
        record_har_path=answers,
        record_har_url_filter="**/graphql*",
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    errors: list[str] = []
    _listen(context, errors)

    def visit_(path: str) -> Page:
        for page in context.pages:
            page.close()
        page = context.new_page()
        page.goto(server.url + path)
        return page

    yield visit_
    context.close()
    assert errors == []
    sent = answers.read_text()
    assert "deployment_status" in sent
    assert SECRET not in sent


def _listen(context: BrowserContext, errors: list[str]) -> None:
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)


def test_the_lineage_reads_from_left_to_right(visit: Visit) -> None:
    page = visit("/asset-groups")
    graph = page.locator("svg")
    for group in GROUPS:
        expect(graph.get_by_text(group, exact=True)).to_be_visible()
    if PICTURE:
        take_picture(page, Path(PICTURE))

    show_facets(page, {"Description", "Kind tag"})
    page.get_by_role("button", name="Hide navigation").click()
    page.get_by_role("button", name="panel_show_right", exact=True).click()
    page.set_viewport_size(WHOLE)
    page.get_by_role("button", name="settings", exact=True).last.click()
    page.get_by_role("menuitem", name="Expand all groups").click()
    page.keyboard.press("Escape")
    # The UI fits the graph into the window when it loads, and draws no more than is in the window.
    expect(graph.get_by_text("deployments", exact=True)).to_be_visible()
    page.reload()

    assets = build_defs().resolve_asset_graph()
    names = {key: key.to_user_string() for key in assets.get_all_asset_keys()}
    for name in (*names.values(), *GROUPS):
        expect(graph.get_by_text(name, exact=True)).to_be_visible()
    left = left_edges(page, [*names.values(), *GROUPS])
    for key in names:
        for upstream in assets.get(key).parent_keys:
            assert left[names[upstream]] < left[names[key]], (upstream, key)
    fleet, status, velocity, history, report = (left[group] for group in GROUPS)
    assert fleet < status < min(velocity, history) <= max(velocity, history) < report

    for words in ("The systems that are registered with the fleet.", "Whether each system runs"):
        expect(graph.get_by_text(words)).to_be_visible()
    for kind in ("Postgres", "Parquet", "pandas", "DuckDB"):
        expect(graph.get_by_text(kind, exact=True).first).to_be_visible()


def show_facets(page: Page, wanted: set[str]) -> None:
    """Chooses what the boxes of the graph show."""
    page.get_by_role("button", name="config", exact=True).click()
    dialog = page.get_by_role("dialog")
    for facet in FACETS:
        if dialog.get_by_label(facet, exact=True).is_checked() != (facet in wanted):
            dialog.locator("label", has_text=re.compile(f"^{facet}$")).click()
    dialog.get_by_role("button", name="Save").click()


def left_edges(page: Page, texts: Sequence[str]) -> dict[str, float]:
    """Where texts in the graph begin, all at one moment: the graph may still be gliding there."""
    found: dict[str, float] = page.evaluate(
        """
        texts => Object.fromEntries(
            [...document.querySelectorAll("svg *")]
                .filter(each => each.children.length === 0 && texts.includes(each.textContent))
                .map(each => [each.textContent, each.getBoundingClientRect().left])
        )
        """,
        texts,
    )
    return found


def take_picture(page: Page, file: Path) -> None:
    """Writes the graph of the groups to a file: with every asset, no name in it is readable."""
    boxes = page.locator("svg foreignObject")
    in_all = boxes.count()
    page.set_viewport_size(FOR_THE_PICTURE)
    # The UI fits the graph into the window when it loads, not when the window changes.
    page.reload()
    expect(boxes).to_have_count(in_all)
    page.wait_for_load_state("networkidle")
    around = boxes.evaluate_all(
        """
        boxes => {
            const all = boxes.map(box => box.getBoundingClientRect())
            const x = Math.min(...all.map(box => box.left)) - 8
            const y = Math.min(...all.map(box => box.top)) - 8
            const right = Math.max(...all.map(box => box.right)) + 8
            const bottom = Math.max(...all.map(box => box.bottom)) + 8
            return {x, y, width: right - x, height: bottom - y}
        }
        """
    )
    page.screenshot(path=file, clip=around)
    assert file.stat().st_size < LARGEST_PICTURE


def test_an_assets_page_says_what_it_is(visit: Visit) -> None:
    page = visit("/assets/system_deployment_status")
    expect(page.get_by_text(SYSTEM_DEPLOYMENT_STATUS.description)).to_be_visible()
    for words in ("One row a hostname", "fleet-operations", "pandas", "Parquet", "fleet_status"):
        expect(page.get_by_text(words).first).to_be_visible()

    shown = {cells[0]: cells[1:] for cells in rows_of(page, "Column name")}
    for column in SYSTEM_DEPLOYMENT_STATUS.columns:
        kind, words = shown[column.name]
        assert column.sql_type in kind
        assert ("non-nullable" in kind) == (not column.nullable)
        assert column.description.replace("`", "") in words
        for value in column.allowed or ():
            assert value in words
        assert all(source in words for source in column.derived_from)


def test_an_assets_page_shows_what_was_published(visit: Visit, server: DagsterServer) -> None:
    status = published(server)
    page = visit("/assets/system_deployment_status")
    expect(page.get_by_text("status/behind", exact=True)).to_be_visible()
    body = page.locator("body")
    expect(body).to_contain_text(
        re.compile(rf"Row count\s+{status.num_rows}\b"), use_inner_text=True
    )

    shown = {cells[0]: cells[-1] for cells in rows_of(page, "status/behind")}
    counted = Counter(status["deployment_status"].to_pylist())
    reasons = Counter(status["unknown_reason"].drop_null().to_pylist())
    assert {v: shown[f"status/{v}"] for v in DEPLOYMENT_STATUSES} == in_text(counted)
    assert {v: shown[f"reason/{v}"] for v in UNKNOWN_REASONS} == in_text(
        dict.fromkeys(UNKNOWN_REASONS, 0) | reasons
    )
    file = Path("system_deployment_status", f"date={server.days[-1]}", "data.parquet")
    assert shown["path"].strip() == str(server.reports_dir / file)
    first = status.slice(0, 10).to_pylist()
    previewed = {tuple(cells[:2]) for cells in rows_of(page, "commits_behind")}
    assert {(row["hostname"], row["deployment_status"]) for row in first} <= previewed


def test_an_assets_numbers_are_plotted(visit: Visit) -> None:
    page = visit("/assets/system_deployment_status")
    page.get_by_text("Plots", exact=True).click()
    labels = ["dagster/row_count", *(f"status/{value}" for value in DEPLOYMENT_STATUSES)]
    for label in labels:
        expect(page.get_by_text(label, exact=True)).to_be_visible()
    # Axes are grey; what has a colour is a line through points.
    page.wait_for_function(
        """
        least => [...document.querySelectorAll("canvas")].filter(canvas => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
            for (let at = 0; at < data.length; at += 4)
                if (data[at + 3] && Math.abs(data[at + 2] - data[at + 1]) > 60) return true
            return false
        }).length >= least
        """,
        arg=len(labels),
    )


def test_checks_say_what_they_found(visit: Visit) -> None:
    page = visit("/assets/system_deployment_status?view=checks")
    page.get_by_text("one_row_per_hostname").first.click()
    expect(
        page.get_by_text("One row a hostname: no two rows have the same hostname.")
    ).to_be_visible()
    expect(page.get_by_text("This is a blocking asset check")).to_be_visible()
    expect(page.get_by_text("No two rows have the same key.")).to_be_visible()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()

    page = visit("/assets/quarantine?view=checks")
    expect(page.get_by_text("Every source row could be used.")).to_be_visible()
    expect(page.get_by_text("This is a non-blocking asset check")).to_be_visible()
    expect(page.get_by_text("1 row of public.system_states of host").first).to_be_visible()
    expect(page.get_by_role("img", name="warning").first).to_be_visible()


def test_each_published_day_is_a_partition(visit: Visit, server: DagsterServer) -> None:
    day = server.days[0]
    page = visit(f"/assets/system_deployment_status?view=partitions&partition={day}")
    expect(page.get_by_text(f"Materialized ({len(server.days)})")).to_be_visible()
    expect(page.get_by_text(f"system_deployment_status/date={day}/data.parquet")).to_be_visible()


def test_schedules_and_sensors_run(visit: Visit) -> None:
    page = visit("/automation")
    schedules = (refresh_today, close_yesterday, remove_old_runs)
    sensors = ("tell_of_failures", "tell_of_systems_behind", "tell_of_feeds")
    for name in (*(each.name for each in schedules), *sensors):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(len(schedules) + len(sensors))

    for schedule in schedules:
        page = visit(f"/locations/flakelag/schedules/{schedule.name}")
        for words in (schedule.cron_schedule, schedule.description, "UTC", schedule.job_name):
            expect(page.locator("body")).to_contain_text(str(words))
        expect(page.get_by_text("Running", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/runs", "backfill"),
        ("/deployment/config", "max_runtime_seconds"),
        ("/locations/flakelag/resources/fleet_database", "The fleet database, read only."),
        ("/locations/flakelag/resources/history", "of the database of HISTORY_DATABASE_URL"),
    ],
)
def test_no_page_shows_a_secret(visit: Visit, path: str, words: str) -> None:
    page = visit(path)
    expect(page.get_by_text(words).first).to_be_visible()
    assert SECRET not in page.content()


def rows_of(page: Page, words: str) -> list[list[str]]:
    """The cells of each row of the innermost table with these words."""
    table = page.locator("table", has_text=words).last
    expect(table).to_be_visible()
    rows: list[list[str]] = table.evaluate(
        "table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def published(server: DagsterServer) -> pa.Table:
    """Today's snapshot, as published."""
    today = dt.date.fromisoformat(server.days[-1])
    return ReportStore(server.reports_dir).read(SYSTEM_DEPLOYMENT_STATUS, today)


def in_text(counted: Mapping[str, int]) -> dict[str, str]:
    return {value: str(count) for value, count in counted.items()}
