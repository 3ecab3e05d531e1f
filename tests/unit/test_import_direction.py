"""Imports go one way, between folders and within them; and loading a module does nothing."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = sorted((ROOT / "assets").rglob("*.py"))
COMPUTE = sorted((ROOT / "assets" / "compute").rglob("*.py"))
MODULES = [*ASSETS, *sorted((ROOT / "pipelines").rglob("*.py"))]

# What a notebook or a worker that only computes need not have.
NOT_FOR_COMPUTE = ("dagster", "psycopg", "adbc_driver_manager", "adbc_driver_postgresql")

ASSET_DECORATORS = {"dg.asset", "dg.multi_asset", "daily_asset", "daily_dataset"}

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


@pytest.mark.parametrize(
    ("module", "does_without"),
    [
        (
            "pipelines.definitions",
            (
                "dagster_postgres sqlalchemy psycopg psycopg2 adbc_driver_manager requests duckdb "
                "vl_convert jinja2 prometheus_client"
            ),
        ),
        (
            "pipelines.commands.status",
            "dagster pandas pyarrow.compute pydantic psycopg sqlalchemy duckdb",
        ),
    ],
)
def test_what_is_not_needed_at_the_start_is_not_loaded(module: str, does_without: str) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()

    assert module in loaded
    assert not {*does_without.split()} & {*loaded}


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
def test_pipelines_import_nothing_of_tests(path: Path) -> None:
    assert {name for name in imported_modules(path) if name.startswith("tests")} == set()


def imports_between(rooms: Callable[[str], str]) -> dict[str, set[str]]:
    """By room, the rooms that its modules import from; `rooms` names the room of a module."""
    modules = {module_name(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        imported = set()
        for name in imported_modules(path):
            # `a.b.c` is module c of package a.b, or name c of module a.b.
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules:
                imported.add(rooms(target))
        graph.setdefault(rooms(module), set()).update(imported - {rooms(module)})
    return graph


def folder_or_module(module: str) -> str:
    """The folder that a module lies in; a module at the top of `assets` or `pipelines` itself."""
    parts = module.split(".")
    return ".".join(parts[:2])


@pytest.mark.parametrize(
    "rooms",
    [pytest.param(lambda module: module, id="modules"), pytest.param(folder_or_module, id="rooms")],
)
def test_imports_make_no_circle(rooms: Callable[[str], str]) -> None:
    TopologicalSorter(imports_between(rooms)).prepare()


def test_each_room_of_assets_imports_only_from_rooms_below() -> None:
    from_the_ground = ["compute", "schemas", "publishing", "exports", "page"]
    graph = imports_between(folder_or_module)

    for height, room in enumerate(from_the_ground):
        below = {f"assets.{name}" for name in from_the_ground[:height]}
        assert graph[f"assets.{room}"] <= below | {"assets"}, room


def test_at_the_top_of_assets_are_only_modules_that_define_assets() -> None:
    for path in (ROOT / "assets").glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        decorators = {name for node in nodes for name in _decorators(node)}
        assert path.name == "__init__.py" or decorators & ASSET_DECORATORS, relative(path)


def _decorators(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.FunctionDef):
        return set()
    return {ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_environment_is_not_read_when_a_module_is_loaded(path: Path) -> None:
    reads = [
        node.lineno
        for node in run_at_import(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in READS_OF_THE_ENVIRONMENT)
        or (isinstance(node, ast.Name) and node.id in READS_OF_THE_ENVIRONMENT)
    ]

    assert reads == []
