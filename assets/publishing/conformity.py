"""Is a table what its dataset says? Nothing else is published.

Belongs here: turning computed rows into Arrow, and what can be wrong with them. Does not belong
here: whether they may replace what is published (`replacement`); files, locks, Dagster.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.publishing.display import display_name, display_sentence
from assets.schemas.dictionary import DATE, INSTANT, INTEGER, NUMBER, TEXT, Column, Dataset

_KINDS_OF_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class Rule(Enum):
    """What a table has to be like."""

    COLUMNS = auto()
    """Exactly the dataset's columns, with their types; the other rules presuppose it."""
    VALUES = auto()
    """No null where none may be, no NaN, no undecodable text."""
    CLOSED_SET = auto()
    """Only the values that a column allows."""
    KEY = auto()
    """No two rows with the same key."""
    PARTITION = auto()
    """Only rows of the day, instant and reading of the partition."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a table.

    Attributes:
        rule: that is broken.
        text: a sentence that begins with dataset.column, with the number of rows and the first.
    """

    rule: Rule
    text: str


class UnpublishableDataError(ValueError):
    """A table is not what its dataset says.

    Attributes:
        problems: all that was found.
    """

    def __init__(self, dataset: Dataset, problems: Sequence[Problem]) -> None:
        told = " ".join(problem.text for problem in problems)
        super().__init__(f"{dataset.name} can't be published. {told}")
        self.problems = tuple(problems)


def to_arrow(dataset: Dataset, frame: pd.DataFrame) -> pa.Table:
    """Turns computed rows into a table of exactly the dataset's columns and types.

    Nothing is guessed: a number is not parsed from text, an integer never passes through float, an
    instant has a time zone. Missing values of any kind become null. What the values are is judged
    where the table is put in place, by `find_problems`.

    Args:
        dataset: what the rows are.
        frame: the rows, in file order; the columns in any order.

    Raises:
        UnpublishableDataError: names each dataset.column that is missing, not expected, of another
            type or not to be converted.
    """
    names = list(frame.columns)
    problems = _wrong_columns(dataset, names)
    arrays = {}
    for column in dataset.columns:
        if names.count(column.name) == 1:
            try:
                arrays[column.name] = _to_array(column, frame[column.name])
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                text = f"{dataset.name}.{column.name}: {display_sentence(str(error))}."
                problems.append(Problem(Rule.COLUMNS, text))
    if problems:
        raise UnpublishableDataError(dataset, problems)
    return pa.table([arrays[name] for name in dataset.column_names], schema=dataset.arrow_schema)


def find_problems(dataset: Dataset, table: pa.Table, *, in_part: bool = False) -> list[Problem]:
    """Says what is wrong with a table: columns, types, nulls, closed sets of values, NaN, the key.

    Args:
        dataset: what the rows are.
        table: the rows.
        in_part: these are only some of the rows, so that the key is not looked at.

    Returns:
        All problems; none where the table is what the dataset says.
    """
    problems = _wrong_columns(dataset, table.column_names)
    if not problems:
        problems = _wrong_types(dataset, table.schema)
    if problems:
        return problems
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        return [Problem(Rule.VALUES, f"{dataset.name}: {display_sentence(str(error))}.")]
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
) -> list[Problem]:
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
                    Rule.PARTITION,
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


def _wrong_columns(dataset: Dataset, names: Sequence[str]) -> list[Problem]:
    expected = dataset.column_names
    missing = [f"{dataset.name}.{name}: missing." for name in expected if name not in names]
    strange = [
        f"{dataset.name}.{name}: not a column of it." for name in names if name not in expected
    ]
    twice = [f"{dataset.name}.{name}: there twice." for name in expected if names.count(name) > 1]
    return [Problem(Rule.COLUMNS, text) for text in missing + strange + twice]


def _wrong_types(dataset: Dataset, schema: pa.Schema) -> list[Problem]:
    wrong = [
        f"{dataset.name}.{column.name}: {schema.field(column.name)} instead of "
        f"{column.arrow_field()}."
        for column in dataset.columns
        if not schema.field(column.name).equals(column.arrow_field())
    ]
    if not wrong and tuple(schema.names) != dataset.column_names:
        wrong = [f"{dataset.name}: the columns are not in its order."]
    return [Problem(Rule.COLUMNS, text) for text in wrong]


def _wrong_values(dataset: Dataset, table: pa.Table, column: Column) -> list[Problem]:
    values = table[column.name]
    problems = []
    if not column.nullable:
        null = f"{dataset.name}.{column.name}: null"
        problems += _rows_at_fault(Rule.VALUES, dataset, table, pc.is_null(values), null)
    if column.allowed is not None:
        allowed = pa.array(column.allowed, TEXT)
        wrong = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=allowed)))
        shown = display_name(str(pc.first(values.filter(wrong)).as_py()))
        problems += _rows_at_fault(
            Rule.CLOSED_SET,
            dataset,
            table,
            wrong,
            f"{dataset.name}.{column.name}: '{shown}', which is none of "
            f"{', '.join(column.allowed)},",
        )
    if column.type == NUMBER:
        # Readers disagree on how NaN compares and aggregates; absence is null.
        nan = f"{dataset.name}.{column.name}: NaN"
        problems += _rows_at_fault(Rule.VALUES, dataset, table, pc.is_nan(values), nan)
    return problems


def _repeated_keys(dataset: Dataset, table: pa.Table) -> list[Problem]:
    key = list(dataset.key)
    counts = table.select(key).group_by(key).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if not repeated.num_rows:
        return []
    first = repeated.sort_by([(name, "ascending") for name in key])
    occur = "1 key occurs" if repeated.num_rows == 1 else f"{repeated.num_rows} keys occur"
    text = (
        f"{dataset.name}.{'+'.join(key)}: {occur} more than once, the first "
        f"{key_of(dataset, first, 0)}, {first['count_all'][0].as_py()} times."
    )
    return [Problem(Rule.KEY, text)]


def _rows_at_fault(
    rule: Rule, dataset: Dataset, table: pa.Table, fault: pa.ChunkedArray, what: str
) -> list[Problem]:
    # Null where there is no row.
    count = pc.sum(fault).as_py()
    if not count:
        return []
    first = pc.index(fault, True).as_py()
    text = f"{what} in {rows_in_words(count)}, the first {key_of(dataset, table, first)}."
    return [Problem(rule, text)]


def rows_in_words(count: int) -> str:
    """So many rows, for a message."""
    return "1 row" if count == 1 else f"{count} rows"


def key_of(dataset: Dataset, table: pa.Table, row: int) -> str:
    """The key of one row, for a message."""
    return ", ".join(
        f"{name}={display_name(str(table[name][row].as_py()))}" for name in dataset.key
    )
