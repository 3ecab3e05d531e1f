"""The report page in a real browser: what a person sees, hears and can do; what it must not do."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from playwright.sync_api import Page

from assets.compute.forges import commit_pages
from assets.compute.vocabulary import BEHIND_REASONS, FEED_STATUSES, LIVENESS
from assets.page import render_fleet_report
from tests.browser.opening import DESK, PHONE, Open
from tests.evident_fleet import FEED_ERROR
from tests.report_pages import (
    HOSTILE_NAMES,
    STATUS_FILE,
    drawn_fleet,
    inputs_of,
    status_frame,
)

pytestmark = pytest.mark.browser


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


def test_the_page_answers_in_the_order_of_urgency(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)

    assert [text.strip() for text in page.locator("main > section > h2").all_text_contents()][
        1:
    ] == [
        "Which flakes lag",
        "Who must act",
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
    open_html: Open, fleet_page: str
) -> None:
    page = open_html(fleet_page, watched=False)
    page.evaluate(
        """() => {
          window.blocked = [];
          document.addEventListener("securitypolicyviolation", (event) =>
            blocked.push(event.effectiveDirective));
          const image = document.createElement("img");
          image.src = "file:///somewhere.png";
          const script = document.createElement("script");
          script.textContent = "document.title = 'broken'";
          document.body.append(image, script);
          fetch("file:///somewhere.json").catch(() => {});
        }"""
    )
    page.wait_for_function("blocked.length >= 3")

    assert sorted(page.evaluate("blocked")) == ["connect-src", "img-src", "script-src-elem"]
    assert page.title() != "broken"


def test_filters_work_by_keyboard_alone(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
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


def test_showing_all_moves_the_focus_to_the_first_new_row(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)
    hosts = page.locator("#attention tbody th > bdi").all_text_contents()

    page.locator("#more").focus()
    page.keyboard.press("Enter")

    assert shown_rows(page) == hosts
    assert page.evaluate("document.activeElement.textContent").startswith(hosts[25])
    assert page.locator("#more").is_hidden()


def test_a_count_and_a_flake_lead_to_their_systems(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page)

    page.locator("#status").get_by_role("link", name="Unknown").press("Enter")
    statuses = page.locator("#attention tbody tr:visible .status").all_text_contents()
    assert set(statuses) == {"Unknown"}

    page.locator("#flakes").get_by_role("link", name="flake-3").press("Enter")
    flakes = page.locator('#attention tbody tr:visible td[data-label="Flake"]').all_text_contents()
    assert set(flakes) == {"flake-3"}
    assert page.url.endswith("#attention")


def test_a_system_that_somebody_must_act_for_leads_to_its_row(
    open_html: Open, evident_page: str
) -> None:
    page = open_html(evident_page)
    link = page.locator("#acting").get_by_role("link", name="silent-0")
    row = page.locator("#attention tbody tr", has_text="silent-0")
    assert not row.is_visible()

    # Folded away, and then hidden by a filter.
    for hide in (None, "unknown"):
        if hide:
            page.locator("#filters select[name=status]").select_option(hide)
            assert not row.is_visible()
        link.press("Enter")

        assert row.is_visible()
        assert page.evaluate("document.activeElement.textContent").startswith("silent-0")
        assert page.evaluate("document.activeElement.getBoundingClientRect().top < innerHeight")
    assert "Not heard from for over 4 hours" in row.inner_text()
    assert "Last seen 9\xa0days ago" in row.inner_text()
    lacking = page.get_by_role("link", name="what it lacks (not-known-5)")
    assert (lacking.get_attribute("href") or "").startswith(
        "https://github.com/example/fleet/compare/"
    )


def test_what_is_in_doubt_shows_beside_what_is_not(open_html: Open, evident_page: str) -> None:
    page = open_html(evident_page)

    def flake(name: str) -> str:
        row = page.locator("#flakes tbody tr").filter(
            has=page.get_by_role("rowheader", name=name, exact=True)
        )
        return row.inner_text().replace("\xa0", " ")

    assert "as of 3 days ago or earlier: last read failed" in flake("edge")
    assert FEED_ERROR in flake("edge")
    assert "as of 5 h ago: not read since" in flake("kiosk")
    assert "Only inferred: newest commit unusually old for its rhythm" in flake("lab")
    for name in ("core", "lab"):
        assert "as of" not in flake(name)
    # Not by colour alone: lines cross the bar, and a clock stands by the words.
    assert page.locator("#flakes .bar rect[fill='url(#fill-old_reading)']").count() == 3
    assert page.locator("#flakes .doubt:visible svg use").count() == 2
    assert page.locator("#status .tile .doubt").all_inner_texts() == [
        "of these 10 as of an old reading of their repository",
        "of these 1 as of an old reading of its repository",
    ]

    doubts = page.locator("#doubts")
    doubts.locator("summary").press("Enter")
    text = doubts.inner_text().replace("\xa0", " ")
    assert "8 not heard from for over an hour" in text
    assert "core-silent\nlast seen 9 days ago, core" in text
    assert "lab-missing\nlast seen 2 h ago, lab" in text
    assert "rewritten\ngit counts 4 newer commits on the branch, core" in text


def test_everything_reads_without_javascript(open_html: Open, fleet_page: str) -> None:
    page = open_html(fleet_page, java_script_enabled=False)

    rows = page.locator("#attention tbody tr")
    assert rows.count() > 25
    assert rows.last.is_visible()
    assert page.locator("#filters").is_hidden()
    assert page.locator("#more").is_hidden()


def test_hostile_names_show_as_text(open_html: Open, hostile_page: str) -> None:
    page = open_html(hostile_page)

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


def test_a_name_never_reorders_what_stands_beside_it(open_html: Open, hostile_page: str) -> None:
    page = open_html(hostile_page)

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
    open_html: Open, fleet_page: str, evident_page: str, hostile_page: str, width: int
) -> None:
    for html in (fleet_page, evident_page, hostile_page):
        page = open_html(html, width=width)
        page.locator("#more").click()
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")

        assert not scrolls_sideways(page)


def test_twenty_thousand_systems_are_a_page_that_a_person_reads(open_html: Open) -> None:
    html = render_fleet_report(drawn_fleet(20_000, 40))
    page = open_html(html)

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


def test_twenty_thousand_systems_with_all_evidence_are_still_a_small_page() -> None:
    inputs = drawn_fleet(20_000, 40)
    draw = random.Random(1)

    def any_of(words: Sequence[str]) -> list[str]:
        return draw.choices(words, k=len(inputs.status))

    pages = commit_pages("github:an-organisation-of-some-length/and-its-configurations")
    assert pages is not None
    html = render_fleet_report(
        replace(
            inputs,
            status=inputs.status.assign(
                feed_status=any_of(FEED_STATUSES),
                liveness=any_of(LIVENESS),
                last_seen_at=inputs.status["last_reported_at"],
                commits_behind_branch=4,
                behind_reason=any_of(BEHIND_REASONS),
                current_commit_hash="a" * 40,
                current_commit_timestamp=inputs.snapshot_at,
                latest_commit_hash="b" * 40,
            ),
            flake_status=inputs.flake_status.assign(
                feed_status="failing",
                feed_error="fatal: " * 42,
                commit_url_template=pages.commit,
                comparison_url_template=pages.comparison,
            ),
        )
    )

    assert "/compare/" in html
    assert len(html.encode()) < 2_000_000


def test_a_fleet_without_systems_past_or_yesterday_says_so(open_html: Open) -> None:
    page = open_html(render_fleet_report(inputs_of(status_frame())))

    text = page.locator("main").inner_text()
    assert "The fleet has no systems." in text
    assert "No flake has a system." in text
    assert "No system is behind." in text
    assert "No system needs attention." in text
    assert "Not computed yet: the dataset deployment_velocity" in text
    assert "Not computed yet: the dataset commit_rollouts" in text
    assert "There is no snapshot of the day before" in text
