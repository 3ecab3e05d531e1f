"""How the systems of each flake stand, and how fresh the flake itself is."""

import pandas as pd

from assets.compute.encoding import (
    MICROSECONDS_PER_HOUR,
    NOTHING,
    in_microseconds,
    instant_microseconds,
)
from assets.compute.evidence import is_known_at
from assets.compute.feeds import USUAL_FEED_RULE, FeedRule, feeds
from assets.compute.forges import NO_OWN_FORGES, OwnForges, commit_pages
from assets.compute.quantiles import quantiles
from assets.compute.status import current_commits
from assets.compute.timeline import FleetTimeline
from assets.compute.vocabulary import BEHIND_REASONS, DEPLOYMENT_STATUSES

_SYSTEMS = ["systems_total", *(f"systems_{name}" for name in DEPLOYMENT_STATUSES)]
_REASONS = [f"systems_behind_{reason}" for reason in BEHIND_REASONS]
_QUANTILES = {0.5: "commits_behind_p50", 0.9: "commits_behind_p90", 1.0: "commits_behind_max"}


def flake_deployment_status(
    timeline: FleetTimeline,
    status: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    extracted_at: pd.Timestamp,
    feed_rule: FeedRule = USUAL_FEED_RULE,
    own_forges: OwnForges = NO_OWN_FORGES,
) -> pd.DataFrame:
    """Summarises one snapshot of `system_deployment_status` by associated flake.

    Args:
        timeline: the fleet that the snapshot was computed from.
        status: the snapshot, one row a hostname.
        snapshot_at: its T.
        extracted_at: when the tables were read.
        feed_rule: when the feed of a flake is stale.
        own_forges: what runs on hosts of one's own.

    Returns:
        One row a flake, those with most systems behind first. Columns as in
        `assets.schemas.FLAKE_DEPLOYMENT_STATUS`. Systems without an associated flake are in no row.
    """
    is_known = is_known_at(snapshot_at, extracted_at)
    flakes = timeline.flakes[["id", "name", "repo_url"]]
    flakes = flakes.set_axis(["flake_id", "flake_name", "repo_url"], axis="columns")
    flakes = flakes.astype({"flake_id": "int64"})
    rows = (
        flakes.join(_commit_pages(flakes["repo_url"], own_forges))
        .join(_count_systems(status), on="flake_id")
        .join(_quantiles_of_commits_behind(status), on="flake_id")
        .join(_latest_commits(timeline, snapshot_at), on="flake_id")
        .join(_live_commits(timeline, status), on="flake_id")
        .join(feeds(timeline.flakes, snapshot_at, feed_rule, is_known=is_known), on="flake_id")
    )
    counts = [*_SYSTEMS, *_REASONS, "live_commit_count"]
    rows[counts] = rows[counts].fillna(0).astype("int64")
    if not is_known:
        rows = rows.assign(**dict.fromkeys(_REASONS, None))
    return (
        rows.sort_values(
            ["systems_behind", "flake_name", "flake_id"], ascending=[False, True, True]
        )
        .reset_index(drop=True)
        .assign(
            snapshot_date=(snapshot_at - pd.Timedelta(1, "us")).date(),
            snapshot_at=snapshot_at.as_unit("us"),
            extracted_at=extracted_at.as_unit("us"),
        )
    )


def _commit_pages(repo_urls: "pd.Series[str]", own_forges: OwnForges) -> pd.DataFrame:
    """By the same row labels, the templates of the pages of each repository's commits."""
    pages = [commit_pages(url, own_forges) for url in repo_urls]
    templates = {
        "commit_url_template": [page and page.commit for page in pages],
        "comparison_url_template": [page and page.comparison for page in pages],
    }
    return pd.DataFrame(templates, repo_urls.index, dtype="str")


def _count_systems(status: pd.DataFrame) -> pd.DataFrame:
    """By flake_id, how many systems there are in all, of each status, and behind by reason."""
    counted = pd.DataFrame({"systems_total": status["flake_id"].notna()})
    for name in DEPLOYMENT_STATUSES:
        counted[f"systems_{name}"] = status["deployment_status"] == name
    for reason in BEHIND_REASONS:
        counted[f"systems_behind_{reason}"] = status["behind_reason"] == reason
    return counted.groupby(status["flake_id"]).sum()


def _quantiles_of_commits_behind(status: pd.DataFrame) -> pd.DataFrame:
    """By flake_id; null where the commits behind of no system are known."""
    commits_behind = quantiles(status.groupby("flake_id")["commits_behind"], list(_QUANTILES))
    return commits_behind.rename(columns=_QUANTILES).astype({"commits_behind_max": "Int64"})


def _latest_commits(timeline: FleetTimeline, snapshot_at: pd.Timestamp) -> pd.DataFrame:
    """By flake_id, the latest visible commit; null where there is none."""
    commits = timeline.commits
    latest = commits.rows.reindex(commits.latest(instant_microseconds(snapshot_at)))
    made_at = latest["commit_timestamp"]
    columns = {
        "latest_commit_hash": latest["commit_hash"],
        "latest_commit_timestamp": made_at,
        "latest_commit_age_hours": in_microseconds(snapshot_at - made_at) / MICROSECONDS_PER_HOUR,
    }
    return pd.DataFrame(columns).set_axis(commits.flakes["flake_id"])


def _live_commits(timeline: FleetTimeline, status: pd.DataFrame) -> pd.DataFrame:
    """By flake_id, how many of its commits its systems run, and the oldest of these."""
    commits = timeline.commits
    running = pd.Series(current_commits(commits, status)).drop_duplicates().sort_values()
    live = commits.rows.loc[running[running != NOTHING]]
    by_flake = live.groupby("flake")
    summary = pd.DataFrame(
        {
            "live_commit_count": by_flake.size(),
            "oldest_live_commit_hash": by_flake["commit_hash"].first(),
            "oldest_live_commit_timestamp": by_flake["commit_timestamp"].first(),
        }
    )
    return summary.set_axis(commits.flakes["flake_id"].loc[summary.index])
