"""`flakelag psql` opens the embedded server's databases."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.commands.psql import psql


@pytest.fixture(autouse=True)
def var_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not below pytest's own folder: when we are root, the embedded server is another user, and each
    # session of pytest that begins closes that folder to others.
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    monkeypatch.chdir(folder)
    for variable in ("HISTORY_DATABASE_URL", "FLEET_DATABASE_URL", "FLAKELAG_VAR_DIR"):
        monkeypatch.delenv(variable, raising=False)
    yield folder / "var"
    monkeypatch.undo()
    shutil.rmtree(folder)


def test_arguments_and_exit_status_are_those_of_psql(
    var_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = CliRunner().invoke(psql, ["-Atc", "SELECT current_database()"])
    assert result.exit_code == 0, result.output
    assert capfd.readouterr().out == "history\n"
    assert CliRunner().invoke(psql, ["-c", "SELECT 1/0", "-v", "ON_ERROR_STOP=1"]).exit_code == 1
    result = CliRunner().invoke(psql, ["--fleet", "-Atc", "SELECT current_database()"])
    assert capfd.readouterr().out == "fleet\n"


def test_a_history_elsewhere_is_opened_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORY_DATABASE_URL", "postgresql://canary:secret@127.0.0.1/history")
    result = CliRunner().invoke(psql, [])
    assert result.exit_code == 2
    assert "PGSERVICE=history psql" in result.output
    assert "secret" not in result.output
