"""The commits of every flake in their order: what is latest, what precedes what."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from assets.compute.encoding import NOTHING, Booleans, Integers, microseconds, translate


@dataclass(frozen=True)
class CommitOrder:
    """All commits, sorted by (flake, commit_timestamp, id).

    A commit's *position* is its row label in `rows`, so that the commits of one flake are adjacent
    and counting commits between two of them is a subtraction. A flake's *code* is its row label in
    `flakes`. `NOTHING` stands for no commit and no flake; `rows.reindex(positions)` looks up.

    Attributes:
        rows: by position; commit_id, flake (code), commit_hash, commit_timestamp, is_on_branch
            (false once the history was rewritten without it), evaluation_status (null where not
            recorded), place (in the flake, counted from 0).
        flakes: by code, every flake that occurs anywhere, by flake_id; flake_id, flake_name (null
            where `flakes` has no such row).
    """

    rows: pd.DataFrame
    flakes: pd.DataFrame

    @cached_property
    def flake(self) -> Integers:
        """By position, the flake's code."""
        return np.asarray(self.rows["flake"], np.int64)

    @cached_property
    def timestamps(self) -> Integers:
        """By position, microseconds."""
        return microseconds(self.rows["commit_timestamp"])

    @cached_property
    def starts(self) -> Integers:
        """By position, that of the flake's first commit."""
        starts: Integers = np.asarray(self.rows.index - self.rows["place"], np.int64)
        return starts

    @cached_property
    def ends(self) -> Integers:
        """By position, one after that of the flake's last commit."""
        sizes = self.rows.groupby("flake")["place"].transform("size")
        return np.asarray(self.starts + sizes, np.int64)

    @cached_property
    def count_on_branch(self) -> Integers:
        """By position, how many commits up to and with it are on their branches, of all flakes."""
        return np.cumsum(self._is_on_branch, dtype=np.int64)

    @cached_property
    def on_branch(self) -> Integers:
        """Positions of the commits that are on their branches.

        So `on_branch[count_on_branch[position]]` is the next one on the branch after a position.
        """
        return np.flatnonzero(self._is_on_branch)

    def flake_codes(self, flake_ids: "pd.Series[Any]") -> Integers:
        """The code of each flake id, `NOTHING` for null and where it does not occur."""
        return np.asarray(pd.Index(self.flakes["flake_id"]).get_indexer(pd.Index(flake_ids)))

    def positions(self, commit_ids: "pd.Series[Any]") -> Integers:
        """The position of each commit id, `NOTHING` for null and where there is no such commit."""
        return self._ids.get_indexer(pd.Index(commit_ids))

    def last_before(self, flakes: Integers, instants: Integers) -> Integers:
        """The flakes' last commits made before instants: what was visible then, up to the latest.

        Args:
            flakes: codes.
            instants: microseconds, one for each flake.

        Returns:
            Positions, `NOTHING` where the flake had no commit yet.
        """
        asked = pd.DataFrame({"flake": flakes, "asked_at": instants}).sort_values("asked_at")
        found = pd.merge_asof(
            asked,
            self._by_time,
            left_on="asked_at",
            right_on="made_at",
            by="flake",
            allow_exact_matches=False,
        )
        last = found["position"].fillna(NOTHING).astype("int64").set_axis(asked.index)
        return np.asarray(last.sort_index(), np.int64)

    def latest(self, instant: int) -> Integers:
        """By flake code, the last commit on the branch made before the instant, or `NOTHING`."""
        codes = self.flakes.index.to_numpy()
        last = self.last_before(codes, np.full(len(codes), instant))
        return translate(last, self._last_on_branch)

    @cached_property
    def _is_on_branch(self) -> Booleans:
        return np.asarray(self.rows["is_on_branch"], np.bool_)

    @cached_property
    def _last_on_branch(self) -> Integers:
        """By position, the last commit of the flake on the branch up to it, or `NOTHING`."""
        positions = np.where(self._is_on_branch, np.arange(len(self.rows)), NOTHING)
        last = np.maximum.accumulate(positions)
        return np.where(last < self.starts, NOTHING, last)

    @cached_property
    def _ids(self) -> "pd.Index[Any]":
        ids: pd.Index[Any] = pd.Index(self.rows["commit_id"])
        return ids

    @cached_property
    def _by_time(self) -> pd.DataFrame:
        made = {"made_at": self.timestamps, "flake": self.flake, "position": self.rows.index}
        return pd.DataFrame(made).sort_values("made_at", kind="stable")


def order_commits(
    commits: pd.DataFrame, flakes: pd.DataFrame, registered_flake_ids: "pd.Series[Any]"
) -> CommitOrder:
    """Sorts the commits; `registered_flake_ids` adds flakes that only systems refer to."""
    flake_ids = pd.concat([flakes["id"], commits["flake_id"], registered_flake_ids])
    known = flake_ids.dropna().drop_duplicates().sort_values().astype("Int64")
    names = flakes[["id", "name"]].set_axis(["flake_id", "flake_name"], axis="columns")
    known_flakes = known.to_frame("flake_id").merge(names, how="left", on="flake_id")
    rows = pd.DataFrame(
        {
            "commit_id": commits["id"],
            "flake": pd.Index(known_flakes["flake_id"]).get_indexer(commits["flake_id"]),
            "commit_hash": commits["git_commit_hash"],
            "commit_timestamp": commits["commit_timestamp"],
            "is_on_branch": ~commits["source_archived"].fillna(value=False).astype("bool"),
            "evaluation_status": commits["evaluation_status"],
        }
    ).sort_values(["flake", "commit_timestamp", "commit_id"], ignore_index=True)
    rows["place"] = rows.groupby("flake").cumcount()
    return CommitOrder(rows, known_flakes)
