"""The pages that are derived from the code: the data dictionary, and the settings of the operator.

`make docs` renews them in place; a test fails when they are not current.

Belongs here: turning the dictionary of columns and the settings into Markdown. Does not belong
here: what a person writes, which these pages keep between their markers.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from assets.schemas import PUBLISHED_DATASETS, Dataset
from pipelines.settings import Settings

DICTIONARY_PAGE = Path("docs/data-dictionary.md")
SETTINGS_PAGE = Path("docs/operations.md")

_BEGIN, _END = "<!-- settings: begin (make docs) -->", "<!-- settings: end -->"

_DICTIONARY_HEAD = """\
# Data dictionary

<!-- Made by `make docs` from assets/schemas: change a column there. -->

Every published dataset with its columns, in the order of the file. The same types, units and
descriptions are in the Parquet files themselves (as metadata of each field), in the comments of the
history database's tables and in Dagster's UI. What the words mean, and how the columns hang
together, is in [definitions.md](definitions.md).

`null: no` means that the column never holds null. Instants are UTC with microseconds.
"""


def derived_pages(folder: Path) -> dict[Path, str]:
    """What the derived pages should be, by their path below the project's folder.

    Raises:
        ValueError: a page lacks the markers between which its derived part stands.
    """
    settings_page = (folder / SETTINGS_PAGE).read_text("utf-8")
    return {DICTIONARY_PAGE: data_dictionary(), SETTINGS_PAGE: with_settings(settings_page)}


def data_dictionary() -> str:
    """Every dataset with its columns, as a page of Markdown."""
    contents = "\n".join(
        f"- [{dataset.name}](#{dataset.name}): {dataset.grain}" for dataset in PUBLISHED_DATASETS
    )
    return "\n".join([_DICTIONARY_HEAD, contents, "", *map(_section, PUBLISHED_DATASETS)])


def settings_table() -> str:
    """Every variable with its default, as a Markdown table."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def with_settings(page: str) -> str:
    """The page with the table of the settings made anew.

    Raises:
        ValueError: the markers of the table are missing.
    """
    before, found_begin, rest = page.partition(_BEGIN)
    _, found_end, after = rest.partition(_END)
    if not (found_begin and found_end):
        raise ValueError(f"{SETTINGS_PAGE} lacks the lines {_BEGIN!r} and {_END!r}.")
    return f"{before}{_BEGIN}\n{settings_table()}\n{_END}{after}"


def _section(dataset: Dataset) -> str:
    return "\n".join([f"## {dataset.name}", "", _introduction(dataset), "", *_table(dataset), ""])


def _introduction(dataset: Dataset) -> str:
    grain = dataset.grain[0].upper() + dataset.grain[1:]
    key = ", ".join(f"`{name}`" for name in dataset.key)
    return f"{dataset.description} {grain}; key: {key}; ordered by {dataset.order_by}."


def _table(dataset: Dataset) -> Iterator[str]:
    yield "| column | type | null | unit | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for column in dataset.columns:
        values = "" if column.allowed is None else f" One of: {', '.join(column.allowed)}."
        meaning = (column.description + values).replace("|", "\\|")
        yield (
            f"| `{column.name}` | {column.type} | {'yes' if column.nullable else 'no'} "
            f"| {column.unit or ''} | {meaning} |"
        )


def main() -> None:
    """Renews the pages below the working folder, or below the one that is named."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for path, text in derived_pages(folder).items():
        (folder / path).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
