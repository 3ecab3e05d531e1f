"""What a column and a dataset are: the words in which the data dictionary is written.

Belongs here: the vocabulary (`Column`, `Dataset`, the types) and what follows from it alone, such
as the Arrow schema. Does not belong here: any particular dataset.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

TEXT = pa.string()
INTEGER = pa.int64()
NUMBER = pa.float64()
BOOLEAN = pa.bool_()
DATE = pa.date32()
INSTANT = pa.timestamp("us", tz="UTC")

_SQL_TYPES = {
    TEXT: "text",
    INTEGER: "bigint",
    NUMBER: "double precision",
    BOOLEAN: "boolean",
    DATE: "date",
    INSTANT: "timestamp with time zone",
}


@dataclass(frozen=True)
class Column:
    """One column of a dataset.

    Attributes:
        name: as it stands in the file, the table and the data dictionary.
        type: the Arrow type, one of the constants of this module.
        description: one sentence for the data dictionary and the UI.
        nullable: whether null can occur; the description says when.
        unit: of a quantity ("commits", "hours", "seconds", ...), else None.
        allowed: the closed set of values, else None.
        derived_from: upstream columns as "asset.column", for the lineage.
        repeated: few distinct values, so that a Parquet dictionary pays.
    """

    name: str
    type: pa.DataType
    description: str
    nullable: bool = False
    unit: str | None = None
    allowed: tuple[str, ...] | None = None
    derived_from: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def sql_type(self) -> str:
        """The PostgreSQL type that holds every value of the column."""
        return _SQL_TYPES[self.type]

    def arrow_field(self) -> pa.Field:
        """The Arrow field, with description and unit in its metadata."""
        metadata = {"description": self.description}
        if self.unit is not None:
            metadata["unit"] = self.unit
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=metadata)


@dataclass(frozen=True)
class Dataset:
    """One data product: its grain, key and columns.

    Attributes:
        name: of the asset, the folder and the view.
        grain: what one row is ("one row a hostname").
        description: one sentence for the data dictionary and the UI.
        key: the columns that identify a row within one partition.
        columns: in file order.
        order_by: how the rows of a file are ordered, in words.
        record_counts: columns that count or measure records of the source, so that they fall in a
            row of a closed day only where the source has forgotten some.
        known_at_first: measures of what can only be read right after `snapshot_at`: a later reading
            has null in their place.
    """

    name: str
    grain: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    order_by: str
    record_counts: tuple[str, ...] = ()
    known_at_first: tuple[str, ...] = ()

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The exact schema of a published file; file-level metadata names dataset and grain."""
        return pa.schema(
            [column.arrow_field() for column in self.columns],
            metadata={
                "dataset": self.name,
                "description": self.description,
                "grain": self.grain,
                "key": ",".join(self.key),
            },
        )

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in file order."""
        return tuple(column.name for column in self.columns)

    @property
    def repeated_columns(self) -> list[str]:
        """The names of the columns that a Parquet dictionary should encode."""
        return [column.name for column in self.columns if column.repeated]

    @property
    def evidence_columns(self) -> list[str]:
        """The nullable columns that hold what was recorded, not a measure or a reason.

        These are identifiers, text and instants outside a closed set of values, and the measures
        that are `known_at_first`. Where one of them has turned null for the same row and the same
        instant, the source has lost the record.
        """
        return [
            column.name
            for column in self.columns
            if column.name in self.known_at_first
            or (
                column.nullable
                and column.allowed is None
                and (column.type == INSTANT or (column.type in (TEXT, INTEGER) and not column.unit))
            )
        ]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def taken_from(asset: str, columns: Iterable[Column]) -> tuple[Column, ...]:
    """Columns of an upstream asset, for a dataset that passes their values on as they are."""
    return tuple(replace(column, derived_from=(f"{asset}.{column.name}",)) for column in columns)


def text(
    name: str,
    description: str,
    *,
    nullable: bool = False,
    allowed: tuple[str, ...] | None = None,
    repeated: bool = False,
    derived_from: Iterable[str] = (),
) -> Column:
    """A column of text."""
    return Column(
        name,
        TEXT,
        description,
        nullable,
        allowed=allowed,
        repeated=repeated or allowed is not None,
        derived_from=tuple(derived_from),
    )


def identifier(
    name: str, description: str, *, nullable: bool = False, derived_from: Iterable[str] = ()
) -> Column:
    """A column that holds a row's integer key in the fleet database."""
    return Column(name, INTEGER, description, nullable, derived_from=tuple(derived_from))


def instant(
    name: str, description: str, *, nullable: bool = False, derived_from: Iterable[str] = ()
) -> Column:
    """A column of instants, in UTC with microseconds."""
    return Column(name, INSTANT, description, nullable, "UTC", derived_from=tuple(derived_from))


def count(
    name: str,
    unit: str,
    description: str,
    *,
    nullable: bool = False,
    derived_from: Iterable[str] = (),
) -> Column:
    """A column that counts whole things of one unit."""
    return Column(name, INTEGER, description, nullable, unit, derived_from=tuple(derived_from))


def number(
    name: str,
    unit: str,
    description: str,
    *,
    nullable: bool = False,
    derived_from: Iterable[str] = (),
) -> Column:
    """A column that measures a quantity in one unit."""
    return Column(name, NUMBER, description, nullable, unit, derived_from=tuple(derived_from))


def flag(
    name: str, description: str, *, nullable: bool = False, derived_from: Iterable[str] = ()
) -> Column:
    """A column of yes or no."""
    return Column(name, BOOLEAN, description, nullable, derived_from=tuple(derived_from))
