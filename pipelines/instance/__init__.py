"""Dagster's instance: its folder made ready, one `dagster.yaml` for each kind of storage."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml

from pipelines.settings import Settings

Storage = Literal["sqlite", "postgres"]


class InstanceUnusableError(Exception):
    """Dagster's instance can't be had; the message says why, and holds no secret."""


def prepare_instance(settings: Settings) -> Path:
    """Makes the instance folder ready.

    A `dagster.yaml` that was made here and that nobody changed follows the settings, so that
    setting `DAGSTER_POSTGRES_URL` is all it takes. Any other one is left as it is.

    Returns:
        The folder: what `DAGSTER_HOME` must name.

    Raises:
        InstanceUnusableError: the folder can't be made or written to, or what is in its
            `dagster.yaml` can't be read.
    """
    folder = settings.instance_dir
    wanted: Storage = "sqlite" if settings.dagster_postgres_url is None else "postgres"
    other: Storage = "postgres" if wanted == "sqlite" else "sqlite"
    configuration = folder / "dagster.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A link that leads nowhere is there, too.
        is_there = configuration.is_symlink() or configuration.exists()
        if not is_there or _readable(configuration) == _template(other):
            # Beside and then renamed: another command may be starting and reading it.
            beside = folder / f".dagster.yaml.{os.getpid()}"
            beside.write_text(_template(wanted), "utf-8")
            beside.replace(configuration)
    except OSError as error:
        raise InstanceUnusableError(
            f"Can't make Dagster's folder {folder} ready: {error.strerror}. Set DAGSTER_HOME (or "
            "FLAKELAG_VAR_DIR) to a folder that can be written to."
        ) from None
    return folder


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
