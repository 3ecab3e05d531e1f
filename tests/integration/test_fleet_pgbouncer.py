"""That the fleet database can be read through pgbouncer in transaction mode, as many run it.

There a session is shared by whoever comes next: nothing that outlives a transaction may be relied
on or left behind, and parameters at start-up are refused.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pipelines.embedded.postgres import EmbeddedPostgres
from tests.integration.fleet_support import create_fleet, extract, value
from tests.waiting import wait_until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None,
    reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)",
)

CONFIGURATION = """
[databases]
fleet = host={server_socket} port=5432 dbname={database} user=postgres
[pgbouncer]
pool_mode = transaction
default_pool_size = 1
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooled_url(
    postgres_server: EmbeddedPostgres, new_database: Callable[..., str]
) -> Iterator[str]:
    """A fleet behind a pgbouncer that has a single session to share."""
    url = create_fleet(new_database(), states=100)
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    (folder / "pgbouncer.ini").write_text(
        CONFIGURATION.format(
            server_socket=parameters["host"], database=parameters["dbname"], folder=folder
        )
    )
    # pgbouncer refuses to run as root; who runs the server may enter its socket's folder.
    account = pwd.getpwuid((postgres_server.data_dir / "cluster").stat().st_uid)
    is_root = os.geteuid() == 0
    if is_root:
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    process = subprocess.Popen(
        [str(PGBOUNCER), "--quiet", str(folder / "pgbouncer.ini")],
        user=account.pw_uid if is_root else None,
        group=account.pw_gid if is_root else None,
        extra_groups=[] if is_root else None,
        cwd="/",
    )
    try:
        log = folder / "pgbouncer.log"
        wait_until((folder / ".s.PGSQL.6432").exists, process, said=log.read_text)
        yield f"postgresql://anybody@/fleet?host={folder}&port=6432"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def settings_of_the_session(url: str) -> object:
    changed = "('lock_timeout', 'statement_timeout', 'TimeZone', 'DateStyle', 'search_path',"
    changed += " 'idle_in_transaction_session_timeout', 'transaction_timeout', 'client_encoding')"
    return value(
        url, f"SELECT array_agg(setting ORDER BY name) FROM pg_settings WHERE name IN {changed}"
    )


def test_an_extract_through_a_shared_session_leaves_it_as_it_was(pooled_url: str) -> None:
    before = settings_of_the_session(pooled_url)

    with ThreadPoolExecutor(3) as pool:
        extracts = list(pool.map(extract, [pooled_url] * 3))

    assert [summary.rows_staged["system_states"] for summary, _ in extracts] == [101] * 3
    assert settings_of_the_session(pooled_url) == before
    assert value(pooled_url, "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
