"""Is a table what its dataset says? Nothing else is published.

Belongs here: turning computed rows into Arrow, and what can be wrong with them. Does not belong
here: whether they may replace what is published (`replacement`); files, locks, Dagster.
"""

import datetime as dt
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.publishing.display import display_name, display_sentence
from assets.schemas.dictionary import DATE, INSTANT, INTEGER, NUMBER, TEXT, Column, Dataset

_KINDS_OF_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class UnpublishableDataError(ValueError):
    """A table is not what its dataset says.

    Attributes:
        problems: one sentence each, beginning with dataset.column.
    """

    def __init__(self, dataset: Dataset, problems: Sequence[str]) -> None:
        super().__init__(f"{dataset.name} can't be published. " + " ".join(problems))
        self.problems = tuple(problems)


def to_arrow(dataset: Dataset, frame: pd.DataFrame) -> pa.Table:
    """Turns computed rows into a table of exactly the dataset's schema.

    Nothing is guessed: a number is not parsed from text, an integer never passes through float, an
    instant has a time zone. Missing values of any kind become null.

    Args:
        dataset: what the rows are.
        frame: the rows, in file order; the columns in any order.

    Raises:
        UnpublishableDataError: names each dataset.column that is missing, not expected, of another
            type, null or outside its closed set of values, and a key that is not unique.
    """
    names = list(frame.columns)
    problems = _wrong_columns(dataset, names)
    arrays = {}
    for column in dataset.columns:
        if names.count(column.name) == 1:
            try:
                arrays[column.name] = _to_array(column, frame[column.name])
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                problems.append(f"{dataset.name}.{column.name}: {display_sentence(str(error))}.")
    if problems:
        raise UnpublishableDataError(dataset, problems)
    table = pa.table([arrays[name] for name in dataset.column_names], schema=dataset.arrow_schema)
    validate(dataset, table)
    return table


def validate(dataset: Dataset, table: pa.Table) -> None:
    """Checks that a table is what its dataset says.

    Raises:
        UnpublishableDataError: see `find_problems`.
    """
    problems = find_problems(dataset, table)
    if problems:
        raise UnpublishableDataError(dataset, problems)


def find_problems(dataset: Dataset, table: pa.Table, *, in_part: bool = False) -> list[str]:
    """Says what is wrong with a table: columns, types, nulls, closed sets of values, NaN, the key.

    Args:
        dataset: what the rows are.
        table: the rows.
        in_part: these are only some of the rows, so that the key is not looked at.

    Returns:
        A sentence each, beginning with dataset.column, with the number of rows and the first of
        them; empty where the table is what the dataset says.
    """
    problems = _wrong_columns(dataset, table.column_names)
    if not problems:
        problems = _wrong_types(dataset, table.schema)
    if problems:
        return problems
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        return [f"{dataset.name}: {display_sentence(str(error))}."]
    for column in dataset.columns:
        problems.extend(_wrong_values(dataset, table, column))
    if not in_part:
        problems.extend(_repeated_keys(dataset, table))
    return problems


def find_wrong_stamps(
    dataset: Dataset,
    table: pa.Table,
    date: dt.date,
    snapshot_at: dt.datetime,
    extracted_at: dt.datetime,
) -> list[str]:
    """Says which rows carry another day, instant or reading than the partition they go to."""
    stamps = {
        "snapshot_date": pa.scalar(date, DATE),
        "snapshot_at": pa.scalar(snapshot_at, INSTANT),
        "extracted_at": pa.scalar(extracted_at, INSTANT),
    }
    problems = []
    for name, stamp in stamps.items():
        if name in dataset.column_names:
            problems.extend(
                _rows_at_fault(
                    dataset,
                    table,
                    pc.not_equal(table[name], stamp),
                    f"{dataset.name}.{name}: not {stamp}, that of the partition,",
                )
            )
    return problems


def _to_array(column: Column, values: pd.Series) -> pa.Array:
    array = pa.Array.from_pandas(values)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not _holds(column.type, array.type):
        raise TypeError(f"{array.type} (pandas {values.dtype}) instead of {column.type}")
    return array.cast(column.type)


def _holds(wanted: pa.DataType, given: pa.DataType) -> bool:
    """Whether values of one type can be another without reading anything into them."""
    if pa.types.is_null(given) or given == wanted:
        return True
    if wanted == TEXT:
        kind = given.value_type if pa.types.is_dictionary(given) else given
        return any(is_text(kind) for is_text in _KINDS_OF_TEXT)
    if wanted == INTEGER:
        return bool(pa.types.is_integer(given))
    if wanted == NUMBER:
        return bool(pa.types.is_floating(given))
    return bool(wanted == INSTANT and pa.types.is_timestamp(given) and given.tz is not None)


def _wrong_columns(dataset: Dataset, names: Sequence[str]) -> list[str]:
    expected = dataset.column_names
    missing = [f"{dataset.name}.{name}: missing." for name in expected if name not in names]
    strange = [
        f"{dataset.name}.{name}: not a column of it." for name in names if name not in expected
    ]
    twice = [f"{dataset.name}.{name}: there twice." for name in expected if names.count(name) > 1]
    return missing + strange + twice


def _wrong_types(dataset: Dataset, schema: pa.Schema) -> list[str]:
    wrong = [
        f"{dataset.name}.{column.name}: {schema.field(column.name)} instead of "
        f"{column.arrow_field()}."
        for column in dataset.columns
        if not schema.field(column.name).equals(column.arrow_field())
    ]
    if not wrong and tuple(schema.names) != dataset.column_names:
        wrong = [f"{dataset.name}: the columns are not in its order."]
    return wrong


def _wrong_values(dataset: Dataset, table: pa.Table, column: Column) -> list[str]:
    values = table[column.name]
    problems = []
    if not column.nullable and values.null_count:
        problems += _rows_at_fault(
            dataset, table, pc.is_null(values), f"{dataset.name}.{column.name}: null"
        )
    if column.allowed is not None:
        allowed = pa.array(column.allowed, TEXT)
        wrong = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=allowed)))
        shown = display_name(str(pc.first(values.filter(wrong)).as_py()))
        problems += _rows_at_fault(
            dataset,
            table,
            wrong,
            f"{dataset.name}.{column.name}: '{shown}', which is none of "
            f"{', '.join(column.allowed)},",
        )
    if column.type == NUMBER:
        # Readers disagree on how NaN compares and aggregates; absence is null.
        problems += _rows_at_fault(
            dataset, table, pc.is_nan(values), f"{dataset.name}.{column.name}: NaN"
        )
    return problems


def _repeated_keys(dataset: Dataset, table: pa.Table) -> list[str]:
    key = list(dataset.key)
    counts = table.select(key).group_by(key).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if not repeated.num_rows:
        return []
    first = repeated.sort_by([(name, "ascending") for name in key])
    occur = "1 key occurs" if repeated.num_rows == 1 else f"{repeated.num_rows} keys occur"
    return [
        f"{dataset.name}.{'+'.join(key)}: {occur} more than once, the first "
        f"{key_of(dataset, first, 0)}, {first['count_all'][0].as_py()} times."
    ]


def _rows_at_fault(
    dataset: Dataset, table: pa.Table, fault: pa.ChunkedArray, what: str
) -> list[str]:
    count = pc.sum(fault).as_py() or 0
    if not count:
        return []
    first = pc.index(fault, True).as_py()
    return [f"{what} in {rows_in_words(count)}, the first {key_of(dataset, table, first)}."]


def rows_in_words(count: int) -> str:
    """So many rows, for a message."""
    return "1 row" if count == 1 else f"{count} rows"


def key_of(dataset: Dataset, table: pa.Table, row: int) -> str:
    """The key of one row, for a message."""
    return ", ".join(
        f"{name}={display_name(str(table[name][row].as_py()))}" for name in dataset.key
    )
