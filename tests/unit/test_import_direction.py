"""Imports go one way, and loading a module does nothing: pipelines, then assets, then compute."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = sorted((ROOT / "assets").rglob("*.py"))
COMPUTE = sorted((ROOT / "assets" / "compute").rglob("*.py"))
MODULES = [*ASSETS, *sorted((ROOT / "pipelines").rglob("*.py"))]

# What a notebook or a worker that only computes need not have.
NOT_FOR_COMPUTE = ("dagster", "psycopg", "adbc_driver_manager", "adbc_driver_postgresql")

READS_OF_THE_ENVIRONMENT = ("environ", "environb", "getenv", "getenvb")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is loaded: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            evaluated = [*child.decorator_list, child.args]
            for part in evaluated:
                yield from run_at_import(part)
                yield part
        elif isinstance(child, ast.Lambda):
            yield from run_at_import(child.args)
        else:
            yield child
            yield from run_at_import(child)


def test_compute_is_loaded_without_dagster_or_a_database() -> None:
    script = f"""
import importlib, sys
for name in {[module_name(path) for path in COMPUTE]!r}:
    importlib.import_module(name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()

    assert "pandas" in loaded
    assert not {"pipelines", *NOT_FOR_COMPUTE} & set(loaded)


@pytest.mark.parametrize("path", COMPUTE, ids=relative)
def test_compute_imports_nothing_of_the_project_but_itself(path: Path) -> None:
    project = {
        name for name in imported_modules(path) if name.startswith(("assets", "pipelines", "tests"))
    }

    assert {name for name in project if not name.startswith("assets.compute.")} == set()


@pytest.mark.parametrize("path", ASSETS, ids=relative)
def test_assets_import_nothing_of_pipelines(path: Path) -> None:
    outside = {name for name in imported_modules(path) if name.startswith(("pipelines", "tests"))}

    assert outside == set()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_environment_is_not_read_when_a_module_is_loaded(path: Path) -> None:
    reads = [
        node.lineno
        for node in run_at_import(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in READS_OF_THE_ENVIRONMENT)
        or (isinstance(node, ast.Name) and node.id in READS_OF_THE_ENVIRONMENT)
    ]

    assert reads == []
