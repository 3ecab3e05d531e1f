"""The page as a whole: one file, the same each time, whatever the frames come from."""

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from assets.page import FleetReportInputs, render_fleet_report
from assets.publishing.unusable import UnusableRows
from assets.schemas import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS, Dataset
from tests.evident_fleet import evident_fleet
from tests.report_pages import (
    HOSTILE_NAMES,
    behind,
    drawn_fleet,
    inputs_of,
    status_frame,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def inputs() -> FleetReportInputs:
    return drawn_fleet(120, 4)


@pytest.fixture(scope="module")
def page(inputs: FleetReportInputs) -> str:
    return render_fleet_report(inputs)


class Attributes(HTMLParser):
    """Collects every attribute of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name, value or "") for name, value in attrs]


def test_the_page_needs_neither_dagster_nor_a_database() -> None:
    script = (
        "import sys, assets.page\n"
        'print(*sorted({name.partition(".")[0] for name in sys.modules}))\n'
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()

    assert "jinja2" in loaded
    assert not {"dagster", "psycopg", "adbc_driver_postgresql", "pipelines"} & set(loaded)


def test_the_same_inputs_give_the_same_text(inputs: FleetReportInputs, page: str) -> None:
    assert render_fleet_report(inputs) == page


def test_it_refers_to_nothing_outside_itself(page: str) -> None:
    references = {
        (tag, name, value)
        for tag, name, value in Attributes(page).found
        if name in {"src", "href", "srcset", "action", "data", "poster", "background"}
    }

    assert references
    assert {value[0] for tag, name, value in references if tag != "link"} == {"#"}
    assert {value.partition(",")[0] for tag, name, value in references if tag == "link"} == {
        "data:image/svg+xml"
    }
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert not [name for _, name, _ in Attributes(page).found if name.startswith("on")]


def test_the_only_addresses_outside_are_links_to_commits_that_carry_no_referrer() -> None:
    page = render_fleet_report(evident_fleet())

    outside = re.findall(r'<a [^>]*href="([^#"][^"]*)"([^>]*)>', page)
    # Flakes, systems and what they lack, and newest commits.
    commits = r"https://github\.com/example/fleet/(commit|compare)/[0-9a-f.]+"
    assert len([each for each in outside if "/compare/" in each[0]]) == 38
    assert re.search(rf'<ul class="key">(?:(?!</ul>).)*href="{commits}"', page, re.DOTALL)
    for address, rest in outside:
        assert re.fullmatch(commits, address)
        assert rest == ' rel="noreferrer"'


@pytest.mark.parametrize("fleet", [drawn_fleet(120, 4), evident_fleet()], ids=["drawn", "evident"])
def test_every_reference_within_the_page_has_its_target(fleet: FleetReportInputs) -> None:
    page = render_fleet_report(fleet)
    attributes = Attributes(page).found
    ids = [value for _, name, value in attributes if name == "id"]
    targets = {value[1:] for _, name, value in attributes if name == "href" and value[0] == "#"}
    targets |= {value for _, name, value in attributes if name == "aria-labelledby"}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page))

    assert len(ids) == len(set(ids))
    assert targets <= set(ids)


def test_the_policy_allows_the_page_s_own_script_and_style_alone(page: str) -> None:
    (policy,) = [value for tag, name, value in Attributes(page).found if "default-src" in value]

    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_no_name_of_the_fleet_becomes_markup() -> None:
    rows = [behind(name, 1, flake_name=name, environment=name) for name in HOSTILE_NAMES]

    attributes = Attributes(render_fleet_report(inputs_of(status_frame(*rows)))).found

    assert not [tag for tag, _, _ in attributes if tag in {"img", "b"}]
    assert not [name for _, name, _ in attributes if name.startswith("on")]


def test_a_hostile_template_or_error_becomes_no_markup() -> None:
    rows = [behind("web", 1, current_commit_hash="a" * 40, latest_commit_hash="b" * 40)]
    inputs = inputs_of(status_frame(*rows))
    for name in HOSTILE_NAMES:
        hostile = inputs.flake_status.assign(
            feed_status="failing",
            feed_error=name,
            commit_url_template=name + "{commit}",
            comparison_url_template=name + "{base}{head}",
        )

        attributes = Attributes(render_fleet_report(replace(inputs, flake_status=hostile))).found

        assert not [tag for tag, _, _ in attributes if tag in {"img", "b"}]
        assert not [found for _, found, _ in attributes if found.startswith("on")]


def test_snapshots_of_before_an_upgrade_read_as_if_the_new_columns_were_null() -> None:
    inputs = drawn_fleet(120, 4)
    assert inputs.previous_status is not None

    def before(frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
        known_then = {
            *("deployment_status", "status_description", "hostname", "flake_id", "flake_name"),
            *("snapshot_at", "extracted_at", "snapshot_date", "environment", "is_registered"),
        }
        brought = [
            column.name
            for column in dataset.columns
            if column.nullable and column.name not in known_then and frame[column.name].isna().all()
        ]
        assert {"feed_status", "feed_checked_at"} <= set(brought)
        return frame.drop(columns=brought)

    older = replace(
        inputs,
        status=before(inputs.status, SYSTEM_DEPLOYMENT_STATUS),
        previous_status=before(inputs.previous_status, SYSTEM_DEPLOYMENT_STATUS),
        flake_status=before(inputs.flake_status, FLAKE_DEPLOYMENT_STATUS),
    )

    page = render_fleet_report(older)
    assert page == render_fleet_report(inputs)
    assert "Not known: why systems are behind is not recorded for this day." in page
    assert "Of 4\xa0flakes it is not recorded whether the repository is still read" in page


@pytest.mark.parametrize("inputs", [drawn_fleet(120, 4), evident_fleet()], ids=["drawn", "evident"])
def test_dictionary_encoded_frames_give_the_same_page(inputs: FleetReportInputs) -> None:
    def encoded(frame: pd.DataFrame) -> pd.DataFrame:
        text = [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]
        return frame.astype(dict.fromkeys(text, "category"))

    assert inputs.previous_status is not None
    assert inputs.velocity is not None
    assert inputs.rollouts is not None
    as_stored = replace(
        inputs,
        status=encoded(inputs.status),
        previous_status=encoded(inputs.previous_status),
        flake_status=encoded(inputs.flake_status),
        velocity=encoded(inputs.velocity),
        rollouts=encoded(inputs.rollouts),
    )

    assert render_fleet_report(as_stored) == render_fleet_report(inputs)


def test_a_page_compared_with_another_day_than_yesterday_names_it(
    inputs: FleetReportInputs, page: str
) -> None:
    assert inputs.previous_status is not None
    missed = inputs.previous_status.assign(snapshot_at=pd.Timestamp("2026-11-20", tz="UTC"))

    text = render_fleet_report(replace(inputs, previous_status=missed))

    assert "What changed since yesterday" in page
    assert "What changed since 2026-11-19" in text
    assert "Compared with the snapshot of 2026-11-20 00:00 UTC" in text


def test_up_to_date_never_stands_alone_where_it_is_as_of_an_old_reading() -> None:
    page = render_fleet_report(evident_fleet()).replace("\xa0", " ")
    old = "10 of these as of an old reading"

    assert re.search(rf"<title>[^<]* 21 of 73 systems up to date, {old}</title>", page)
    assert f"21 of 73 systems run the latest commit, {old} of their repository." in page
    assert "Up to date 21 (10 as of an old reading)" in page
    assert "of these 10 as of an old reading of their repository</span>" in page
    assert re.search(rf"Up to date</bdi> <span class=\"detail\">\d+, {old}<", page)
    assert "“Up to date” is as the repositories had been read" in page
    assert "the newest commit known (as of 3 days ago or earlier: last read failed) has" in page
    assert "was behind, now up to date as of an old reading, <bdi>edge</bdi>" in page
    assert "was up to date as of an old reading, <bdi>core</bdi>" in page


def test_charts_begin_with_the_second_day(inputs: FleetReportInputs) -> None:
    assert inputs.velocity is not None
    last_day = inputs.velocity["snapshot_date"] == inputs.snapshot_date

    first = render_fleet_report(replace(inputs, velocity=inputs.velocity[last_day]))

    assert "Only one day has been computed so far" in first
    assert "Systems by status" not in first


def test_a_flake_that_nobody_deploys_is_named(inputs: FleetReportInputs, page: str) -> None:
    flake_status = inputs.flake_status.copy()
    flake_status.loc[flake_status["flake_id"] == 4, "systems_total"] = 0

    text = render_fleet_report(replace(inputs, flake_status=flake_status))

    assert "1\xa0flake has no system: <bdi>flake-4</bdi>." in text
    assert "no system:" not in page


def test_empty_frames_are_as_good_as_none(inputs: FleetReportInputs) -> None:
    def without(velocity: pd.DataFrame | None, rollouts: pd.DataFrame | None) -> str:
        return render_fleet_report(replace(inputs, velocity=velocity, rollouts=rollouts))

    assert inputs.velocity is not None
    assert inputs.rollouts is not None
    assert without(inputs.velocity.head(0), inputs.rollouts.head(0)) == without(None, None)


def test_a_closed_day_s_page_says_when_its_tables_were_read(inputs: FleetReportInputs) -> None:
    closed = replace(
        inputs,
        snapshot_at=pd.Timestamp("2026-11-23", tz="UTC"),
        extracted_at=pd.Timestamp("2026-11-23 00:05", tz="UTC"),
    )

    text = render_fleet_report(closed)

    assert "<title>Fleet report, 2026-11-22:" in text
    assert "from tables read at 2026-11-23 00:05 UTC" in text


def test_it_says_what_is_uncertain_because_of_rows_that_cant_be_used(
    inputs: FleetReportInputs, page: str
) -> None:
    assert "can't be used" not in page.replace("&#39;", "'")
    unusable = [
        UnusableRows("public.commits", 2, flake_id=7, flake_name="<b>infra</b>"),
        *(UnusableRows("public.system_states", 1, f"host-{number}") for number in range(1_000)),
    ]
    told = render_fleet_report(replace(inputs, unusable=unusable)).replace("&#39;", "'")

    assert (
        "<li>2 rows of public.commits of flake &lt;b&gt;infra&lt;/b&gt; can't be used. Its systems "
        "may be behind, even where they are shown as up_to_date.</li>"
    ) in told
    assert "of host host-0 can't be used. It may run something else than what is shown." in told
    assert "of host host-999 " not in told
    assert "more flakes or hosts" in told
