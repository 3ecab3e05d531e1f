"""Why no connection comes about: what passes is told from what a person has to mend.

The same for the fleet database and for the history; and words decide nothing, so the server speaks
another language where it can.
"""

import re
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, create_server

import psycopg
import pytest
from pydantic import SecretStr

from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.errors import FleetDatabaseError
from pipelines.history.connection import HistoryDatabaseError
from pipelines.history.database import HistoryDatabase
from pipelines.instance import InstanceUnusableError
from pipelines.instance.opening import require_reachable
from tests.integration.fleet_support import create_fleet, extract, run_sql
from tests.integration.tcp_door import free_port, open_door

NewDatabase = Callable[..., str]

Failure = FleetDatabaseError | HistoryDatabaseError


def failures(url: str) -> list[Failure]:
    """Of those who connect, what each says."""
    with pytest.raises(FleetDatabaseError) as of_fleet:
        extract(url)
    with pytest.raises(HistoryDatabaseError) as of_history:
        HistoryDatabase(SecretStr(url)).migrate()
    return [of_fleet.value, of_history.value]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, in which role `limited` may log in with its password only."""
    folder = Path(tempfile.mkdtemp(prefix="flakelag-test-"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    try:
        server.start()
        create_fleet(server.ensure_database("fleet"))
        server.ensure_database("closed")
        access = server.data_dir / "cluster" / "pg_hba.conf"
        access.write_text(
            f"local all limited scram-sha-256\nlocal all rejected reject\n{access.read_text()}"
        )
        run_sql(
            server.url(),
            "CREATE ROLE limited LOGIN PASSWORD 'right' CONNECTION LIMIT 0",
            "CREATE ROLE rejected LOGIN",
            "CREATE ROLE nologin NOLOGIN",
            "CREATE ROLE stranger LOGIN",
            "REVOKE CONNECT ON DATABASE fleet FROM PUBLIC",
            "ALTER DATABASE closed ALLOW_CONNECTIONS false",
            "SELECT pg_reload_conf()",
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


# Role, database and further options; none needs a certificate.
FOR_A_PERSON = {
    "no such database": ("postgres", "nothing", ""),
    "database that takes no connections": ("postgres", "closed", ""),
    "no such role": ("nobody", "fleet", ""),
    "role that may not log in": ("nologin", "fleet", ""),
    "role without CONNECT": ("stranger", "fleet", ""),
    "rejected by pg_hba.conf": ("rejected", "fleet", ""),
    "no password": ("limited", "fleet", ""),
    "wrong password": ("limited:wrong", "fleet", ""),
    "unknown startup option": ("postgres", "fleet", "options=-c%20nonsense%3D1"),
    "startup option of no such value": ("postgres", "fleet", "options=-c%20timezone%3Dnowhere"),
    "authentication that the server does not ask for": (
        "postgres",
        "fleet",
        "require_auth=scram-sha-256",
    ),
    "channel binding that the server does not have": (
        "postgres",
        "fleet",
        "channel_binding=require",
    ),
    "weak sslmode for the system's certificates": (
        "postgres",
        "fleet",
        "sslrootcert=system&sslmode=require",
    ),
    "no such sslmode": ("postgres", "fleet", "sslmode=nonsense"),
    "no such require_auth": ("postgres", "fleet", "require_auth=nonsense"),
    "no number of seconds": ("postgres", "fleet", "connect_timeout=soon"),
}


def url_of(server: EmbeddedPostgres, login: str, database: str, options: str = "") -> str:
    url = server.url(database).replace("postgres@", f"{login}@", 1)
    return f"{url}&{options}" if options else url


@pytest.mark.parametrize("case", FOR_A_PERSON)
def test_what_no_retry_can_mend_is_not_tried_again(server: EmbeddedPostgres, case: str) -> None:
    for failure in failures(url_of(server, *FOR_A_PERSON[case])):
        assert not failure.retryable, failure
        assert "_DATABASE_URL" in str(failure)


def test_a_database_that_is_not_there_is_all_that_is_asked_about(server: EmbeddedPostgres) -> None:
    for failure in failures(url_of(server, "postgres", "nothing")):
        said = re.compile(r"\. Check \w+_DATABASE_URL: the name of the database\.( Make .*)?$")
        assert said.search(str(failure)), failure
        assert len(str(failure)) < 400


def test_a_server_that_is_full_may_be_tried_again(server: EmbeddedPostgres) -> None:
    for failure in failures(url_of(server, "limited:right", "fleet")):
        assert failure.retryable
        assert "too many connections" in str(failure)


def test_a_server_of_the_wanted_kind_may_come(server: EmbeddedPostgres) -> None:
    url = url_of(server, "postgres", "fleet", "target_session_attrs=standby")
    for failure in failures(url):
        assert failure.retryable


def test_a_server_that_hangs_up_may_be_tried_again() -> None:
    with create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    listener.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        port = listener.getsockname()[1]
        for failure in failures(f"postgresql://u:canary@127.0.0.1:{port}/x"):
            assert failure.retryable
        listener.shutdown(SHUT_RDWR)
        hanging_up.join()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "nowhere.invalid", "127.0.0.1:1,127.0.0.1:2", "%2Fnowhere"]
)
def test_a_server_that_is_not_there_may_come_back(host: str) -> None:
    for failure in failures(f"postgresql://u:canary@{host}/x"):
        assert failure.retryable
        assert "canary" not in str(failure)


@contextmanager
def tls_door(server: EmbeddedPostgres, certificate: Path, key: Path) -> Iterator[int]:
    """A port that ends TLS, as the server would if it had it, and leads to its socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    plain = free_port()
    socket_of_server = server.data_dir / "cluster" / ".s.PGSQL.5432"
    with open_door(plain, socket_of_server), create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        # The request for TLS, and the consent.
                        connection.recv(8)
                        connection.sendall(b"S")
                        with context.wrap_socket(connection, server_side=True) as inside:
                            # The request to start, which nobody sends who is not content.
                            inside.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(SHUT_RDWR)
            serving.join()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities that trust themselves alone, `ours` for `localhost` and `theirs`."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "theirs"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *(
                    "-subj",
                    "/CN=elsewhere.example",
                    "-keyout",
                    f"{name}.key",
                    "-out",
                    f"{name}.crt",
                ),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return folder


@pytest.mark.parametrize(
    ("authority", "sslmode"),
    [("theirs.crt", "verify-ca"), ("ours.crt", "verify-full"), ("missing.crt", "verify-ca")],
    ids=["signed by another", "issued for another host", "no such file"],
)
def test_trouble_with_a_certificate_is_named_as_such(
    server: EmbeddedPostgres, certificates: Path, authority: str, sslmode: str
) -> None:
    with tls_door(server, certificates / "ours.crt", certificates / "ours.key") as port:
        url = (
            f"postgresql://postgres@localhost:{port}/fleet?sslmode={sslmode}"
            f"&sslrootcert={certificates / authority}&gssencmode=disable"
        )
        for failure in failures(url):
            assert not failure.retryable, failure
            assert "certificate" in str(failure)
            assert "sslrootcert" in str(failure)


def test_a_server_without_tls_is_named_as_such(server: EmbeddedPostgres) -> None:
    port = free_port()
    with open_door(port, server.data_dir / "cluster" / ".s.PGSQL.5432"):
        for failure in failures(f"postgresql://postgres@127.0.0.1:{port}/fleet?sslmode=require"):
            assert not failure.retryable
            assert "must speak TLS" in str(failure)


def test_dagsters_storage_is_told_the_same(server: EmbeddedPostgres) -> None:
    with pytest.raises(InstanceUnusableError, match=r"DAGSTER_POSTGRES_URL: user, password"):
        require_reachable(SecretStr(url_of(server, "limited:wrong", "fleet")))


FAULTS_OF_DATA = {
    "22012": "1 / 0",
    "22P02": "name::integer",
    "P0001": "public.raise_it()",
}


@pytest.mark.parametrize("state", FAULTS_OF_DATA)
@pytest.mark.parametrize("states_before", [0, 100_000])
def test_a_row_that_cant_be_computed_is_a_persons_matter(
    new_database: NewDatabase, state: str, states_before: int
) -> None:
    """At the start of the stream, or in the middle of it."""
    url = create_fleet(new_database(), states=states_before)
    fault = FAULTS_OF_DATA[state].replace("name", "hostname")
    run_sql(
        url,
        "CREATE FUNCTION public.raise_it() RETURNS integer LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'no'; END $$",
        "ALTER TABLE system_states RENAME TO real_states",
        "CREATE VIEW system_states AS SELECT id, hostname, change_reason, timestamp,"
        f" store_path || CASE WHEN id > {states_before} THEN ({fault})::text ELSE '' END"
        " AS store_path FROM real_states",
    )

    with pytest.raises(FleetDatabaseError) as caught:
        extract(url, batch_bytes=100_000)

    assert not caught.value.retryable
    assert "public.system_states" in str(caught.value)
    assert state in str(caught.value)


def test_psycopg_still_lends_us_libpqs_verbosity(server: EmbeddedPostgres) -> None:
    """Without it every refusal would look as if the server hung up."""
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url("nothing"))
    assert not failures(server.url("nothing"))[0].retryable
