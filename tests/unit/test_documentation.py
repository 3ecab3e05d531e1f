"""The README says what the code says."""

import re
from pathlib import Path

import pytest

from assets.schemas import PUBLISHED_DATASETS
from pipelines.documentation import renewed

README = Path(__file__).parents[2] / "README.md"


def test_the_derived_sections_of_the_readme_are_current() -> None:
    readme = README.read_text()
    assert renewed(readme) == readme, "run `make docs`"


def test_every_column_is_in_the_data_dictionary() -> None:
    readme = README.read_text()
    for dataset in PUBLISHED_DATASETS:
        assert f"### {dataset.name}" in readme
        for column in dataset.columns:
            assert f"| `{column.name}` |" in readme


def test_a_readme_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="data dictionary: begin"):
        renewed("# flakelag")


def test_the_targets_that_the_readme_names_exist() -> None:
    makefile = README.with_name("Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README.read_text())) - {"docs"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text()):
        assert (README.parent / target).exists(), target
