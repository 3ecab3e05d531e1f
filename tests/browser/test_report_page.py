"""The report page in a real browser: what a person sees, hears and can do; what it must not do."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from assets.page import FleetReportInputs, render_fleet_report
from tests.report_pages import (
    HOSTILE_NAMES,
    STATUS_FILE,
    Row,
    adoption_of,
    behind,
    drawn_fleet,
    inputs_of,
    no_deployment,
    rollouts_of,
    status_frame,
    triage_order,
    unknown,
    up_to_date,
    velocity_of,
)

pytestmark = pytest.mark.browser

PHONE, DESK = 390, 1280

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
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
        context.set_default_timeout(10_000)
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


@pytest.fixture(scope="module")
def fleet_page() -> str:
    """The page of 300 systems in 6 flakes."""
    return render_fleet_report(drawn_fleet(300, 6))


@pytest.fixture(scope="module")
def hostile_page() -> str:
    """A page on which every name, hash and environment is hostile."""
    return render_fleet_report(hostile_fleet())


def hostile_fleet() -> FleetReportInputs:
    flakes = dict(enumerate(HOSTILE_NAMES, start=1))
    rows = []
    for flake_id, name in flakes.items():
        named: Row = {"flake_id": flake_id, "flake_name": name, "environment": name}
        rows += [
            no_deployment(name, **named),
            unknown(
                f"u{name}"[:253], unknown_reason="flake_mismatch", current_flake_name=name, **named
            ),
            behind(f"b{name}"[:253], current_commit_hash=name, **named),
        ]
    rows.sort(key=triage_order)
    previous = [up_to_date(row["hostname"], flake_name=row["flake_name"]) for row in rows]
    rollouts = rollouts_of(flakes)
    rollouts["commit_hash"] = [HOSTILE_NAMES[row % len(flakes)] for row in range(len(rollouts))]
    return inputs_of(
        status_frame(*rows),
        previous_status=status_frame(*previous),
        velocity=velocity_of(flakes),
        rollouts=rollouts,
        adoption=adoption_of(rollouts),
    )


def shown_rows(page: Page) -> list[str]:
    """The hostnames that the attention table shows."""
    return page.locator("#attention tbody tr:visible th > bdi").all_text_contents()


def focused_name(page: Page) -> str:
    return str(page.evaluate("document.activeElement.name || document.activeElement.id"))


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the control has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if focused_name(page) == name:
            return
    raise AssertionError(f"Tab never reaches {name}")


def scrolls_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_the_page_answers_in_the_order_of_urgency(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)

    assert [text.strip() for text in page.locator("main > section > h2").all_text_contents()][
        1:
    ] == [
        "Which flakes lag",
        "Which systems need attention first",
        "How the fleet moved",
        "How far the newest commits have got",
        "What changed since yesterday",
    ]
    assert re.fullmatch(
        r"\s*\d+ of \d+\xa0systems run the latest commit\. \d+ need attention\.\s*",
        page.locator("#status-heading").text_content() or "",
    )
    assert "2026-11-23 09:17 UTC" in (page.locator("header").text_content() or "")


def test_neither_a_fetch_nor_a_foreign_script_gets_through(
    open_page: Open, fleet_page: str
) -> None:
    page = open_page(fleet_page, watched=False)
    blocked = page.evaluate(
        """async () => {
          const blocked = [];
          document.addEventListener("securitypolicyviolation", (event) =>
            blocked.push(event.effectiveDirective));
          const image = document.createElement("img");
          image.src = "file:///somewhere.png";
          const script = document.createElement("script");
          script.textContent = "document.title = 'broken'";
          document.body.append(image, script);
          await fetch("file:///somewhere.json").catch(() => {});
          await new Promise((resolve) => setTimeout(resolve, 100));
          return blocked.sort();
        }"""
    )

    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert page.title() != "broken"


def test_filters_work_by_keyboard_alone(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)
    found = page.locator("#found")
    listed = page.locator("#attention tbody tr").count()
    assert len(shown_rows(page)) == 25
    assert found.text_content() == f"Showing 25 of {listed} listed systems."

    tab_to(page, "flake")
    page.keyboard.type("flake-2")
    tab_to(page, "status")
    page.keyboard.type("Beh")
    rows = page.locator("#attention tbody tr:visible")
    expected = page.locator('#attention tbody tr[data-flake="2"][data-status="behind"]').count()
    assert 0 < expected <= 25
    assert rows.count() == expected
    assert found.text_content() == (
        f"Showing {expected} of {expected} matching, of {listed} listed systems."
    )

    wanted = shown_rows(page)[-1]
    tab_to(page, "text")
    page.keyboard.type(f"{wanted.upper()} production")
    assert shown_rows(page) == [wanted]
    page.keyboard.type(" nonsense")
    assert shown_rows(page) == []
    assert found.text_content() == "No listed system matches."

    tab_to(page, "clear")
    page.keyboard.press("Enter")
    assert len(shown_rows(page)) == 25
    assert found.text_content() == f"Showing 25 of {listed} listed systems."


def test_showing_all_moves_the_focus_to_the_first_new_row(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)
    hosts = page.locator("#attention tbody th > bdi").all_text_contents()

    page.locator("#more").focus()
    page.keyboard.press("Enter")

    assert shown_rows(page) == hosts
    assert page.evaluate("document.activeElement.textContent").startswith(hosts[25])
    assert page.locator("#more").is_hidden()


def test_a_count_and_a_flake_lead_to_their_systems(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)

    page.locator("#status").get_by_role("link", name="Unknown").press("Enter")
    statuses = page.locator("#attention tbody tr:visible .status").all_text_contents()
    assert set(statuses) == {"Unknown"}

    page.locator("#flakes").get_by_role("link", name="flake-3").press("Enter")
    flakes = page.locator('#attention tbody tr:visible td[data-label="Flake"]').all_text_contents()
    assert set(flakes) == {"flake-3"}
    assert page.url.endswith("#attention")


def test_everything_reads_without_javascript(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page, java_script_enabled=False)

    rows = page.locator("#attention tbody tr")
    assert rows.count() > 25
    assert rows.last.is_visible()
    assert page.locator("#filters").is_hidden()
    assert page.locator("#more").is_hidden()


def test_hostile_names_show_as_text(open_page: Open, hostile_page: str) -> None:
    page = open_page(hostile_page)

    assert page.title() == "Fleet report, 2026-11-23: 0 of 30\xa0systems up to date"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    hosts = page.locator("#attention tbody th > bdi").all_text_contents()
    as_text = [
        name.replace("\u202e", r"\u202e").replace("\u202c", r"\u202c") for name in HOSTILE_NAMES
    ]
    assert set(as_text) < set(hosts)
    assert page.locator("#filters select[name=flake] option").all_text_contents()[1:] == sorted(
        as_text
    )
    assert set(page.locator("#adoption h3").all_text_contents()) < set(as_text)
    # Not even one of them runs when it is touched.
    for link in page.locator("#flakes a").all():
        link.press("Enter")
    assert page.title().startswith("Fleet report")


def test_a_name_never_reorders_what_stands_beside_it(open_page: Open, hostile_page: str) -> None:
    page = open_page(hostile_page)

    isolated = page.evaluate(
        """[...document.querySelectorAll("bdi")]
           .every((name) => getComputedStyle(name).unicodeBidi === "isolate")"""
    )
    assert isolated
    page.locator("#changes summary").first.press("Enter")
    name, detail = page.locator("#changes li", has_text=HOSTILE_NAMES[6]).first.locator("> *").all()
    assert (name.text_content() or "").endswith(HOSTILE_NAMES[6])
    assert (detail.text_content() or "").startswith("was up to date, ")
    # Right-to-left as it is, it stands above its detail, at the left.
    assert name.bounding_box()["x"] == pytest.approx(detail.bounding_box()["x"], abs=1)  # type: ignore[index]  # both are shown


@pytest.mark.parametrize("width", [320, PHONE, 800, 1216, 1217, DESK, 1920])
def test_no_page_scrolls_sideways(
    open_page: Open, fleet_page: str, hostile_page: str, width: int
) -> None:
    for html in (fleet_page, hostile_page):
        page = open_page(html, width=width)
        page.locator("#more").click()
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")

        assert not scrolls_sideways(page)


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(
    ("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")]
)
def test_text_and_graphics_stand_out_in_light_dark_and_print(
    open_page: Open, fleet_page: str, scheme: str, media: Literal["screen", "print"]
) -> None:
    page = open_page(fleet_page, color_scheme=scheme)
    page.emulate_media(media=media)

    def colour(name: str) -> str:
        style = "getComputedStyle(document.documentElement)"
        return str(page.evaluate(f"{style}.getPropertyValue('--{name}').trim()"))

    for background in ("page", "surface"):
        for text in ("text", "muted", "link"):
            assert contrast(colour(text), colour(background)) >= 4.5, (text, background)
        for graphic in (
            *("up_to_date", "ahead", "behind", "unknown", "no_deployment"),
            *(f"series-{number}" for number in range(1, 6)),
        ):
            assert contrast(colour(graphic), colour(background)) >= 3, (graphic, background)
    assert (luminance(colour("page")) < 0.2) == (scheme == "dark" and media == "screen")


def test_paper_carries_no_controls(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)
    page.emulate_media(media="print")

    for control in ("nav", "#filters", "#more", "details", ".skip"):
        assert page.locator(f"{control}:visible").count() == 0
    assert page.locator("svg.chart:visible").count() == 18
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_landmarks_and_names_are_there_for_a_screen_reader(
    open_page: Open, fleet_page: str, width: int
) -> None:
    page = open_page(fleet_page, width=width)

    landmarks: tuple[Literal["banner", "main", "contentinfo"], ...]
    landmarks = ("banner", "main", "contentinfo")
    for landmark in landmarks:
        assert page.get_by_role(landmark).count() == 1
    assert page.get_by_role("navigation", name="Sections").is_visible()
    search = page.get_by_role("search", name="Filter the systems")
    assert search.get_by_role("combobox", name="Flake").is_visible()
    assert search.get_by_role("combobox", name="Status").is_visible()
    assert search.get_by_role("searchbox", name="Text").is_visible()
    assert page.locator("#found").get_attribute("aria-live") == "polite"
    # Cards on a phone are still a table.
    table = page.get_by_role("table", name="Systems that need attention, the most urgent first")
    assert table.get_by_role("rowheader").count() == 25
    assert table.get_by_role("row").first.get_by_role("columnheader").count() == 7
    bar = page.locator("#status").get_by_role("img")
    assert re.fullmatch(
        r"No deployment \d+, Unknown \d+, Behind \d+, Up to date \d+",
        bar.get_attribute("aria-label") or "",
    )


def test_headings_do_not_skip_a_level(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)
    tags = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName)")
    levels = [int(tag[1]) for tag in tags]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_chart_has_its_numbers_and_its_words(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)
    figures = page.get_by_role("figure").all()
    assert len(figures) == 18

    for figure in figures:
        assert (figure.locator("figcaption p").text_content() or "").strip()
        figure.locator("summary").press("Enter")
        numbers = figure.get_by_role("region")
        assert numbers.get_by_role("columnheader").count() >= 2
        assert numbers.get_by_role("rowheader").count() >= 5


def test_series_differ_in_more_than_colour(open_page: Open, fleet_page: str) -> None:
    page = open_page(fleet_page)

    for key in page.locator("figure .key").all():
        marks = [
            (
                mark.evaluate("(mark) => mark.tagName"),
                mark.get_attribute("stroke-dasharray"),
                (mark.get_attribute("fill") or "").startswith("url(")
                and mark.get_attribute("fill"),
            )
            for mark in key.locator("svg > *").all()
        ]
        assert len(set(marks)) == len(marks)
    for status in page.locator("#attention .badge").all()[:5]:
        assert (status.text_content() or "").strip()
        assert status.locator("svg use").count() == 1


def test_twenty_thousand_systems_are_a_page_that_a_person_reads(open_page: Open) -> None:
    html = render_fleet_report(drawn_fleet(20_000, 40))
    page = open_page(html)

    assert len(html) < 1_500_000
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    assert page.locator("#attention tbody tr").count() == 400
    note = page.locator("#attention > .note").text_content() or ""
    assert re.search(r"The page lists 400 of 7,\d\d\d: the most urgent of each flake and", note)
    assert STATUS_FILE in note
    # Every filter finds something, however large its neighbours are.
    for option in page.locator("#filters select[name=flake] option").all()[1:]:
        page.locator("#filters select[name=flake]").select_option(option.get_attribute("value"))
        assert shown_rows(page)


def test_a_fleet_without_systems_past_or_yesterday_says_so(open_page: Open) -> None:
    page = open_page(render_fleet_report(inputs_of(status_frame())))

    text = page.locator("main").inner_text()
    assert "The fleet has no systems." in text
    assert "No flake has a system." in text
    assert "No system needs attention." in text
    assert "Not computed yet: the dataset deployment_velocity" in text
    assert "Not computed yet: the dataset commit_rollouts" in text
    assert "There is no snapshot of the day before" in text
