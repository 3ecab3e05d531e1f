"""`flakelag init`: the folder that an installed flakelag runs in.

Belongs here: which files that folder begins with, and what its owner does next. Does not belong
here: what a setting means (`Settings` says it), and what stands in Dagster's own files.
"""

import os
import textwrap
from pathlib import Path

import click

from pipelines.commands.environment import settings_for_command
from pipelines.files import PRIVATE_FILE, explanation, make_folders, open_folder, write_all
from pipelines.instance import InstanceUnusableError, prepare_instance, workspace_file
from pipelines.settings import Settings

_OPEN_FOLDER = 0o755
"""Analysts pass through it to the reports; what is private in it has a mode of its own."""

_OPEN_FILE = 0o644
_COLUMNS = 96

_ENV_HEAD = """\
# The settings of flakelag, for whatever is started in this folder. The environment wins.
#
# NAME=value, one a line. A line that begins with # is not set, and shows the default where there is
# one. An address that leaves the machine ends with
# ?sslmode=verify-full&sslrootcert=/path/to/authority.pem
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Make DIR a folder to run the installed flakelag in.

    Writes `.env` with every setting, `workspace.yaml` and Dagster's `dagster.yaml`. What is there
    already stays as it is; only a `dagster.yaml` that nobody changed follows DAGSTER_POSTGRES_URL.
    So it may be run again.
    """
    folder = folder.absolute()
    made = {}
    try:
        make_folders(folder, _OPEN_FOLDER)
        for name, text, mode in (
            (".env", env_file(), PRIVATE_FILE),
            ("workspace.yaml", Path(workspace_file()).read_text("utf-8"), _OPEN_FILE),
        ):
            made[folder / name] = _write_new(folder, name, text, mode)
        # From here on as for whatever is started there.
        os.chdir(folder)
        settings = settings_for_command()
        configuration = settings.instance_dir / "dagster.yaml"
        made[configuration] = not os.path.lexists(configuration)
        prepare_instance(settings)
    except InstanceUnusableError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        path = folder / os.fsdecode(error.filename or "")
        raise click.ClickException(explanation(error, path, "write", "DIR")) from None
    for path, is_new in made.items():
        click.echo(f"{'made' if is_new else 'stays':<5}  {path}")
    if any(made.values()):
        click.echo(_next_steps(folder))


def env_file() -> str:
    """A `.env` with every setting, each commented out and at its default."""
    paragraphs = [_ENV_HEAD]
    for name, field in Settings.model_fields.items():
        meaning = textwrap.fill(
            str(field.description),
            _COLUMNS,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        default = "" if field.default is None else field.default
        paragraphs.append(f"{meaning}\n#{name.upper()}={default}\n")
    return "\n".join(paragraphs)


def _write_new(folder: Path, name: str, text: str, mode: int) -> bool:
    """Writes a file, unless something of that name is there; whether it did."""
    with open_folder(folder) as opened:
        try:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE, dir_fd=opened)
        except FileExistsError:
            return False
        try:
            os.fchmod(file, mode)
            write_all(file, text.encode())
        except OSError:
            # Half of it would stay as it is the next time.
            os.unlink(name, dir_fd=opened)
            raise
    return True


def _next_steps(folder: Path) -> str:
    return f"""
Next, as the user that is to run it, in {folder}:
  1. Set FLEET_DATABASE_URL and HISTORY_DATABASE_URL in .env. While they are not set, the demo
     fleet is read and the history is kept in an embedded server. For production, set
     DAGSTER_POSTGRES_URL too.
  2. flakelag check     tries every setting, and says what to do about the rest.
  3. flakelag report    publishes today once.
  4. flakelag ui        runs the schedules and the UI; or run the two as services.
docs/operations.md has the services, upgrades and backups."""
