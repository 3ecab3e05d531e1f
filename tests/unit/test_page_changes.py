"""What the page says has changed since the previous snapshot."""

import pandas as pd

from assets.page.changes import Change, changes_since
from assets.page.flake_names import flake_names
from tests.report_pages import behind, no_deployment, status_frame, unknown, up_to_date


def changes(
    status: pd.DataFrame, previous: pd.DataFrame, systems_limit: int = 50, flakes_limit: int = 5
) -> dict[str, Change]:
    found = changes_since(
        status,
        previous,
        flake_names([status, previous]),
        systems_limit=systems_limit,
        flakes_limit=flakes_limit,
    )
    return {change.kind: change for change in found}


def names(change: Change) -> list[str]:
    return [system.hostname for system in change.systems]


def test_each_kind_of_change_is_found() -> None:
    ahead = up_to_date("fast", deployment_status="ahead")
    status = status_frame(
        no_deployment("arrived"),
        unknown("lost"),
        unknown("still-lost"),
        behind("late", 2),
        behind("still-late", 2),
        behind("installed", 1),
        up_to_date("updated"),
        up_to_date("traced"),
        up_to_date("fine"),
        ahead,
    )
    previous = status_frame(
        no_deployment("installed"),
        unknown("still-lost"),
        unknown("traced"),
        behind("still-late", 1),
        behind("updated", 1),
        behind("fast", 1),
        behind("gone", 1),
        up_to_date("late"),
        up_to_date("lost"),
        up_to_date("fine"),
    )

    found = changes(status, previous)

    assert {kind: names(change) for kind, change in found.items()} == {
        "newly_behind": ["late", "installed"],
        "became_unknown": ["lost"],
        "recovered": ["updated", "traced", "fast"],
        "appeared": ["arrived"],
        "vanished": ["gone"],
    }
    (installed,) = [
        system for system in found["newly_behind"].systems if system.hostname == "installed"
    ]
    assert (installed.before, installed.now) == ("no_deployment", "behind")
    assert found["appeared"].systems[0].before is None
    assert (found["vanished"].systems[0].before, found["vanished"].systems[0].now) == (
        "behind",
        None,
    )


def test_nothing_changes_between_equal_snapshots() -> None:
    status = status_frame(unknown("a"), behind("b"), up_to_date("c"))

    assert [change.total for change in changes(status, status).values()] == [0] * 5


def test_many_changes_are_counted_by_flake_and_named_up_to_the_limit() -> None:
    hosts: list[tuple[str, int | None, str | None]]
    hosts = [(f"core-{number:02}", 1, "core") for number in range(9)]
    hosts += [("edge-1", 2, "edge"), ("edge-2", 2, "edge"), ("stray", None, None)]
    status = status_frame(
        *(behind(host, 3, flake_id=flake, flake_name=name) for host, flake, name in hosts)
    )
    previous = status_frame(
        *(up_to_date(host, flake_id=flake, flake_name=name) for host, flake, name in hosts)
    )

    change = changes(status, previous, systems_limit=4, flakes_limit=2)["newly_behind"]

    assert change.total == 12
    assert change.by_flake == (("core", 9), ("edge", 2))
    assert names(change) == ["core-00", "core-01", "core-02", "core-03"]


def test_a_system_that_vanished_counts_for_the_flake_that_it_had() -> None:
    previous = status_frame(behind("gone", 1, flake_id=7, flake_name="edge"))

    assert changes(status_frame(), previous)["vanished"].by_flake == (("edge", 1),)


def test_a_first_day_of_a_fleet_is_all_appearance() -> None:
    status = status_frame(behind("a"), up_to_date("b"))

    found = changes(status, status_frame())

    assert names(found["appeared"]) == ["a", "b"]
    assert found["newly_behind"].total == 0
