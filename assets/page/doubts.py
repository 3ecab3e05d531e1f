"""Which systems count as current though something speaks against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.page.evidence import (
    OldReading,
    counted_by_git,
    is_contradicted,
    is_current_but_unseen,
    is_of_old_reading,
    last_seen,
)
from assets.page.flake_names import FlakeNames
from assets.page.wording import plain_records


@dataclass(frozen=True)
class DoubtfulSystem:
    """One system that counts as current.

    Attributes:
        hostname: as reported.
        flake: label of its flake.
        doubt: what speaks against it, in words.
    """

    hostname: str
    flake: str
    doubt: str


@dataclass(frozen=True)
class Doubts:
    """What speaks against counting systems as current; a system can be in several.

    Attributes:
        readings: (label, systems, reading) of the first flakes whose feed is not current, most
            systems first.
        readings_flakes: how many such flakes have a system that counts as current.
        readings_total: those systems.
        unseen: the first systems that have not been heard from, the longest unseen first.
        unseen_total: how many there are.
        contradicted: the first of those of which git counts newer commits, most commits first.
        contradicted_total: how many there are.
    """

    readings: tuple[tuple[str, int, OldReading], ...]
    readings_flakes: int
    readings_total: int
    unseen: tuple[DoubtfulSystem, ...]
    unseen_total: int
    contradicted: tuple[DoubtfulSystem, ...]
    contradicted_total: int

    @property
    def any(self) -> bool:
        """Whether anything speaks against anything."""
        return bool(self.readings_total or self.unseen_total or self.contradicted_total)


def doubts_about(
    status: pd.DataFrame,
    readings: Mapping[int, OldReading],
    names: FlakeNames,
    *,
    flakes_limit: int,
    systems_limit: int,
) -> Doubts:
    """Collects what speaks against the systems that are up to date or ahead.

    Args:
        status: a snapshot of `system_deployment_status`.
        readings: the flakes of that snapshot whose feed is not current.
        names: what to call the flakes.
        flakes_limit: at most so many flakes.
        systems_limit: at most so many systems of each kind.
    """
    of_old_reading = status[is_of_old_reading(status)]
    by_flake = of_old_reading["flake_id"].value_counts().reset_index()
    known = by_flake[by_flake["flake_id"].isin(list(readings))]
    unseen = status[is_current_but_unseen(status)].sort_values("last_seen_at", kind="stable")
    contradicted = status[is_contradicted(status)].sort_values(
        "commits_behind_branch", ascending=False, kind="stable"
    )
    return Doubts(
        tuple(
            (names[flake["flake_id"]], int(flake["count"]), readings[int(flake["flake_id"])])
            for flake in plain_records(known.head(flakes_limit))
        ),
        len(by_flake),
        len(of_old_reading),
        _named(unseen.head(systems_limit), names, last_seen),
        len(unseen),
        _named(contradicted.head(systems_limit), names, counted_by_git),
        len(contradicted),
    )


def _named(
    systems: pd.DataFrame, names: FlakeNames, doubt: Callable[[Mapping[str, Any]], str]
) -> tuple[DoubtfulSystem, ...]:
    return tuple(
        DoubtfulSystem(record["hostname"], names[record["flake_id"]], doubt(record))
        for record in plain_records(systems)
    )
