from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from assets.compute.vocabulary import BEHIND_REASONS, DEPLOYMENT_STATUSES, LIVENESS
from assets.exports.openmetrics import fleet_metrics_text
from assets.publishing.display import display_name

SNAPSHOT_AT = pd.Timestamp("2026-11-23T09:00:00Z")
EXTRACTED_AT = pd.Timestamp("2026-11-23T09:00:05.250000Z")

# The library declares no types for it.
parse_openmetrics: Callable[[str], Iterator[Metric]] = openmetrics.text_string_to_metric_families

Samples = dict[tuple[tuple[str, str], ...], float]


def systems(*rows: tuple[int | None, str | None, str, int | None, float | None]) -> pd.DataFrame:
    frame = pd.DataFrame(
        rows, columns=["flake_id", "flake_name", "deployment_status", "commits_behind", "hours"]
    )
    return frame.assign(
        hostname=[f"host-{number}" for number in range(len(rows))],
        flake_id=frame["flake_id"].astype("Int64"),
        commits_behind=frame["commits_behind"].astype("Int64"),
        hours_behind=frame.pop("hours").astype("float64"),
        liveness="alive",
    )


def flakes(*rows: tuple[int, str], **columns: Any) -> pd.DataFrame:
    """Flakes of which nothing is recorded but what is given, the same for all."""
    frame = pd.DataFrame(rows, columns=["flake_id", "flake_name"]).astype({"flake_id": "Int64"})
    reasons = {f"systems_behind_{reason}": None for reason in BEHIND_REASONS}
    recorded: dict[str, Any] = {
        "feed_status": "not_recorded",
        "feed_checked_at": pd.NaT,
        **reasons,
        **columns,
    }
    return frame.assign(**recorded)


def text_of(status: pd.DataFrame, flake_status: pd.DataFrame) -> str:
    return fleet_metrics_text(status, flake_status, SNAPSHOT_AT, EXTRACTED_AT)


def samples(text: str, name: str) -> Samples:
    """The samples of one metric; both parsers must agree on them."""
    both = [
        {
            tuple(sample.labels.items()): sample.value
            for family in parse(text)
            for sample in family.samples
            if sample.name == name
        }
        for parse in (parse_openmetrics, parse_prometheus)
    ]
    assert both[0] == both[1]
    return both[0]


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def test_systems_are_counted_by_flake_and_status_with_zeros() -> None:
    status = systems(
        (1, "infra", "behind", 3, 7.0),
        (1, "infra", "behind", 1, 2.0),
        (1, "infra", "up_to_date", 0, None),
        (None, None, "unknown", None, None),
    )

    counted = samples(text_of(status, flakes((1, "infra"), (2, "idle"))), "flakelag_systems")

    assert len(counted) == 3 * len(DEPLOYMENT_STATUSES)
    assert sum(counted.values()) == len(status)
    assert counted[labels(flake_id="1", flake="infra", status="behind")] == 2
    assert counted[labels(flake_id="1", flake="infra", status="ahead")] == 0
    assert counted[labels(flake_id="2", flake="idle", status="up_to_date")] == 0
    assert counted[labels(flake_id="none", flake="none", status="unknown")] == 1


def test_a_system_whose_flake_is_gone_is_counted() -> None:
    status = systems((9, None, "no_deployment", None, None))

    counted = samples(text_of(status, flakes((1, "infra"))), "flakelag_systems")

    assert counted[labels(flake_id="9", flake="none", status="no_deployment")] == 1


def test_flakes_of_one_name_stay_apart() -> None:
    status = systems((1, "infra", "behind", 3, 7.0), (2, "infra", "behind", 5, 9.0))
    text = text_of(status, flakes((1, "infra"), (2, "infra")))

    behind = samples(text, "flakelag_commits_behind")

    assert behind[labels(flake_id="1", flake="infra", quantile="1")] == 3
    assert behind[labels(flake_id="2", flake="infra", quantile="1")] == 5


def test_quantiles_are_over_the_systems_whose_lag_is_known() -> None:
    status = systems(
        (1, "infra", "unknown", None, None),
        (1, "infra", "no_deployment", None, None),
        (1, "infra", "behind", 10, 100.0),
        (1, "infra", "behind", 4, 50.0),
        (1, "infra", "ahead", 0, None),
    )
    text = text_of(status, flakes((1, "infra")))

    # Of 10, 4 and 0: the median is 4, the 90th percentile lies 0.8 of the way from 4 to 10.
    commits = samples(text, "flakelag_commits_behind")
    assert commits[labels(flake_id="1", flake="infra", quantile="0.5")] == 4
    assert commits[labels(flake_id="1", flake="infra", quantile="0.9")] == pytest.approx(8.8)
    assert commits[labels(flake_id="1", flake="infra", quantile="1")] == 10
    # Of 100, 50 and 0.
    hours = samples(text, "flakelag_hours_behind")
    assert hours[labels(flake_id="1", flake="infra", quantile="0.5")] == 50
    assert hours[labels(flake_id="1", flake="infra", quantile="0.9")] == pytest.approx(90)
    assert hours[labels(flake_id="1", flake="infra", quantile="1")] == 100


def test_a_flake_without_a_known_lag_has_no_quantile() -> None:
    text = text_of(systems((1, "infra", "unknown", None, None)), flakes((1, "infra")))

    assert samples(text, "flakelag_commits_behind") == {}
    assert samples(text, "flakelag_hours_behind") == {}


def test_instants_are_gauges_without_a_sample_timestamp() -> None:
    text = text_of(systems(), flakes())

    assert samples(text, "flakelag_snapshot_timestamp_seconds") == {(): SNAPSHOT_AT.timestamp()}
    assert samples(text, "flakelag_extract_timestamp_seconds") == {(): EXTRACTED_AT.timestamp()}
    parsed = [sample for family in parse_openmetrics(text) for sample in family.samples]
    assert all(sample.timestamp is None for sample in parsed)


@pytest.mark.parametrize(
    "name",
    [
        'quote " and \\ backslash',
        "line\nbreak\r\n# EOF",
        'x"} 1\nflakelag_systems{flake="forged',
        "<script>alert(1)</script>",
        "\u202eright to left",
        "line separator \u2028 and \x85",
        "наука 雪 🐧",
        "x" * 100_000,
        "",
    ],
)
def test_hostile_flake_names_come_back_as_they_are_shown(name: str) -> None:
    status = systems((1, name, "behind", 3, 7.0))
    text = text_of(status, flakes((1, name)))

    for metric in ("flakelag_systems", "flakelag_commits_behind", "flakelag_hours_behind"):
        assert {dict(key)["flake"] for key in samples(text, metric)} == {display_name(name)}
    assert len(text) < 20_000


def test_the_text_stays_within_what_node_exporter_reads() -> None:
    text = text_of(systems((1, "infra", "behind", 3, 7.0)), flakes((1, "infra")))
    lines = text.split("\n")

    assert lines[-2:] == ["# EOF", ""]
    kinds = {line.split()[1] for line in lines if line.startswith("#")}
    assert kinds == {"HELP", "TYPE", "EOF"}
    assert {line.split()[3] for line in lines if line.startswith("# TYPE")} == {"gauge"}


def test_systems_behind_are_counted_by_reason_where_that_is_known() -> None:
    counts = {f"systems_behind_{reason}": 0 for reason in BEHIND_REASONS}
    known = flakes((1, "infra"), **{**counts, "systems_behind_silent": 2})

    counted = samples(text_of(systems(), known), "flakelag_systems_behind")

    assert len(counted) == len(BEHIND_REASONS)
    assert counted[labels(flake_id="1", flake="infra", reason="silent")] == 2
    assert counted[labels(flake_id="1", flake="infra", reason="pinned")] == 0
    assert not samples(text_of(systems(), flakes((1, "infra"))), "flakelag_systems_behind")


def test_systems_are_counted_by_liveness_with_zeros() -> None:
    status = systems((1, "infra", "behind", 1, 1.0), (1, "infra", "no_deployment", None, None))
    status["liveness"] = ["silent", None]

    counted = samples(text_of(status, flakes((1, "infra"))), "flakelag_systems_by_liveness")

    assert counted == {
        labels(liveness=liveness): float(liveness == "silent") for liveness in LIVENESS
    }


def test_a_feed_is_shown_as_it_is_and_when_it_was_tried() -> None:
    failing = flakes((1, "infra"), feed_status="failing", feed_checked_at=SNAPSHOT_AT)
    text = text_of(systems(), failing)

    statuses = samples(text, "flakelag_feed_status")
    assert statuses[labels(flake_id="1", flake="infra", feed_status="failing")] == 1
    assert statuses[labels(flake_id="1", flake="infra", feed_status="current")] == 0
    checked = samples(text, "flakelag_feed_checked_timestamp_seconds")
    assert checked == {labels(flake_id="1", flake="infra"): SNAPSHOT_AT.timestamp()}
    unknown = text_of(systems(), flakes((1, "infra")))
    assert not samples(unknown, "flakelag_feed_checked_timestamp_seconds")
