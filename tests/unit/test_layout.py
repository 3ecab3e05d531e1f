"""Where files lie is known in one module, which loads in a moment."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from assets.publishing import layout

ROOT = Path(__file__).parents[2]
LAYOUT = Path(layout.__file__)
MODULES = sorted(
    path
    for folder in ("assets", "pipelines")
    for path in (ROOT / folder).rglob("*.py")
    if path != LAYOUT
)

NAMES = (
    layout.PARTITION_KEY,
    layout.PARTITION_FILE,
    layout.OWN_FOLDER + "/",
    layout.LATEST_PAGE,
    layout.METRICS_FILE,
    "pages/",
    layout.EXTRACT_SUMMARY,
)


def texts_of(path: Path) -> list[str]:
    """The texts in a module's code, docstrings aside."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in docstrings
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_spells_a_published_file_s_name(path: Path) -> None:
    assert [text for text in texts_of(path) if any(name in text for name in NAMES)] == []


def test_the_layout_loads_without_dagster_and_pandas() -> None:
    script = (
        f"import sys, {layout.__name__}; print('dagster' in sys.modules, 'pandas' in sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert loaded.stdout == "False False\n"
