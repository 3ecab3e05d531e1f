"""The pages say what the code says, and promise nothing that is not there."""

import ast
import re
from pathlib import Path

import click
import pytest

from assets.schemas import PUBLISHED_DATASETS, SOURCE_TABLES
from pipelines.cli import main
from pipelines.definitions import defs
from pipelines.documentation import DICTIONARY_PAGE, derived_pages, with_settings
from pipelines.settings import Settings
from tests.markdown import PAGES, ROOT, anchors, blocks, commands, links, name_of, quotations

README = ROOT / "README.md"

# Which test runs the blocks of a page; what a page shows in another language is not to be run.
RUN_BY = {
    ("README.md", "console"): "tests/integration/test_documented_commands.py",
    ("README.md", "python"): "tests/integration/test_readme_readers.py",
    ("README.md", "sql"): "tests/integration/test_readme_readers.py",
    ("CONTRIBUTING.md", "console"): "tests/integration/test_documented_commands.py",
    ("docs/architecture.md", "python"): "tests/unit/test_documented_pandas.py",
    ("docs/grafana.md", "sql"): "tests/integration/test_history_grafana.py",
    ("docs/operations.md", "console"): "tests/integration/test_documented_commands.py",
    ("docs/operations.md", "nix"): "tests/integration/test_services.py",
    ("docs/recipes.md", "console"): "tests/integration/test_documented_commands.py",
    ("docs/recipes.md", "python"): "tests/integration/test_recipes.py",
    ("docs/recipes.md", "sql"): "tests/integration/test_recipes.py",
}
NOT_TO_BE_RUN = {"text", "sh"}

FOLDERS = ("assets/", "deploy/", "pipelines/", "tests/", "docs/")

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def test_the_derived_pages_are_current() -> None:
    for path, text in derived_pages(ROOT).items():
        assert (ROOT / path).read_text("utf-8") == text, f"{path}: run `make docs`"


def test_every_column_is_in_the_data_dictionary() -> None:
    page = (ROOT / DICTIONARY_PAGE).read_text("utf-8")
    for dataset in PUBLISHED_DATASETS:
        [section] = re.findall(rf"^## {dataset.name}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.M)
        for column in dataset.columns:
            assert f"| `{column.name}` |" in section


def test_every_column_is_defined() -> None:
    quoted = set(quotations(ROOT / "docs" / "definitions.md"))
    for dataset in PUBLISHED_DATASETS:
        missing = {column.name for column in dataset.columns} - quoted
        assert missing == set(), dataset.name


def test_every_closed_value_is_defined() -> None:
    quoted = set(quotations(ROOT / "docs" / "definitions.md"))
    for dataset in PUBLISHED_DATASETS:
        for column in dataset.columns:
            assert set(column.allowed or ()) <= quoted, f"{dataset.name}.{column.name}"


def test_a_page_without_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="settings: begin"):
        with_settings("# Running it in production")


def test_the_readme_can_be_read_in_two_minutes() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 220


@each_page
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_file_and_folder_that_is_named_is_there(page: Path) -> None:
    for word in " ".join([*quotations(page), *commands(page)]).split():
        if word.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", word):
            assert (ROOT / word).exists(), word


@each_page
def test_every_target_of_make_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for line in [*quotations(page), *commands(page)]:
        if target := re.match(r"make ([a-z]+)", line):
            assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), line


@each_page
def test_every_command_that_is_named_exists(page: Path) -> None:
    for line in [*quotations(page), *commands(page)]:
        if name := re.match(r"flakelag ([a-z]\w*)", line):
            command = main.get_command(click.Context(main), name[1])
            assert command is not None, line
            options = {option for parameter in command.params for option in parameter.opts}
            if name[1] != "psql":  # which hands what it does not know to psql
                assert set(re.findall(r"--[a-z-]+", line)) <= {*options, "--help"}, line


@each_page
def test_every_block_is_run_by_a_test(page: Path) -> None:
    for block in blocks(page):
        if block.language not in NOT_TO_BE_RUN:
            assert (ROOT / RUN_BY[name_of(page), block.language]).exists(), block


def test_every_job_schedule_sensor_and_asset_is_described() -> None:
    pages = (ROOT / "docs" / "operations.md", ROOT / "docs" / "architecture.md")
    quoted = {quotation for page in pages for quotation in quotations(page)}
    repository = defs.get_repository_def()
    of_dagster = {
        *(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        *(schedule.name for schedule in repository.schedule_defs),
        *(sensor.name for sensor in repository.sensor_defs),
        *(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()),
    }
    assert of_dagster - {table.name for table in SOURCE_TABLES} <= quoted


def test_the_page_for_operators_names_every_setting() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for name in Settings.model_fields:
        assert f"| `{name.upper()}` |" in page


def test_every_message_that_operators_are_told_of_is_in_the_code() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    told = re.findall(r'^\| "([^"]+)" \|', page, re.MULTILINE)
    said = [
        node.value
        for folder in ("assets", "pipelines")
        for module in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(told) > 10
    for message in told:
        assert any(message in text for text in said), message
