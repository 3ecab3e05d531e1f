"""The services in `deploy/`: systemd takes them, and NixOS would make the same of its module.

Neither is run here. What was tried by hand, and what never was, is in docs/operations.md.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import pytest

from pipelines.cli import main
from pipelines.settings import Settings
from tests.integration.nixos import Nix, nix_in
from tests.markdown import ROOT, blocks

SYSTEMD = ROOT / "deploy" / "systemd"
COMMON = SYSTEMD / "flakelag-.service.d" / "common.conf"
SERVICES = ("flakelag-daemon", "flakelag-ui")
PROGRAMS = "/opt/flakelag/venv/bin/"

NIX_FILES = [
    ROOT / "flake.nix",
    *sorted((ROOT / "deploy").rglob("*.nix")),
    *sorted((ROOT / "tests").rglob("*.nix")),
]

SECRETS = (
    "/run/secrets/passwords-canary",
    "/run/secrets/webhook-canary",
    "/run/secrets/canary.env",
)
# As an operator may well define it.
DEFINITIONS = f"""{{
    enable = true;
    fleetDatabase = "postgresql://flakelag_reader@db.example/crystal_forge?sslmode=verify-full";
    historyDatabase = "postgresql://flakelag@/flakelag?host=%2Frun%2Fpostgresql";
    dagsterDatabase = "postgresql://dagster@db.example/dagster";
    reportsDir = "/srv/flakelag/reports";
    pgpassFile = "{SECRETS[0]}";
    webhook = "{SECRETS[1]}";
    environmentFile = "{SECRETS[2]}";
    settings.ALERT_COMMITS_BEHIND = "50";
    ui = {{ enable = true; port = 3001; }};
}}"""
LEAST = """
    enable = true;
    fleetDatabase = "postgresql://a@db.example/crystal_forge";
    historyDatabase = "postgresql://b@db.example/flakelag";
"""

# What a unit says in another way than the module, which makes a script of its commands.
DIFFERENT = {"ExecStartPre", "Environment", "EnvironmentFile", "LoadCredential", "SetCredential"}
IN_UNIT_OR_MODULE_ONLY = {"ReadWritePaths", "TimeoutStopSec"}


def assignments(unit: Path) -> dict[str, list[str]]:
    """What a unit sets, each name with its values in order."""
    found = defaultdict(list)
    for line in unit.read_text("utf-8").splitlines():
        if assigned := re.match(r"(\w+)=(.*)", line):
            found[assigned[1]].append(assigned[2])
    return dict(found)


def commands_of(service: str) -> list[list[str]]:
    """What a service runs, words of each."""
    lines = [
        command
        for unit in (SYSTEMD / f"{service}.service", COMMON)
        for name in ("ExecStart", "ExecStartPre")
        for command in assignments(unit).get(name, [])
    ]
    return [shlex.split(line) for line in lines]


@pytest.fixture
def installed_units(tmp_path: Path) -> Path:
    """The units as they are installed, with programs where they look for them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: it is in Debian's package systemd.")
    units = tmp_path / "units"
    shutil.copytree(SYSTEMD, units)
    programs = tmp_path / "bin"
    programs.mkdir()
    for service in SERVICES:
        for path in (units / f"{service}.service", units / COMMON.relative_to(SYSTEMD)):
            path.write_text(path.read_text().replace(PROGRAMS, f"{programs}/"))
        for program, *_ in commands_of(service):
            if program.startswith(PROGRAMS):
                stand_in = programs / program.removeprefix(PROGRAMS)
                stand_in.write_text("")
                stand_in.chmod(0o755)
    return units


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_has_nothing_to_say_about_the_units(installed_units: Path, service: str) -> None:
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(installed_units / f"{service}.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize("service", SERVICES)
def test_the_units_are_exposed_by_no_more_than_two(installed_units: Path, service: str) -> None:
    unit = str(installed_units / f"{service}.service")
    judged = subprocess.run(
        # It takes ten times the level that it prints.
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert f"Overall exposure level for {service}.service" in judged.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_the_units_start_what_there_is(service: str) -> None:
    for program, *arguments in commands_of(service):
        if program == f"{PROGRAMS}flakelag":
            command = main.get_command(click.Context(main), arguments[0])
            assert command is not None, arguments
            command.make_context(program, arguments[1:])
        else:
            assert Path(program).exists()


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    return nix_in(tmp_path_factory.mktemp("nix"))


@pytest.fixture(scope="module")
def evaluated(nix: Nix) -> Any:
    return nix.evaluate(DEFINITIONS)


@pytest.mark.parametrize("file", NIX_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nix_parses_every_file(nix: Nix, file: Path) -> None:
    nix.parse(file)


def test_the_package_needs_what_the_wheel_needs(evaluated: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^a-z0-9-]", requirement)[0] for requirement in project["dependencies"]}

    assert evaluated["package"]["version"] == project["version"]
    extras = {"psycopg-c", "uvicorn-standard"}
    assert set(evaluated["package"]["dependencies"]) == needed | extras
    assert {Path(path).name for path in evaluated["package"]["src"]} == {
        "assets",
        "pipelines",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }


def test_what_the_page_shows_is_taken(nix: Nix) -> None:
    [shown] = [block.text for block in blocks("operations.md") if block.language == "nix"]
    config = nix.evaluate(f"({shown}).services.flakelag")["config"]

    assert all(each["assertion"] for each in config["assertions"])
    assert set(config["systemd"]["services"]) == set(SERVICES)


def test_the_module_is_off_unless_it_is_enabled(nix: Nix) -> None:
    assert nix.evaluate("{ }")["config"] == {}


def test_the_ui_is_off_unless_it_is_enabled(nix: Nix) -> None:
    services = nix.evaluate(f"{{ {LEAST} }}")["config"]["systemd"]["services"]

    assert set(services) == {"flakelag-daemon"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_module_says_of_a_service_what_its_unit_says(evaluated: Any, service: str) -> None:
    module = evaluated["config"]["systemd"]["services"][service]["serviceConfig"]
    unit = {**assignments(COMMON), **assignments(SYSTEMD / f"{service}.service")}
    of_service = {
        name: " ".join(values)
        for name, values in unit.items()
        if name not in {"Description", "Wants", "After", "WantedBy", "ExecStart"}
    }
    of_module = {name: _as_in_a_unit(value) for name, value in module.items()}

    for names in (of_service, of_module):
        for name in DIFFERENT | IN_UNIT_OR_MODULE_ONLY:
            names.pop(name, None)
    assert of_module == of_service


def _as_in_a_unit(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("service", SERVICES)
def test_the_module_runs_what_the_unit_runs(evaluated: Any, service: str) -> None:
    script = evaluated["config"]["systemd"]["services"][service]["script"]
    started, copied = (" ".join(words) for words in commands_of(service))

    last = re.sub(r"/nix/store/[^/]+/bin/", PROGRAMS, script.splitlines()[-1])
    assert last == f"exec {started.replace('3000', '3001')}"
    of_module = script.splitlines()[0].replace('"', "")
    assert of_module == re.sub(r"[{}]", "", copied.removeprefix("/usr/bin/"))


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_are_credentials_and_nowhere_else(evaluated: Any, service: str) -> None:
    told = evaluated["config"]["systemd"]["services"][service]
    config = told["serviceConfig"]

    assert config.pop("LoadCredential") == [f"pgpass:{SECRETS[0]}", f"webhook:{SECRETS[1]}"]
    assert config.pop("EnvironmentFile") == SECRETS[2]
    assert "canary" not in str(told)
    for name in ("PGPASSFILE", "ALERT_WEBHOOK_URL"):
        assert f"export {name}" in told["script"]
        assert name not in told["environment"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_variables_are_those_of_the_program(evaluated: Any, service: str) -> None:
    environment = evaluated["config"]["systemd"]["services"][service]["environment"]

    assert set(environment) - {"HOME"} <= {name.upper() for name in Settings.model_fields}
    assert environment["ALERT_COMMITS_BEHIND"] == "50"
    assert environment["REPORTS_DIR"] == "/srv/flakelag/reports"
    # systemd makes one % of it.
    assert environment["HISTORY_DATABASE_URL"].endswith("?host=%%2Frun%%2Fpostgresql")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://flakelag:canary@db.example/flakelag",
        "postgresql://flakelag@db.example/flakelag?password=canary",
        "postgresql://flakelag@db.example/flakelag?sslmode=require&password=canary",
    ],
)
@pytest.mark.parametrize("option", ["fleetDatabase", "historyDatabase", "dagsterDatabase"])
def test_a_password_in_an_address_is_refused(nix: Nix, option: str, address: str) -> None:
    others = "\n".join(line for line in LEAST.splitlines() if f" {option} " not in line)
    config = nix.evaluate(f'{{ {others} {option} = "{address}"; }}')["config"]

    [refusal] = [each["message"] for each in config["assertions"] if not each["assertion"]]
    assert "pgpassFile" in refusal


def test_databases_of_ones_own_are_needed(nix: Nix) -> None:
    def refusals(definitions: str) -> list[str]:
        assertions = nix.evaluate(definitions)["config"]["assertions"]
        return [each["message"] for each in assertions if not each["assertion"]]

    assert refusals(f"{{ {LEAST} }}") == []
    assert refusals('{ enable = true; environmentFile = "/run/secrets/flakelag"; }') == []
    [refusal] = refusals("{ enable = true; }")
    assert "fleetDatabase and historyDatabase" in refusal


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ("ui = { enable = true; port = 70000; };", "no port"),
        ("reportsDir = null;", "no str"),
        ("settings.ALERT_COMMITS_BEHIND = 50;", "no attrsOf str"),
        ("webHook = null;", "no option webHook"),
    ],
)
def test_a_mistake_is_an_error(nix: Nix, definition: str, problem: str) -> None:
    assert problem in nix.refuse(f"{{ {LEAST} {definition} }}")
