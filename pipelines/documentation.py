"""The parts of the README that are derived from the code: the data dictionary and the settings.

`make docs` renews them in place; a test fails when they are not current.
"""

import sys
from pathlib import Path

from assets.schemas import PUBLISHED_DATASETS, Dataset
from pipelines.settings import Settings


def data_dictionary() -> str:
    """Every dataset with its columns, as Markdown."""
    return "\n".join(_describe(dataset) for dataset in PUBLISHED_DATASETS).rstrip()


def settings_table() -> str:
    """Every variable with its default, as a Markdown table."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def _describe(dataset: Dataset) -> str:
    lines = [
        f"### {dataset.name}",
        "",
        f"{dataset.description} {dataset.grain.capitalize()}; key: "
        f"{', '.join(f'`{name}`' for name in dataset.key)}; ordered by {dataset.order_by}.",
        "",
        "| column | type | null | unit | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for column in dataset.columns:
        values = "" if column.allowed is None else f" One of: {', '.join(column.allowed)}."
        lines.append(
            f"| `{column.name}` | {column.type} | {'yes' if column.nullable else 'no'} "
            f"| {column.unit or ''} | {_in_cell(column.description + values)} |"
        )
    return "\n".join(lines) + "\n"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


SECTIONS = {"data dictionary": data_dictionary, "settings": settings_table}


def renewed(readme: str) -> str:
    """The README with every derived section made anew.

    Raises:
        ValueError: the markers of a section are missing.
    """
    for name, render in SECTIONS.items():
        begin, end = f"<!-- {name}: begin (make docs) -->", f"<!-- {name}: end -->"
        before, found_begin, rest = readme.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"README.md lacks the lines {begin!r} and {end!r}.")
        readme = f"{before}{begin}\n{render()}\n{end}{after}"
    return readme


def main() -> None:
    """Renews README.md, or the file that is named."""
    readme = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    readme.write_text(renewed(readme.read_text()))


if __name__ == "__main__":
    main()
