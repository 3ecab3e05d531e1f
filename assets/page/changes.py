"""What changed since the previous snapshot."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.page.evidence import CURRENT_STATUSES, is_of_old_reading
from assets.page.flake_names import FlakeNames
from assets.page.overview import ATTENTION_STATUSES
from assets.page.wording import plain_records


@dataclass(frozen=True)
class ChangedSystem:
    """One system whose standing changed.

    Attributes:
        hostname: the system.
        flake: label of its associated flake, the former one where the system vanished.
        before: its status in the previous snapshot, None where it was not there.
        now: its status in this snapshot, None where it is not there.
        before_of_old_reading: whether it was in that status only as far as its repository had been
            read.
        now_of_old_reading: the same of this snapshot.
    """

    hostname: str
    flake: str
    before: str | None
    now: str | None
    before_of_old_reading: bool
    now_of_old_reading: bool


@dataclass(frozen=True)
class Change:
    """One way in which systems changed.

    Attributes:
        kind: newly_behind, became_unknown, recovered, appeared or vanished.
        total: how many systems.
        of_old_reading: of these, the current ones that are so only as far as their repository was
            read.
        by_flake: (label, systems), most first; the flakes after the first few are summed up by
            the caller from `total`.
        systems: the first of them in triage order.
    """

    kind: str
    total: int
    of_old_reading: int
    by_flake: tuple[tuple[str, int], ...]
    systems: tuple[ChangedSystem, ...]


def changes_since(
    status: pd.DataFrame,
    previous_status: pd.DataFrame,
    names: FlakeNames,
    *,
    systems_limit: int,
    flakes_limit: int,
) -> tuple[Change, ...]:
    """Compares two snapshots of `system_deployment_status`.

    - newly_behind: behind now, there before and not behind then.
    - became_unknown: unknown now, there before and not unknown then.
    - recovered: up_to_date or ahead now, and no_deployment, unknown or behind before.
    - appeared, vanished: there in one snapshot only.

    Args:
        status: the snapshot, in triage order.
        previous_status: the snapshot before it.
        names: what to call the flakes.
        systems_limit: at most so many systems are named for each kind.
        flakes_limit: at most so many flakes are counted for each kind.

    Returns:
        One element a kind, in the order above, also for kinds without a system.
    """
    both = _side_by_side(status, previous_status)
    now, before = both["now"], both["before"]
    stayed = now.notna() & before.notna()
    masks = {
        "newly_behind": stayed & (now == "behind") & (before != "behind"),
        "became_unknown": stayed & (now == "unknown") & (before != "unknown"),
        "recovered": now.isin(CURRENT_STATUSES) & before.isin(ATTENTION_STATUSES),
        "appeared": before.isna(),
        "vanished": now.isna(),
    }
    return tuple(
        _change(kind, both[mask], names, systems_limit, flakes_limit)
        for kind, mask in masks.items()
    )


def _side_by_side(status: pd.DataFrame, previous_status: pd.DataFrame) -> pd.DataFrame:
    both = _compared(status).merge(
        _compared(previous_status),
        on="hostname",
        how="outer",
        suffixes=("", "_before"),
        sort=False,
    )
    # An outer merge orders by key; triage order is that of the snapshots, the vanished last.
    order = pd.Series(range(len(status)), index=status["hostname"])
    both = both.iloc[both["hostname"].astype("object").map(order).argsort(kind="stable")]
    return pd.DataFrame(
        {
            "hostname": both["hostname"],
            "now": both["deployment_status"].astype("object"),
            "before": both["deployment_status_before"].astype("object"),
            "flake_id": both["flake_id"].where(
                both["deployment_status"].notna(), both["flake_id_before"]
            ),
            # Null, and so not true, where the system is in the other snapshot alone.
            "now_of_old_reading": both["of_old_reading"].eq(other=True),
            "before_of_old_reading": both["of_old_reading_before"].eq(other=True),
        }
    )


def _compared(status: pd.DataFrame) -> pd.DataFrame:
    return status[["hostname", "deployment_status", "flake_id"]].assign(
        of_old_reading=is_of_old_reading(status)
    )


def _change(
    kind: str, systems: pd.DataFrame, names: FlakeNames, systems_limit: int, flakes_limit: int
) -> Change:
    by_flake = systems["flake_id"].value_counts(dropna=False).head(flakes_limit).reset_index()
    return Change(
        kind,
        len(systems),
        int(systems["now_of_old_reading"].sum()),
        tuple((names[flake["flake_id"]], int(flake["count"])) for flake in plain_records(by_flake)),
        tuple(_system(record, names) for record in plain_records(systems.head(systems_limit))),
    )


def _system(record: dict[str, Any], names: FlakeNames) -> ChangedSystem:
    return ChangedSystem(
        record["hostname"],
        names[record["flake_id"]],
        record["before"],
        record["now"],
        record["before_of_old_reading"],
        record["now_of_old_reading"],
    )
