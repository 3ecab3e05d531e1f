"""May a version of a partition replace the one that is published?

Belongs here: plain decisions over tables. Does not belong here: files, locks, Dagster.
"""

import datetime as dt
from dataclasses import dataclass
from enum import Enum

import pyarrow as pa
import pyarrow.compute as pc

from assets.compute.vocabulary import NOT_RECORDED
from assets.publishing.conformity import key_of, rows_in_words
from assets.schemas.dictionary import TEXT, Column, Dataset

EXTRACTED_AT = "extracted_at"
"""The column that alone may differ between two readings of the same facts."""


class Outcome(Enum):
    """What became of a partition that was to be published."""

    PUBLISHED = "published"
    KEPT_UNCHANGED = "kept, nothing has changed"
    KEPT_NEWER = "kept, from a newer extract"
    KEPT_RICHER = "kept, was closed with more"


@dataclass(frozen=True)
class Decision:
    """Whether to publish, and why.

    Attributes:
        outcome: what is to become of the partition.
        reason: the same for a person, with the particulars.
    """

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Version:
    """One version of a partition.

    Attributes:
        table: the rows, at the dataset's grain.
        snapshot_at: the instant T that they describe.
        extracted_at: when the source was read; of a published version, the newest reading that
            gave these rows.
    """

    table: pa.Table
    snapshot_at: dt.datetime
    extracted_at: dt.datetime


def decide_publication(dataset: Dataset, published: Version | None, candidate: Version) -> Decision:
    """Decides whether a version may replace the published one.

    1. Nothing is published yet: publish.
    2. The candidate is from an older extract, or describes an earlier instant: keep.
    3. Same instant, and the same rows but for `extracted_at`: keep, so that a day that is run again
       keeps its bytes.
    4. Same instant (the day was closed), and the candidate has less than was published, as
       `find_loss` says: keep.
    5. Otherwise publish. Today's partition moves on this way: each instant replaces the one before.
    """
    if published is None:
        return Decision(Outcome.PUBLISHED, "Nothing was published for this day yet.")
    later = _how_later(published, candidate)
    if later is not None:
        return Decision(Outcome.KEPT_NEWER, f"What is published {later}.")
    if candidate.snapshot_at > published.snapshot_at:
        return Decision(Outcome.PUBLISHED, "A later instant replaces an earlier one.")
    if _same_facts(published.table, candidate.table):
        return Decision(Outcome.KEPT_UNCHANGED, "This run gives the same rows.")
    loss = find_loss(dataset, published.table, candidate.table)
    if loss is None:
        return Decision(Outcome.PUBLISHED, "This run gives other rows for the same instant.")
    return Decision(
        Outcome.KEPT_RICHER,
        f"This run has less than was published when the day was closed: {loss}. To publish it all "
        "the same, delete the published file and run the day again.",
    )


def find_loss(dataset: Dataset, published: pa.Table, candidate: pa.Table) -> str | None:
    """Says what of a closed day a candidate for the same instant has lost.

    The source keeps no history of registrations and may forget old records, so a day computed long
    afterwards can know less than when it was closed. A candidate has less when

    - a row is gone: a key that was published is not in it; or
    - a record is gone: one of `Dataset.evidence_columns` that had a value is null in the row of the
      same key; or
    - what was known then is not known any more: one of `Dataset.known_at_reading` that had a value
      is null or `not_recorded` in the row of the same key; or
    - records are gone: one of `Dataset.record_counts` is lower in the row of the same key.

    Rows, values and counts may be added, and values may change. Columns that only one of the two
    versions has are not compared; where the key itself had another type, nothing is.

    Returns:
        What is lost, in words, or None.
    """
    key = list(dataset.key)
    if any(_type_of(published, name) != dataset[name].type for name in key):
        return None
    evidence = [
        name
        for name in dict.fromkeys((*dataset.evidence_columns, *dataset.known_at_reading))
        if name in published.column_names
    ]
    counts = [name for name in dataset.record_counts if name in published.column_names]
    then = _keyed(dataset, published)
    now = _keyed(dataset, candidate)
    joined_by = then.column_names
    now = now.append_column("is_there", pa.repeat(True, candidate.num_rows))
    for name in evidence:
        then = then.append_column(f"{name} then", _is_known(published[name], dataset[name]))
        now = now.append_column(f"{name} now", _is_known(candidate[name], dataset[name]))
    for name in counts:
        then = then.append_column(f"{name} then", published[name])
        now = now.append_column(f"{name} now", candidate[name])
    rows = then.join(now, joined_by, join_type="left outer")
    losses = (
        {"the row is gone": pc.is_null(rows["is_there"])}
        | {
            f"{name} is gone": pc.and_not(rows[f"{name} then"], rows[f"{name} now"])
            for name in evidence
        }
        | {
            f"{name} is lower": pc.less(rows[f"{name} now"], rows[f"{name} then"])
            for name in counts
        }
    )
    for what, is_lost in losses.items():
        lost = rows.filter(is_lost)
        if lost.num_rows:
            first = key_of(dataset, lost.sort_by([(name, "ascending") for name in key]), 0)
            return f"{what} in {rows_in_words(lost.num_rows)}, the first {first}"
    return None


def _is_known(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    if NOT_RECORDED not in (column.allowed or ()):
        return pc.is_valid(values)
    return pc.fill_null(pc.not_equal(values, NOT_RECORDED), fill_value=False)


def _keyed(dataset: Dataset, table: pa.Table) -> pa.Table:
    """The key columns; beside one that can be null, whether it is, as a join takes no null."""
    keyed = table.select(dataset.key)
    for place, name in enumerate(dataset.key):
        if dataset[name].nullable:
            column = dataset[name]
            filler = pa.scalar("" if column.type == TEXT else 0, column.type)
            keyed = keyed.append_column(f"{name} is null", pc.is_null(table[name]))
            keyed = keyed.set_column(place, name, pc.fill_null(table[name], filler))
    return keyed


def _type_of(table: pa.Table, column: str) -> pa.DataType | None:
    return table.schema.field(column).type if column in table.column_names else None


def _how_later(published: Version, candidate: Version) -> str | None:
    """How what is published is later than the candidate, in words; None where it is not."""
    for did, then, now in (
        ("was read at", published.extracted_at, candidate.extracted_at),
        ("stands for", published.snapshot_at, candidate.snapshot_at),
    ):
        if now < then:
            return f"{did} {then:%Y-%m-%d %H:%M:%S} UTC, this run's {now:%Y-%m-%d %H:%M:%S}"
    return None


def _same_facts(published: pa.Table, candidate: pa.Table) -> bool:
    if not published.schema.equals(candidate.schema):
        return False
    facts = [name for name in candidate.column_names if name != EXTRACTED_AT]
    return bool(published.select(facts).equals(candidate.select(facts)))
