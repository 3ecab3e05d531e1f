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
from tests.report_pages import HOSTILE_NAMES, behind, drawn_fleet, inputs_of, status_frame

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


def test_every_reference_within_the_page_has_its_target(page: str) -> None:
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


def test_dictionary_encoded_frames_give_the_same_page(inputs: FleetReportInputs, page: str) -> None:
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

    assert render_fleet_report(as_stored) == page


def test_a_page_compared_with_another_day_than_yesterday_names_it(
    inputs: FleetReportInputs, page: str
) -> None:
    assert inputs.previous_status is not None
    missed = inputs.previous_status.assign(snapshot_at=pd.Timestamp("2026-11-20", tz="UTC"))

    text = render_fleet_report(replace(inputs, previous_status=missed))

    assert "What changed since yesterday" in page
    assert "What changed since 2026-11-19" in text
    assert "Compared with the snapshot of 2026-11-20 00:00 UTC" in text


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
