"""Dagster's instance: its folder made ready, one `dagster.yaml` for each kind of storage."""

import os
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml

from assets.publishing.layout import VAR_FOLDERS
from pipelines.files import (
    PRIVATE_FILE,
    advice,
    create_file,
    make_private,
    open_folder,
    write_all,
)
from pipelines.settings import Settings

Storage = Literal["sqlite", "postgres"]


HOME_SETTING = "DAGSTER_HOME (or FLAKELAG_VAR_DIR)"


class InstanceUnusableError(Exception):
    """Dagster's instance can't be had; the message says why, and holds no secret."""


def prepare_instance(settings: Settings) -> Path:
    """Makes the instance folder ready, and nobody else's.

    A `dagster.yaml` that was made here and that nobody changed follows the settings, so that
    setting `DAGSTER_POSTGRES_URL` is all it takes. Any other one is left as it is.

    Returns:
        The folder: what `DAGSTER_HOME` must name.

    Raises:
        InstanceUnusableError: the folder can't be made or written to, or its `dagster.yaml` is not
            readable.
    """
    folder = settings.instance_dir
    wanted: Storage = "sqlite" if settings.dagster_postgres_url is None else "postgres"
    other: Storage = "postgres" if wanted == "sqlite" else "sqlite"
    configuration = folder / "dagster.yaml"
    try:
        if settings.dagster_home is None:
            make_private(settings.flakelag_var_dir, VAR_FOLDERS)
        # A link that leads nowhere is there, too.
        is_there = configuration.is_symlink() or configuration.exists()
        held = _readable(configuration) if is_there else None
        if settings.dagster_home is None or held in (_template(wanted), _template(other)):
            make_private(folder)
        else:
            # Somebody's own; it becomes ours if it is empty.
            make_private(folder, holding=())
        if held in (None, _template(other)):
            _write_beside(folder, configuration.name, _template(wanted))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InstanceUnusableError(
            f"Can't make Dagster's folder {folder} ready: {reason}. "
            f"{advice(error.errno, HOME_SETTING)}"
        ) from None
    return folder


def _write_beside(folder: Path, name: str, text: str) -> None:
    """Replaces a file whole: another command may be starting and reading it."""
    beside = f".{name}.{os.getpid()}"
    with open_folder(folder) as opened:
        try:
            write_all(create_file(opened, beside, PRIVATE_FILE), text.encode())
            os.rename(beside, name, src_dir_fd=opened, dst_dir_fd=opened)
        finally:
            with suppress(OSError):
                os.unlink(beside, dir_fd=opened)


def _readable(configuration: Path) -> str:
    """What stands in a `dagster.yaml`, which Dagster itself would refuse with a traceback."""
    try:
        text = configuration.read_text("utf-8")
        content = yaml.safe_load(text)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except FileNotFoundError:
        problem = "it is a link that leads nowhere"
    except yaml.YAMLError as error:
        # Its own message quotes the file.
        mark = getattr(error, "problem_mark", None)
        problem = "it is not YAML" if mark is None else f"line {mark.line + 1} is not YAML"
    else:
        if content is None or isinstance(content, dict):
            return text
        problem = "it is no list of settings"
    raise InstanceUnusableError(f"Can't read {configuration}: {problem}.")


def workspace_file() -> str:
    """The file that names the code to serve, whatever folder a command is started in."""
    return str(files(__package__) / "workspace.yaml")


def _template(storage: Storage) -> str:
    templates = files(__package__)
    return "".join(
        templates.joinpath(name).read_text("utf-8")
        for name in (f"dagster-{storage}.yaml", "common.yaml")
    )
