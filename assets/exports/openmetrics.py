"""The fleet's metrics as OpenMetrics text, for the textfile collector of Prometheus' node_exporter.

node_exporter reads Prometheus' older text format only (its issue 1988 asks for OpenMetrics). So the
text stays within what both formats share: gauges, and neither units nor timestamps nor `info`
metrics, which make node_exporter leave out the whole file. The closing `# EOF`, which OpenMetrics
demands, is a comment to node_exporter.

There is no gauge of the snapshot's age: it would stand still when the pipeline does, which is when
somebody should be told. `time() - flakelag_snapshot_timestamp_seconds` grows.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from assets.compute.vocabulary import (
    BEHIND_REASONS,
    DEPLOYMENT_STATUSES,
    FEED_STATUSES,
    LIVENESS,
)
from assets.publishing.display import display_name

QUANTILES = np.array([0.5, 0.9, 1.0])

# Systems that belong to no flake; a flake of this name has a number as its `flake_id`.
NO_FLAKE = "none"

# The library declares no types for it.
_generate: Callable[[CollectorRegistry], bytes] = generate_latest


def fleet_metrics_text(
    status: pd.DataFrame,
    flake_status: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    extracted_at: pd.Timestamp,
) -> str:
    """Writes one snapshot as metrics.

    A flake is told apart by `flake_id`, because `flake`, its name, need not be unique. Every flake
    has a sample for every status, so that a count which falls to nothing becomes 0 rather than
    stale; quantiles are left out where no system has a value.

    Args:
        status: one snapshot of `system_deployment_status`, one row a hostname.
        flake_status: the same snapshot of `flake_deployment_status`, one row a flake; it names the
            flakes that have no system.
        snapshot_at: T of the snapshot.
        extracted_at: when the source tables were read.

    Returns:
        The text, ending with `# EOF`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Families(
            [
                _systems(status, flake_status),
                _systems_behind(flake_status),
                _systems_by_liveness(status),
                _feeds(flake_status),
                _feeds_checked(flake_status),
                _quantiles(
                    _behind(status, "commits_behind"),
                    "flakelag_commits_behind",
                    "Commits that systems of the flake are behind, by quantile (1 is the maximum), "
                    "over systems whose status is behind, up_to_date or ahead.",
                ),
                _quantiles(
                    _behind(status, "hours_behind"),
                    "flakelag_hours_behind",
                    "Hours since the first commit that a system lacks was made, by quantile (1 is "
                    "the maximum), over the same systems; 0 where it lacks none.",
                ),
                _instant(
                    "flakelag_snapshot_timestamp_seconds",
                    "The instant that the snapshot describes; its age is time() minus this.",
                    snapshot_at,
                ),
                _instant(
                    "flakelag_extract_timestamp_seconds",
                    "When the last run that published read the fleet database.",
                    extracted_at,
                ),
            ]
        )
    )
    return _generate(registry).decode("utf-8")


class _Families(Collector):
    """Hands finished metrics to the client library."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _systems(status: pd.DataFrame, flake_status: pd.DataFrame) -> Metric:
    family = GaugeMetricFamily(
        "flakelag_systems",
        "Systems by associated flake and deployment status.",
        labels=["flake_id", "flake", "status"],
    )
    labels = _flake_labels(status)
    known = _flake_labels(flake_status)
    flakes = pd.concat([known, labels]).drop_duplicates("flake_id", ignore_index=True)
    counts = pd.crosstab(labels["flake_id"], status["deployment_status"]).reindex(
        index=flakes["flake_id"], columns=list(DEPLOYMENT_STATUSES), fill_value=0
    )
    for flake_id, flake in flakes.itertuples(index=False):
        for name in DEPLOYMENT_STATUSES:
            family.add_metric([flake_id, flake, name], float(counts.loc[flake_id, name]))
    return family


def _systems_behind(flake_status: pd.DataFrame) -> Metric:
    family = GaugeMetricFamily(
        "flakelag_systems_behind",
        "Systems that are behind, by associated flake and by reason: who has to act.",
        labels=["flake_id", "flake", "reason"],
    )
    for flake, (_, row) in zip(_labels_of(flake_status), flake_status.iterrows(), strict=True):
        for reason in BEHIND_REASONS:
            if pd.notna(row[f"systems_behind_{reason}"]):
                family.add_metric([*flake, reason], float(row[f"systems_behind_{reason}"]))
    return family


def _systems_by_liveness(status: pd.DataFrame) -> Metric:
    family = GaugeMetricFamily(
        "flakelag_systems_by_liveness",
        "Systems that have reported, by how long ago they were last seen.",
        labels=["liveness"],
    )
    counts = status["liveness"].value_counts()
    for liveness in LIVENESS:
        family.add_metric([liveness], float(counts.get(liveness, 0)))
    return family


def _feeds(flake_status: pd.DataFrame) -> Metric:
    family = GaugeMetricFamily(
        "flakelag_feed_status",
        "1 for how the last attempt to read the flake's repository went, 0 for how it did not.",
        labels=["flake_id", "flake", "feed_status"],
    )
    for flake, found in zip(_labels_of(flake_status), flake_status["feed_status"], strict=True):
        for feed_status in FEED_STATUSES:
            family.add_metric([*flake, feed_status], float(found == feed_status))
    return family


def _feeds_checked(flake_status: pd.DataFrame) -> Metric:
    family = GaugeMetricFamily(
        "flakelag_feed_checked_timestamp_seconds",
        "When the last attempt to read the flake's repository began; none where not recorded.",
        labels=["flake_id", "flake"],
    )
    for flake, checked_at in zip(
        _labels_of(flake_status), flake_status["feed_checked_at"], strict=True
    ):
        if pd.notna(checked_at):
            family.add_metric(flake, checked_at.timestamp())
    return family


def _labels_of(flake_status: pd.DataFrame) -> list[list[str]]:
    return [list(map(str, row)) for row in _flake_labels(flake_status).itertuples(index=False)]


def _behind(status: pd.DataFrame, column: str) -> pd.DataFrame:
    """The lag of systems whose lag is known; one row a hostname: flake_id, flake, lag."""
    is_known = status["commits_behind"].notna() & status["flake_id"].notna()
    lag = status.loc[is_known, column].astype("Float64").fillna(0).astype("float64")
    return _flake_labels(status[is_known]).assign(lag=lag)


def _quantiles(lags: pd.DataFrame, name: str, documentation: str) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["flake_id", "flake", "quantile"])
    for key, lag in lags.groupby(["flake_id", "flake"], sort=False)["lag"]:
        flake_id, flake = map(str, key)
        for quantile, value in zip(QUANTILES, lag.quantile(QUANTILES), strict=True):
            family.add_metric([flake_id, flake, f"{quantile:g}"], value)
    return family


def _flake_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """The labels of each row's flake: flake_id and flake, both text, `none` for no flake."""
    names = frame["flake_name"].astype("string")
    shown = {name: display_name(name) for name in names.dropna().unique()}
    return pd.DataFrame(
        {
            "flake_id": frame["flake_id"].astype("Int64").astype("string").fillna(NO_FLAKE),
            "flake": names.map(shown).astype("string").fillna(NO_FLAKE),
        }
    )


def _instant(name: str, documentation: str, instant: pd.Timestamp) -> Metric:
    return GaugeMetricFamily(name, documentation, value=instant.timestamp())
