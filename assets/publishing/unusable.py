"""What the rows that can't be used do to what is published, in words for whoever reads it.

Belongs here: whom such rows are about, and what is uncertain because of them. Does not belong here:
which rows they are (`assets.compute.quarantine`), and where the words are shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from assets.publishing.display import LONGEST_LABEL, display_name
from assets.schemas.source import COMMITS, DERIVATIONS, FLAKES, SYSTEM_STATES, SYSTEMS

WHOM_ROWS_ARE_ABOUT = ("source_table", "hostname", "flake_id")
"""The columns of the quarantine that say it."""

_SCHEMA = "public."
_OF_A_FLAKE = {_SCHEMA + table.name for table in (COMMITS, FLAKES)}
_OF_A_HOST = {_SCHEMA + table.name for table in (SYSTEM_STATES, SYSTEMS)}

# Those first because of which a system can look better than it is.
_EFFECTS = {
    _SCHEMA + COMMITS.name: "Its systems may be behind, even where they are shown as up_to_date.",
    _SCHEMA + SYSTEM_STATES.name: "It may run something else than what is shown.",
    _SCHEMA + SYSTEMS.name: "It is shown as unknown.",
    _SCHEMA + FLAKES.name: "Its systems are shown as unknown.",
    _SCHEMA + DERIVATIONS.name: (
        "Systems that run one of them are shown as unknown or on another commit, and commits built "
        "as one of them as not built."
    ),
}
_EFFECTS_ON_NOBODY_KNOWN = {
    _SCHEMA + COMMITS.name: (
        "Systems of the flake may be behind, even where they are shown as up_to_date."
    ),
    _SCHEMA + SYSTEM_STATES.name: "Who reported so is not shown, or shown as before.",
    _SCHEMA + SYSTEMS.name: "The system is not shown, or as one that is not registered.",
    _SCHEMA + FLAKES.name: "Systems of the flake are shown without its name.",
}
_EFFECT_OF_OTHERS = "What they would tell counts as not recorded."


@dataclass(frozen=True)
class UnusableRows:
    """The rows of one source table that can't be used and are about the same flake or host.

    Attributes:
        source_table: as `schema.table`.
        rows: how many there are.
        hostname: whom those of `systems` and `system_states` are about; None where unreadable.
        flake_id: what those of `commits` and `flakes` are about; None where unreadable.
        flake_name: of that flake, where it is known.
    """

    source_table: str
    rows: int
    hostname: str | None = None
    flake_id: int | None = None
    flake_name: str | None = None

    @property
    def effect(self) -> str:
        """What is uncertain because of them, in a sentence."""
        is_about_nobody = self.hostname is None and self.flake_id is None
        if is_about_nobody and self.source_table in _EFFECTS_ON_NOBODY_KNOWN:
            return _EFFECTS_ON_NOBODY_KNOWN[self.source_table]
        return _EFFECTS.get(self.source_table, _EFFECT_OF_OTHERS)

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'} of {self.source_table}"
        return f"{rows}{self._whom()} can't be used. {self.effect}"

    def _whom(self) -> str:
        if self.source_table in _OF_A_FLAKE:
            if self.flake_id is None:
                return " of an unknown flake"
            name = self.flake_name
            return f" of flake {self.flake_id if name is None else _shown(name)}"
        if self.source_table in _OF_A_HOST:
            host = "an unknown host" if self.hostname is None else f"host {_shown(self.hostname)}"
            return f" of {host}"
        return ""


def unusable_rows(quarantine: pa.Table, names: Mapping[int, str]) -> tuple[UnusableRows, ...]:
    """Sums up the quarantine by whom its rows are about.

    Args:
        quarantine: `WHOM_ROWS_ARE_ABOUT` of `assets.schemas.QUARANTINE`.
        names: of flakes, by id, those that are known.

    Returns:
        Those because of which a system can look better than it is first, then by number of rows.
    """
    counts: Counter[tuple[str, str | None, int | None]] = Counter()
    columns = [quarantine[column].to_pylist() for column in WHOM_ROWS_ARE_ABOUT]
    for table, hostname, flake_id in zip(*columns, strict=True):
        counts[
            table,
            hostname if table in _OF_A_HOST else None,
            flake_id if table in _OF_A_FLAKE else None,
        ] += 1
    found = [
        UnusableRows(
            table, rows, hostname, flake_id, None if flake_id is None else names.get(flake_id)
        )
        for (table, hostname, flake_id), rows in counts.items()
    ]
    return tuple(sorted(found, key=_urgency))


def _urgency(each: UnusableRows) -> tuple[int, str, int, str, int]:
    order = [*_EFFECTS]
    place = order.index(each.source_table) if each.source_table in order else len(order)
    return place, each.source_table, -each.rows, each.hostname or "", each.flake_id or 0


def flake_names(flakes: pa.Table) -> dict[int, str]:
    """The names of flakes, by id, from rows of `assets.schemas.source.FLAKES`."""
    return dict(zip(flakes["id"].to_pylist(), flakes["name"].to_pylist(), strict=True))


def in_sentences(unusable: Sequence[UnusableRows], longest: int) -> list[str]:
    """Each in words; of more than can be read the first, and how many there are besides."""
    told = [str(each) for each in unusable[:longest]]
    if len(unusable) > longest:
        told.append(
            f"And {len(unusable) - longest:,} more flakes or hosts: the quarantine dataset has "
            "every row, with its reason."
        )
    return told


def _shown(name: str) -> str:
    return display_name(name, LONGEST_LABEL)
