"""The `.env` that `flakelag init` writes: every setting is in it, and none is set."""

from pathlib import Path

from pipelines.commands.init import env_file
from pipelines.env_file import read_env_file
from pipelines.settings import Settings


def read(text: str, folder: Path) -> dict[str, str]:
    (folder / ".env").write_text(text)
    return {name: entry.value for name, entry in read_env_file(folder / ".env", {}).items()}


def test_nothing_is_set_in_it(tmp_path: Path) -> None:
    assert read(env_file(), tmp_path) == {}


def test_what_it_shows_are_the_defaults(tmp_path: Path) -> None:
    shown = read(env_file().replace("\n#", "\n").replace("\n ", "\n# "), tmp_path)

    assert set(shown) == {name.upper() for name in Settings.model_fields}
    given = {name.lower(): value for name, value in shown.items() if value}
    assert Settings.model_validate(given) == Settings()
