"""Links to the forge: where the page has one, and where it must not."""

import pytest

from assets.compute.forges import commit_pages
from assets.page.links import CommitLinks, commit_links
from assets.page.wording import plain_records
from assets.schemas import FLAKE_DEPLOYMENT_STATUS
from tests.report_pages import HOSTILE_NAMES, Row, behind, frame, status_frame, unknown, up_to_date

CURRENT, LATEST = "a" * 40, "b" * 40
HASHES: Row = {"current_commit_hash": CURRENT, "latest_commit_hash": LATEST}


@pytest.fixture
def links() -> CommitLinks:
    pages = commit_pages("github:example/fleet")
    assert pages is not None
    templates = {
        "commit_url_template": pages.commit,
        "comparison_url_template": pages.comparison,
    }
    flakes: list[Row] = [{"flake_id": 1} | templates, {"flake_id": 2}]
    return commit_links(frame(FLAKE_DEPLOYMENT_STATUS, flakes))


def links_of(links: CommitLinks, row: Row) -> tuple[str | None, str | None]:
    (record,) = plain_records(status_frame(row))
    return links.running(record), links.lacking(record)


def test_a_system_that_is_behind_links_to_its_commit_and_to_what_it_lacks(
    links: CommitLinks,
) -> None:
    assert links_of(links, behind("web", **HASHES)) == (
        f"https://github.com/example/fleet/commit/{CURRENT}",
        f"https://github.com/example/fleet/compare/{CURRENT}...{LATEST}",
    )
    assert links.commit(1, LATEST) == f"https://github.com/example/fleet/commit/{LATEST}"


@pytest.mark.parametrize(
    "row",
    [
        behind("web", **HASHES, flake_id=2),
        behind("web", **HASHES, flake_id=3),
        behind("web", **HASHES, flake_id=None),
        # Its commit can be one of another flake.
        unknown("web", **HASHES, unknown_reason="flake_mismatch"),
        *(
            behind("web", current_commit_hash=name, latest_commit_hash=name)
            for name in HOSTILE_NAMES
        ),
        behind("web", current_commit_hash=CURRENT[:8], latest_commit_hash=LATEST[:8]),
    ],
)
def test_where_anything_is_uncertain_there_is_no_link(links: CommitLinks, row: Row) -> None:
    assert links_of(links, row) == (None, None)


def test_an_up_to_date_system_lacks_nothing(links: CommitLinks) -> None:
    running, lacking = links_of(
        links, up_to_date("web", **HASHES | {"latest_commit_hash": CURRENT})
    )

    assert running is not None
    assert lacking is None
