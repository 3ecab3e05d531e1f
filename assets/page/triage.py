"""Which systems need attention first, and why."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.page.actors import REASONS, acting
from assets.page.evidence import last_seen
from assets.page.flake_names import FlakeNames
from assets.page.links import CommitLinks
from assets.page.overview import ATTENTION_STATUSES
from assets.page.wording import counted, plain_records, span


@dataclass(frozen=True)
class AttentionRow:
    """One system that needs attention.

    Attributes:
        anchor: what the row is called in links to it.
        hostname: as reported.
        status: its deployment status.
        why: the status in words.
        note: what a person deciding what to do would ask next; empty where there is nothing to add.
        other_flake: name of the flake whose commit it runs, where that is the reason.
        flake_id: associated flake, None where there is none.
        flake: its label.
        environment: None where not recorded.
        is_registered: False for a host that reports without being registered.
        commit_hash: of the running commit, None where not known.
        commit_url: its page at the forge, None where not known.
        comparison_url: the page of what the latest commit has and it lacks, likewise.
        commit_made_at: when that commit was made.
        running_since: when the current deployment began, None for no_deployment.
        last_reported_at: None for no_deployment.
    """

    anchor: str
    hostname: str
    status: str
    why: str
    note: str
    other_flake: str | None
    flake_id: int | None
    flake: str
    environment: str | None
    is_registered: bool
    commit_hash: str | None
    commit_url: str | None
    comparison_url: str | None
    commit_made_at: pd.Timestamp | None
    running_since: pd.Timestamp | None
    last_reported_at: pd.Timestamp | None


@dataclass(frozen=True)
class Attention:
    """The systems that need attention.

    Attributes:
        rows: in triage order; not all of them where there are many.
        total: how many need attention.
        flakes: (id, label) of the flakes among the rows, by label.
    """

    rows: tuple[AttentionRow, ...]
    total: int
    flakes: tuple[tuple[int | None, str], ...]


def needing_attention(
    status: pd.DataFrame, names: FlakeNames, links: CommitLinks, limit: int
) -> Attention:
    """Lists the systems that are no_deployment, unknown or behind, in triage order.

    Where there are more than the limit, each flake and status gives its most urgent ones in turn,
    and so does each of those who have to act: a flake of thousands does not hide the others, every
    filter finds something, and what heads a list of "who must act" is there to be looked up.

    Args:
        status: a snapshot of `system_deployment_status`, in its order (triage order).
        names: what to call the flakes.
        links: where their commits are shown.
        limit: at most so many rows.
    """
    urgent = status[status["deployment_status"].isin(ATTENTION_STATUSES)].reset_index(drop=True)
    by_flake = urgent.groupby(["flake_id", "deployment_status"], dropna=False, observed=True)
    by_actor = urgent.groupby(acting(urgent), dropna=False)
    turn = by_flake.cumcount().combine(by_actor.cumcount(), min)
    listed = urgent.loc[turn.sort_values(kind="stable").index[:limit].sort_values()]
    rows = tuple(
        _attention_row(f"system-{place}", record, names, links)
        for place, record in enumerate(plain_records(listed), start=1)
    )
    flakes = {(row.flake_id, row.flake) for row in rows}
    return Attention(rows, len(urgent), tuple(sorted(flakes, key=lambda flake: flake[1])))


def _attention_row(
    anchor: str, record: dict[str, Any], names: FlakeNames, links: CommitLinks
) -> AttentionRow:
    flake_id = record["flake_id"]
    return AttentionRow(
        anchor=anchor,
        hostname=record["hostname"],
        status=record["deployment_status"],
        why=_why(record),
        note=_note(record),
        other_flake=record["current_flake_name"]
        if record["unknown_reason"] == "flake_mismatch"
        else None,
        flake_id=None if flake_id is None else int(flake_id),
        flake=names[flake_id],
        environment=record["environment"],
        is_registered=bool(record["is_registered"]),
        commit_hash=record["current_commit_hash"],
        commit_url=links.running(record),
        comparison_url=links.lacking(record),
        commit_made_at=record["current_commit_timestamp"],
        running_since=record["deployment_time"],
        last_reported_at=record["last_reported_at"],
    )


def _why(record: dict[str, Any]) -> str:
    if record["deployment_status"] != "behind":
        return str(record["status_description"])
    waited = span(record["hours_behind"] * 3600)
    return f"By {counted(record['commits_behind'], 'commit')}, for {waited}"


def _note(record: dict[str, Any]) -> str:
    seen = last_seen(record)
    sentences = [*_next_questions(record), seen and seen[0].upper() + seen[1:]]
    return ". ".join(filter(None, sentences))


def _next_questions(record: dict[str, Any]) -> list[str]:
    if record["behind_reason"] is None:
        return [_guess(record)]
    if record["behind_reason"] == "nothing_to_deploy":
        return [REASONS["nothing_to_deploy"]]
    return [_how_much_of_it(record), REASONS[record["behind_reason"]]]


def _guess(record: dict[str, Any]) -> str:
    if record["deployment_status"] == "no_deployment":
        is_ready = record["latest_deployable_commit_hash"] is not None
        return "A commit is built and ready to deploy" if is_ready else ""
    if record["deployment_status"] != "behind":
        return ""
    if record["commits_behind_deployable"] == 0:
        return "None of them is built for it: nothing to deploy yet"
    if record["commits_behind_effective"] == 0:
        return REASONS["nothing_to_deploy"]
    return _how_much_of_it(record)


def _how_much_of_it(record: dict[str, Any]) -> str:
    behind = record["commits_behind"]
    effective, deployable = (
        record["commits_behind_effective"],
        record["commits_behind_deployable"],
    )
    parts = []
    if effective is not None and 0 < effective < behind:
        parts.append(f"{effective:,} change it")
    if deployable is not None and 0 < deployable < behind:
        parts.append(f"{deployable:,} are built")
    return f"Of these, {' and '.join(parts)}" if parts else ""
