"""`flakelag init`: the folder that an installed flakelag runs in.

Belongs here: which files that folder begins with, and what its owner does next. Does not belong
here: what a setting means (`Settings` says it), and what stands in Dagster's own files.
"""

import os
import re
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

_PLAIN_PATH = re.compile(r"[\w./+@:,=-]+")
_UNQUOTABLE = re.compile(r"['\"\\$]")

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
    So it may be run before each start.
    """
    folder = folder.absolute()
    if not str(folder).isprintable() or _UNQUOTABLE.search(str(folder)):
        raise click.UsageError(
            "A folder whose path has a quote, a backslash, a $ or a control character can't stand "
            f"in a .env: {str(folder)!r}. Choose another."
        )
    made = {}
    try:
        make_folders(folder, _OPEN_FOLDER)
        for name, text, mode in (
            (".env", env_file(folder), PRIVATE_FILE),
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
        click.echo(f"{'made  ' if is_new else 'stays '}  {path}")
    if any(made.values()):
        click.echo(_next_steps(folder))


def env_file(folder: Path) -> str:
    """A `.env` with every setting, each commented out but the one that Dagster can't do without.

    Args:
        folder: where it will be, absolute.
    """
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
        value = "" if field.default is None else field.default
        line = f"#{name.upper()}={value}"
        if name == "dagster_home":
            # Dagster's own programs look nowhere else, and want the whole path.
            path = str(Settings(flakelag_var_dir=folder / Settings().flakelag_var_dir).instance_dir)
            line = f"{name.upper()}={path if _PLAIN_PATH.fullmatch(path) else repr(path)}"
        paragraphs.append(f"{meaning}\n{line}\n")
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
