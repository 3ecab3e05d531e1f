"""`docs/recipes.md`: every block runs, and SQL and Python give the same answer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import polars as pl
import pytest

from assets.publishing.layout import ANALYSTS_FILE
from tests.integration.pipeline import Pipeline
from tests.markdown import Block, blocks, run_as_notebook

PAGE = blocks("recipes.md")
RECIPES = sorted({block.heading for block in PAGE if block.language == "sql"})
USE_CASES = (
    "Update planning",
    "Deployment tracking",
    "Security assessment",
    "Infrastructure auditing",
    "Release management",
)


class Answer(NamedTuple):
    columns: list[str]
    rows: list[tuple[Any, ...]]


class Reader:
    """Somebody who goes through the page from the top, as in a notebook."""

    def __init__(self, fleet: duckdb.DuckDBPyConnection) -> None:
        self.fleet = fleet
        self.names: dict[str, Any] = {}

    def run(self, block: Block) -> Answer | None:
        """Runs a block; a notebook shows the value of its last expression."""
        if block.language == "sql":
            result = self.fleet.execute(block.text)
            return Answer([name for name, *_ in result.description or []], result.fetchall())
        if block.language == "python":
            return self._run_python(block.text)
        return None

    def _run_python(self, text: str) -> Answer | None:
        shown = run_as_notebook(text, self.names)
        if shown is None:
            return None
        if isinstance(shown, pd.DataFrame):
            values = shown.astype(object).where(shown.notna(), None)
            return Answer(list(shown.columns), list(values.itertuples(index=False, name=None)))
        if isinstance(shown, duckdb.DuckDBPyRelation):
            return Answer(shown.columns, shown.fetchall())
        assert isinstance(shown, pl.DataFrame)
        return Answer(shown.columns, shown.rows())


@pytest.fixture(scope="module")
def answers(published: Pipeline) -> Iterator[dict[tuple[str, str], Answer]]:
    """What the reader saw, by heading and language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(published.reports_dir.parent)
        with duckdb.connect(f"reports/{ANALYSTS_FILE}", read_only=True) as fleet:
            reader = Reader(fleet)
            seen = {}
            for block in PAGE:
                answer = reader.run(block)
                if answer is not None:
                    seen[block.heading, block.language] = answer
            yield seen


def test_each_of_the_documents_use_cases_has_a_recipe() -> None:
    assert {heading.partition(":")[0] for heading in RECIPES} == set(USE_CASES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_sql_and_python_give_the_same_rows(
    answers: dict[tuple[str, str], Answer], recipe: str
) -> None:
    in_sql, in_python = answers[recipe, "sql"], answers[recipe, "python"]
    assert in_sql.columns == in_python.columns
    assert len(in_sql.rows) == len(in_python.rows) > 0
    for expected, found in zip(in_sql.rows, in_python.rows, strict=True):
        assert found == tuple(
            pytest.approx(value) if isinstance(value, float) else value for value in expected
        )


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_answer_that_is_shown_has_the_columns_of_the_answer(
    answers: dict[tuple[str, str], Answer], recipe: str
) -> None:
    [shown] = [block for block in PAGE if block[:2] == (recipe, "text")]
    assert shown.text.splitlines()[0].split() == answers[recipe, "sql"].columns


def test_opening_shows_what_needs_attention_first(
    answers: dict[tuple[str, str], Answer],
) -> None:
    opened = answers["Open", "python"]
    statuses = [row[opened.columns.index("deployment_status")] for row in opened.rows]
    assert statuses[0] == "no_deployment"
