"""How far the newest commits of each flake have got, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.page.evidence import OldReading
from assets.page.flake_names import FlakeNames
from assets.page.links import CommitLinks
from assets.page.wording import plain_records

# A curve of thousands of hosts looks the same with so many of its steps.
_DRAWN_STEPS = 80


@dataclass(frozen=True)
class CommitAdoption:
    """How far one commit has got.

    Attributes:
        commit_hash: its git hash.
        url: its page at the forge, None where not known.
        age_seconds: at the snapshot.
        reached: eligible hosts that run it or a later commit, now or before.
        current: eligible hosts that run exactly it.
        eligible: systems associated with the flake.
        seconds_to: seconds from the commit until it reached its first host, 50, 90 and 100 % of
            the eligible hosts; None until it happens.
        curve: (seconds after the commit, share of the eligible hosts reached by then), from the
            commit to the snapshot. A host that had it earlier by its clock counts at 0 seconds.
    """

    commit_hash: str
    url: str | None
    age_seconds: float
    reached: int
    current: int
    eligible: int
    seconds_to: tuple[float | None, ...]
    curve: tuple[tuple[float, float], ...]

    @property
    def share(self) -> float:
        """Share of the eligible hosts that it has reached."""
        return self.reached / self.eligible


@dataclass(frozen=True)
class FlakeAdoption:
    """The newest commits of one flake.

    Attributes:
        flake: its label.
        hosts: systems associated with it.
        commits: newest first, at least one.
        reading: None unless its feed is not current: then there can be newer ones.
    """

    flake: str
    hosts: int
    commits: tuple[CommitAdoption, ...]
    reading: OldReading | None


def newest_commits(
    rollouts: pd.DataFrame,
    curves: pd.DataFrame,
    snapshot_at: pd.Timestamp,
    names: FlakeNames,
    readings: Mapping[int, OldReading],
    links: CommitLinks,
    *,
    flakes_limit: int,
    commits_limit: int,
) -> tuple[FlakeAdoption, ...]:
    """The newest commits of the flakes with most systems; flakes without a system are left out.

    Args:
        rollouts: `commit_rollouts`, one row a commit.
        curves: their `adoption_curves`, one row a commit and step.
        snapshot_at: the instant that both describe.
        names: what to call the flakes.
        readings: the flakes whose feed is not current.
        links: where their commits are shown.
        flakes_limit: at most so many flakes.
        commits_limit: at most so many commits of each.
    """
    with_hosts = rollouts[rollouts["hosts_eligible"] > 0]
    newest = (
        with_hosts.sort_values(["commit_timestamp", "commit_id"], ascending=False)
        .groupby("flake_id")
        .head(commits_limit)
    )
    flakes = newest.groupby("flake_id")["hosts_eligible"].max()
    largest = flakes.sort_values(ascending=False, kind="stable").head(flakes_limit).reset_index()
    return tuple(
        FlakeAdoption(
            names[flake["flake_id"]],
            int(flake["hosts_eligible"]),
            tuple(
                _commit(
                    record,
                    links.commit(record["flake_id"], record["commit_hash"]),
                    curves[curves["commit_id"] == record["commit_id"]],
                    snapshot_at,
                )
                for record in plain_records(newest[newest["flake_id"] == flake["flake_id"]])
            ),
            readings.get(flake["flake_id"]),
        )
        for flake in plain_records(largest)
    )


def _commit(
    record: dict[str, Any], url: str | None, steps: pd.DataFrame, snapshot_at: pd.Timestamp
) -> CommitAdoption:
    made_at = record["commit_timestamp"]
    milestones = ("first_deployed_at", *(f"reached_{each}_percent_at" for each in (50, 90, 100)))
    eligible, reached = int(record["hosts_eligible"]), int(record["hosts_reached"])
    age = (snapshot_at - made_at).total_seconds()
    return CommitAdoption(
        commit_hash=record["commit_hash"],
        url=url,
        age_seconds=age,
        reached=reached,
        current=int(record["hosts_current"]),
        eligible=eligible,
        seconds_to=tuple(_seconds_after(made_at, record[name]) for name in milestones),
        curve=((0.0, 0.0), *_drawn(steps, made_at, eligible), (age, reached / eligible)),
    )


def _drawn(steps: pd.DataFrame, made_at: pd.Timestamp, eligible: int) -> list[tuple[float, float]]:
    places = np.linspace(0, len(steps) - 1, min(len(steps), _DRAWN_STEPS)).astype(int)
    seconds = (steps["reached_at"] - made_at).dt.total_seconds().clip(lower=0)
    shares = steps["hosts_reached"] / eligible
    return [
        (float(second), float(share))
        for second, share in zip(seconds.iloc[places], shares.iloc[places], strict=True)
    ]


def _seconds_after(made_at: pd.Timestamp, instant: pd.Timestamp | None) -> float | None:
    return None if instant is None else max((instant - made_at).total_seconds(), 0.0)
