"""The report page in a real browser: what a person sees, hears and can do; what it must not do."""

import re

import pytest
from playwright.sync_api import Page

from assets.page import render_fleet_report
from tests.browser.opening import DESK, PHONE, Open
from tests.report_pages import HOSTILE_NAMES, STATUS_FILE, drawn_fleet, inputs_of, status_frame

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
    open_html: Open, fleet_page: str, hostile_page: str, width: int
) -> None:
    for html in (fleet_page, hostile_page):
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


def test_a_fleet_without_systems_past_or_yesterday_says_so(open_html: Open) -> None:
    page = open_html(render_fleet_report(inputs_of(status_frame())))

    text = page.locator("main").inner_text()
    assert "The fleet has no systems." in text
    assert "No flake has a system." in text
    assert "No system needs attention." in text
    assert "Not computed yet: the dataset deployment_velocity" in text
    assert "Not computed yet: the dataset commit_rollouts" in text
    assert "There is no snapshot of the day before" in text
