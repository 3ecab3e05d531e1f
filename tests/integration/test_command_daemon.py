"""`flakelag daemon` over a PostgreSQL that is set up otherwise, and that falls silent."""

import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipelines.embedded.postgres import EmbeddedPostgres
from tests.integration.command_process import FLAKELAG, running, session_members
from tests.integration.fleet_support import run_sql
from tests.integration.tcp_door import free_port, open_door
from tests.waiting import wait_until

IS_IN_UTC = """
    SELECT abs(extract(epoch FROM create_timestamp - timezone('UTC', now()))) < 3600 FROM job_ticks
"""


def test_its_sessions_are_pinned_and_it_waits_for_no_silent_storage(
    postgres_server: EmbeddedPostgres, new_database: Callable[..., str], tmp_path: Path
) -> None:
    url, port, log = new_database(), free_port(), tmp_path / "daemon.log"
    database = conninfo_to_dict(url)["dbname"]
    # Nine hours from UTC, which Dagster would store as they are.
    run_sql(url, f"ALTER DATABASE {database} SET timezone = 'Asia/Tokyo'")
    given = {
        "DAGSTER_POSTGRES_URL": f"postgresql://postgres@127.0.0.1:{port}/{database}",
        "DATABASE_STALL_SECONDS": "5",
        "FLEET_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/fleet",
    }
    behind = postgres_server.data_dir / "cluster" / ".s.PGSQL.5432"

    with (
        psycopg.connect(url, autocommit=True) as observer,
        open_door(port, behind) as door,
        # In a folder without a workspace file.
        running((*FLAKELAG, "daemon"), tmp_path, log, **given) as daemon,
    ):

        def ticks() -> list[tuple[bool]]:
            is_there = observer.execute("SELECT to_regclass('job_ticks')").fetchone()
            return [] if is_there == (None,) else observer.execute(IS_IN_UTC).fetchall()

        wait_until(ticks, daemon, said=log.read_text)
        assert set(ticks()) == {(True,)}

        door.lets_out = 1_000
        wait_until(lambda: "storage sent nothing for 5 s" in log.read_text(), daemon)

        daemon.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.poll() is not None, said=log.read_text)
        wait_until(lambda: session_members(daemon.pid) == [])
