"""The words that every section of the contract uses: order, visibility, match, percentile."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from tests.plain_reading.rows import Commit, Derivation, Fleet, State, System

Value = str | int | float | bool | date | datetime | None
Row = dict[str, Value]


def commit_order(commit: Commit) -> tuple[datetime, int]:
    """Commits of a flake are ordered by (commit_timestamp, id)."""
    return (commit.commit_timestamp, commit.id)


def state_order(state: State) -> tuple[datetime, int]:
    """A host's states are ordered by (timestamp, id)."""
    return (state.timestamp, state.id)


def commits_of(fleet: Fleet, flake_id: int | None) -> list[Commit]:
    """All commits of a flake, visible or not, in commit order."""
    return sorted((c for c in fleet.commits if c.flake_id == flake_id), key=commit_order)


def visible_commits(fleet: Fleet, flake_id: int | None, instant: datetime) -> list[Commit]:
    """The commits of a flake that are visible at an instant, in commit order."""
    return [c for c in commits_of(fleet, flake_id) if c.commit_timestamp < instant]


def on_branch(commits: Iterable[Commit]) -> list[Commit]:
    """Those commits that history was not rewritten without, in the same order."""
    return [c for c in commits if not c.source_archived]


def visible_states(fleet: Fleet, hostname: str, instant: datetime) -> list[State]:
    """The states of a host that are visible at an instant, in order."""
    return sorted(
        (s for s in fleet.system_states if s.hostname == hostname and s.timestamp < instant),
        key=state_order,
    )


def derivations_of_path(fleet: Fleet, path: str) -> list[Derivation]:
    """The derivations that a path names, linked to a commit or not.

    By what was built, by the `.drv` file, and by what the evaluation predicts while nothing is
    built. A blank text is no path.
    """
    if not path.strip():
        return []
    return [d for d in fleet.derivations if path in paths_of(d)]


def is_blank(value: str | None) -> bool:
    """Whether a text is missing, empty or blank."""
    return value is None or not value.strip()


def paths_of(derivation: Derivation) -> list[str | None]:
    """Every path that names a derivation."""
    paths = [derivation.store_path, derivation.derivation_path]
    if is_blank(derivation.store_path):
        paths.append(derivation.expected_store_path)
    return paths


def matching_commits(fleet: Fleet, path: str) -> list[Commit]:
    """The distinct commits whose derivations a path names."""
    ids = {d.commit_id for d in derivations_of_path(fleet, path)}
    return [c for c in fleet.commits if c.id in ids]


def preferred_commit(
    candidates: Iterable[Commit], associated_flake_id: int | None, instant: datetime
) -> Commit | None:
    """The associated flake's before others, visible before others, then the greatest."""
    remaining = list(candidates)
    of_flake = [c for c in remaining if c.flake_id == associated_flake_id]
    remaining = of_flake or remaining
    visible = [c for c in remaining if c.commit_timestamp < instant]
    remaining = visible or remaining
    return max(remaining, key=commit_order, default=None)


def built_status_ids(fleet: Fleet) -> set[int]:
    """The statuses of derivations that are built: a success, and not that of a dry run."""
    return {
        s.id
        for s in fleet.derivation_statuses or ()
        if s.is_success and not s.name.startswith("dry-run-")
    }


def system_of(fleet: Fleet, hostname: str) -> System | None:
    """The registration of a hostname, whatever its state."""
    return next((s for s in fleet.systems if s.hostname == hostname), None)


def flake_name(fleet: Fleet, flake_id: int | None) -> str | None:
    """The name of a flake; None where there is no such flake."""
    return next((f.name for f in fleet.flakes if f.id == flake_id), None)


def configuration_name(system: System | None, hostname: str) -> str:
    """The derivation_name of a host: by default, and where blank, the hostname."""
    name = None if system is None else system.system_configuration_name
    return hostname if name is None or not name.strip() else name


def day_described(snapshot_at: datetime) -> date:
    """The UTC day that ends at, or contains what precedes, an instant."""
    return (snapshot_at.astimezone(UTC) - timedelta(microseconds=1)).date()


def seconds(span: timedelta) -> float:
    """A span in seconds."""
    return span / timedelta(seconds=1)


def hours(span: timedelta) -> float:
    """A span in hours."""
    return span / timedelta(hours=1)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The interpolated percentile, as PostgreSQL's PERCENTILE_CONT; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
