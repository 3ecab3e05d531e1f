"""What the history database says to those whom it does not let in, and what a role needs."""

import re
import subprocess
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files
from itertools import count
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from assets.schemas import DEPLOYMENT_HISTORY, SYSTEM_DEPLOYMENT_STATUS
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.history.connection import (
    HistoryAccessError,
    HistoryDatabaseError,
    HistoryReadOnlyError,
    HistoryUnavailableError,
)
from pipelines.history.database import HistoryDatabase
from tests.integration.history_rows import (
    DAY,
    HOUR,
    MORNING_AFTER,
    NOON,
    database_name,
    event,
    events,
    execute,
    replace_day,
    statuses,
    stored_keys,
    values,
)
from tests.waiting import wait_until

_role_numbers = count(1)


@pytest.fixture
def new_role(postgres_server: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """Creates a role that may log in and nothing else; dropped afterwards."""
    created = []

    def create() -> str:
        name = f"history_role_{next(_role_numbers)}"
        created.append(name)
        execute(postgres_server.url(), f"CREATE ROLE {name} LOGIN")
        return name

    yield create
    for name in created:
        execute(postgres_server.url(), f"DROP OWNED BY {name}")
        execute(postgres_server.url(), f"DROP ROLE {name}")


@pytest.fixture
def url(new_role: Callable[[], str], new_database: Callable[..., str]) -> str:
    """An empty database, dropped before the roles that own something in it."""
    return new_database()


@pytest.fixture
def role(new_role: Callable[[], str]) -> str:
    return new_role()


@pytest.fixture
def history_as(postgres_server: EmbeddedPostgres, url: str) -> Callable[[str], HistoryDatabase]:
    def connect(role: str) -> HistoryDatabase:
        return HistoryDatabase(SecretStr(postgres_server.url(database_name(url), role)))

    return connect


def use_everything(history: HistoryDatabase) -> None:
    history.migrate()
    replace_day(
        history, DEPLOYMENT_HISTORY, DAY, events(event("web", 1, 1)), extracted_at=MORNING_AFTER
    )
    history.replace_current(
        SYSTEM_DEPLOYMENT_STATUS,
        statuses({"hostname": "web"}),
        snapshot_at=NOON,
        extracted_at=NOON,
    )


class TestRoles:
    def test_the_databases_owner_needs_no_grant(
        self, history_as: Callable[[str], HistoryDatabase], url: str, role: str
    ) -> None:
        execute(url, f"ALTER DATABASE {database_name(url)} OWNER TO {role}")
        history_as(role).migrate(set_database_search_path=True)
        use_everything(history_as(role))

    def test_the_named_grants_are_enough(
        self, history_as: Callable[[str], HistoryDatabase], url: str, role: str
    ) -> None:
        execute(url, f"REVOKE ALL ON DATABASE {database_name(url)} FROM PUBLIC")
        execute(url, f"GRANT CONNECT ON DATABASE {database_name(url)} TO {role}")
        with pytest.raises(HistoryAccessError) as refusal:
            history_as(role).migrate()
        statements = re.findall(r"GRANT [^;]+;", str(refusal.value))
        assert [statement.split()[1] for statement in statements] == ["TEMPORARY", "CREATE"]
        execute(url, " ".join(statements))
        use_everything(history_as(role))

    def test_a_schema_that_another_role_made_needs_its_grant(
        self, history_as: Callable[[str], HistoryDatabase], url: str, role: str
    ) -> None:
        execute(url, "CREATE SCHEMA flakelag")
        with pytest.raises(HistoryAccessError) as refusal:
            history_as(role).migrate()
        execute(url, " ".join(re.findall(r"GRANT [^;]+;", str(refusal.value))))
        use_everything(history_as(role))

    def test_tables_of_another_role_are_named(
        self, history_as: Callable[[str], HistoryDatabase], url: str, role: str
    ) -> None:
        HistoryDatabase(SecretStr(url)).migrate()
        execute(url, f"GRANT USAGE ON SCHEMA flakelag TO {role}")
        with pytest.raises(HistoryAccessError, match="permission denied for table loads"):
            replace_day(history_as(role), DEPLOYMENT_HISTORY, DAY, events(), extracted_at=NOON)

    def test_analysts_read_what_is_there_and_what_comes(
        self,
        postgres_server: EmbeddedPostgres,
        url: str,
        history_as: Callable[[str], HistoryDatabase],
        new_role: Callable[[], str],
    ) -> None:
        owner, analyst = new_role(), new_role()
        execute(url, f"GRANT CREATE ON DATABASE {database_name(url)} TO {owner}")
        use_everything(history_as(owner))
        with as_file(files("pipelines") / "sql" / "history_analyst_grants.sql") as script:
            subprocess.run(
                [
                    str(postgres_server.bin_path / "psql"),
                    postgres_server.url(database_name(url), owner),
                    *("--quiet", "--set=ON_ERROR_STOP=1", f"--set=analyst={analyst}"),
                    f"--file={script}",
                ],
                check=True,
            )
        # Makes the migration drop the views and make them anew.
        execute(url, "DROP VIEW flakelag.deployment_history_with_end")
        history_as(owner).migrate()
        as_analyst = postgres_server.url(database_name(url), analyst)
        for name in (
            "deployment_history_with_end",
            "view_system_deployment_status",
            "system_deployment_status",
        ):
            assert values(as_analyst, f"SELECT hostname FROM flakelag.{name}") == [("web",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(as_analyst, "DELETE FROM flakelag.deployment_history")


def test_a_read_only_database_is_named_as_such(url: str) -> None:
    history = HistoryDatabase(SecretStr(url))
    history.migrate()
    execute(url, f"ALTER DATABASE {database_name(url)} SET default_transaction_read_only = on")
    with pytest.raises(HistoryReadOnlyError, match="primary"):
        history.migrate()
    with pytest.raises(HistoryReadOnlyError, match="primary"):
        replace_day(history, DEPLOYMENT_HISTORY, DAY, events(), extracted_at=NOON)


def test_a_session_that_the_server_ends_leaves_all_as_it_was(url: str) -> None:
    history = HistoryDatabase(SecretStr(url))
    use_everything(history)
    rows = events(event("web", 1, 1), event("db", 2, 2))

    def replace() -> None:
        replace_day(history, DEPLOYMENT_HISTORY, DAY, rows, extracted_at=MORNING_AFTER + HOUR)

    with ThreadPoolExecutor(1) as threads, psycopg.connect(url) as other:
        # Makes ours wait in the middle of its transaction.
        other.execute("SELECT FROM flakelag.loads FOR UPDATE")
        replacing = threads.submit(replace)
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        wait_until(lambda: values(url, end))
        with pytest.raises(HistoryUnavailableError, match="Nothing was committed"):
            replacing.result()
    assert stored_keys(url) == [("web", 1)]
    replace()
    assert stored_keys(url) == [("web", 1), ("db", 2)]


SECRET = "s3cr3t"
OTHER_SECRET = "canary"


def assert_tells_no_secret(error: BaseException) -> None:
    """Neither in the message nor in what a debugger shows: the variables of every frame."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in told.stack if "/tests/" not in frame.filename]
    assert frames
    shown = f"{error} {error!r} {[frame.locals for frame in frames]}"
    assert error.__context__ is None
    assert SECRET not in shown
    assert OTHER_SECRET not in shown


class TestConnecting:
    @pytest.mark.parametrize(
        "url",
        [
            f"postgresql://u:{SECRET}-{OTHER_SECRET}@127.0.0.1:port/db",
            f"postgresql://u:{SECRET}/{OTHER_SECRET}@127.0.0.1/db",
            f"postgresql://u:1/{OTHER_SECRET}@127.0.0.1/db",
            f"postgresql://u:{SECRET}@{OTHER_SECRET}@127.0.0.1/db",
            f"postgresql://u:{SECRET}?{OTHER_SECRET}@127.0.0.1/db",
            f"postgresql://u:{SECRET}#{OTHER_SECRET}@127.0.0.1:1/db",
            f"postgresql://u:{SECRET}%zz{OTHER_SECRET}@127.0.0.1:1/db",
            f"postgresql://u:{SECRET} {OTHER_SECRET}@127.0.0.1:1/db",
            f"postgresql://u:[{SECRET}{OTHER_SECRET}@127.0.0.1:1/db",
            f"postgresql+psycopg://u:{SECRET}{OTHER_SECRET}@127.0.0.1:1/db",
            f"u:{SECRET}{OTHER_SECRET}@127.0.0.1:1/db",
            f"host=127.0.0.1 port=1 password={SECRET} {OTHER_SECRET}",
            f"postgresql://u:{SECRET}\0{OTHER_SECRET}@127.0.0.1:1/db",
            f"postgresql://u:{SECRET}\ud800{OTHER_SECRET}@127.0.0.1:1/db",
        ],
    )
    def test_a_malformed_url_shows_no_secret(self, url: str) -> None:
        history = HistoryDatabase(SecretStr(url))
        with pytest.raises(HistoryDatabaseError, match="HISTORY_DATABASE_URL") as refusal:
            history.migrate()
        assert_tells_no_secret(refusal.value)

    def test_a_server_that_is_not_there_may_come_back(self) -> None:
        url = f"postgresql://u:{SECRET}@127.0.0.1:1/db?application_name={OTHER_SECRET}"
        with pytest.raises(HistoryUnavailableError, match=r"host 127\.0\.0\.1, port 1") as refusal:
            HistoryDatabase(SecretStr(url)).migrate()
        assert refusal.value.retryable
        assert_tells_no_secret(refusal.value)

    def test_a_missing_database_is_named(self, postgres_server: EmbeddedPostgres) -> None:
        url = postgres_server.url("nowhere")
        with pytest.raises(
            HistoryAccessError, match=r"database nowhere.* does not exist.*createdb"
        ):
            HistoryDatabase(SecretStr(url)).migrate()

    def test_a_wrong_password_is_refused_without_showing_it(
        self, postgres_server: EmbeddedPostgres, url: str, role: str
    ) -> None:
        [(path,)] = values(url, "SELECT current_setting('hba_file')")
        rules = Path(str(path))
        before = rules.read_text()
        execute(url, f"ALTER ROLE {role} PASSWORD 'right'")
        execute(url, f"GRANT CREATE ON DATABASE {database_name(url)} TO {role}")
        without_password = postgres_server.url(database_name(url), role)
        wrong = HistoryDatabase(SecretStr(without_password.replace("@", f":{SECRET}@", 1)))
        try:
            rules.write_text(f"local all {role} scram-sha-256\n{before}")
            execute(url, "SELECT pg_reload_conf()")
            with pytest.raises(
                HistoryAccessError, match="password authentication failed"
            ) as refusal:
                migrate_until_refused(wrong)
        finally:
            rules.write_text(before)
            execute(url, "SELECT pg_reload_conf()")
        assert not refusal.value.retryable
        assert_tells_no_secret(refusal.value)


def migrate_until_refused(history: HistoryDatabase) -> None:
    """The server reads its rules again some time after it was told to."""
    while True:
        history.migrate()
