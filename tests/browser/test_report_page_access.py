"""The report page for everybody: contrast, paper, phones, keyboards and screen readers."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest

from assets.page import render_fleet_report
from tests.browser.opening import DESK, PHONE, Open
from tests.report_pages import drawn_fleet, velocity_of

pytestmark = pytest.mark.browser


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
    open_html: Open, fleet_page: str, scheme: str, media: Literal["screen", "print"]
) -> None:
    page = open_html(fleet_page, color_scheme=scheme)
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


def test_paper_carries_no_controls(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
    page.emulate_media(media="print")

    for control in ("nav", "#filters", "#more", "details", ".skip"):
        assert page.locator(f"{control}:visible").count() == 0
    assert page.locator("svg.chart:visible").count() == 18
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_landmarks_and_names_are_there_for_a_screen_reader(
    open_html: Open, fleet_page: str, width: int
) -> None:
    page = open_html(fleet_page, width=width)

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


def test_headings_do_not_skip_a_level(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
    tags = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName)")
    levels = [int(tag[1]) for tag in tags]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_chart_has_its_numbers_and_its_words(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
    figures = page.get_by_role("figure").all()
    assert len(figures) == 18

    for figure in figures:
        assert (figure.locator("figcaption p").text_content() or "").strip()
        figure.locator("summary").press("Enter")
        numbers = figure.get_by_role("region")
        assert numbers.get_by_role("columnheader").count() >= 2
        assert numbers.get_by_role("rowheader").count() >= 5


def test_series_differ_in_more_than_colour(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)

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


@pytest.mark.parametrize("days", [2, 14, 31, 61, 90])
def test_the_days_named_below_a_chart_do_not_touch(open_html: Open, days: int) -> None:
    velocity = velocity_of({1: "flake-1"}, days)
    html = render_fleet_report(replace(drawn_fleet(5, 1), velocity=velocity))

    for width in (DESK, PHONE):
        page = open_html(html, width=width)
        for media in ("screen", "print"):
            page.emulate_media(media=media)
            charts = page.evaluate(
                r"""[...document.querySelectorAll("#movement .chart")].map((chart) =>
                  [...chart.querySelectorAll("text")]
                    .filter((text) => /^\d+ [A-Z][a-z]+$/.test(text.textContent))
                    .map((text) => text.getBoundingClientRect())
                    .map(({ left, right }) => [left, right]))"""
            )

            assert len(charts) == 7
            for labels in charts:
                assert 2 <= len(labels) <= 5
                for (_, end), (start, _) in pairwise(sorted(labels)):
                    assert start - end > 2, (width, media)


def test_paper_lists_every_system_that_the_filters_admit(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
    rows = page.locator("#attention tbody tr:visible")
    listed = page.locator("#attention tbody tr").count()
    assert rows.count() == 25 < listed

    page.emulate_media(media="print")
    assert rows.count() == listed
    assert "Showing" not in page.locator("#attention").inner_text()

    page.emulate_media(media="screen")
    page.locator("#filters select[name=status]").select_option("behind")
    behind = page.locator('#attention tbody tr[data-status="behind"]').count()
    assert rows.count() == 25 < behind
    page.emulate_media(media="print")
    assert rows.count() == behind < listed
    assert f"Filtered: {behind} of {listed} listed systems." in (
        page.locator("#attention").inner_text()
    )
