"""Dagster's own storage, SQLite and PostgreSQL: a real run in a fresh folder, read back."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from assets.schemas import SYSTEM_DEPLOYMENT_STATUS
from pipelines.definitions import defs
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.instance import InstanceUnusableError, prepare_instance
from pipelines.instance.opening import command_lock, require_reachable, sole_command
from pipelines.jobs import BACKFILL_JOB, FLEET_STATUS_JOB
from pipelines.settings import Settings
from tests.integration.command_process import flakelag, instance_at, slots_taken
from tests.integration.fleet_support import run_sql
from tests.integration.pipeline import today
from tests.integration.tcp_door import free_port, open_door


def settings(folder: Path, postgres_url: str | None = None) -> Settings:
    url = None if postgres_url is None else SecretStr(postgres_url)
    return Settings(dagster_home=folder, dagster_postgres_url=url)


def configuration(folder: Path) -> str:
    return (folder / "dagster.yaml").read_text()


IN_POSTGRES = "storage:\n  postgres:\n    postgres_url:\n      env: DAGSTER_POSTGRES_URL\n"


URL = "postgresql://dagster:canary@db.example/dagster"


def test_each_storage_has_its_dagster_yaml(tmp_path: Path) -> None:
    sqlite, postgres = tmp_path / "sqlite", tmp_path / "deep" / "postgres"
    assert prepare_instance(settings(sqlite)) == sqlite
    assert prepare_instance(settings(postgres, URL)) == postgres

    assert "storage:" not in configuration(sqlite)
    assert IN_POSTGRES in configuration(postgres)
    assert "canary" not in configuration(postgres)


def test_a_dagster_yaml_of_ones_own_is_left_as_it_is(tmp_path: Path) -> None:
    own = "telemetry:\n  enabled: false\n# mine\n"
    (tmp_path / "dagster.yaml").write_text(own)
    for url in (None, URL):
        prepare_instance(settings(tmp_path, url))
        assert (tmp_path / "dagster.yaml").read_text() == own


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"storage:\n  postgres: [canary\n", "line 3 is not YAML"),
        (b"storage:\n\tpostgres: canary\n", "line 2 is not YAML"),
        (b"storage: canary \xff\n", "it is not UTF-8"),
        (b"- canary\n", "it is no list of settings"),
        (b"canary\n", "it is no list of settings"),
    ],
)
def test_a_dagster_yaml_that_can_not_be_read_is_named_and_left(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "dagster.yaml"
    file.write_bytes(content)
    for url in (None, URL):
        with pytest.raises(InstanceUnusableError) as caught:
            prepare_instance(settings(tmp_path, url))
        assert str(caught.value) == f"Can't read {file}: {words}."
        assert file.read_bytes() == content


def test_a_dagster_yaml_that_leads_nowhere_is_named_and_left(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").symlink_to("nowhere")
    with pytest.raises(InstanceUnusableError, match="leads nowhere"):
        prepare_instance(settings(tmp_path))
    assert (tmp_path / "dagster.yaml").is_symlink()


def test_ours_is_left_once_it_was_changed(tmp_path: Path) -> None:
    prepare_instance(settings(tmp_path))
    with (tmp_path / "dagster.yaml").open("a") as file:
        file.write("# changed\n")
    prepare_instance(settings(tmp_path, URL))
    assert IN_POSTGRES not in configuration(tmp_path)


def test_ours_follows_the_settings_as_long_as_it_was_not(tmp_path: Path) -> None:
    prepare_instance(settings(tmp_path))
    prepare_instance(settings(tmp_path, URL))
    assert IN_POSTGRES in configuration(tmp_path)
    prepare_instance(settings(tmp_path))
    assert IN_POSTGRES not in configuration(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]


def test_a_folder_that_cant_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        InstanceUnusableError, match=r"file/dagster ready: Not a directory\. .* remove it\."
    ):
        prepare_instance(settings(tmp_path / "file" / "dagster"))


@dataclass(frozen=True)
class Reported:
    """What `flakelag report` did with one kind of storage, in a folder of its own."""

    folder: Path
    postgres_url: str | None
    result: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def reported(
    request: pytest.FixtureRequest,
    demo_fleet_url: str,
    postgres_server: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Reported:
    folder = tmp_path_factory.mktemp(request.param)
    given = {
        "FLEET_DATABASE_URL": demo_fleet_url,
        "HISTORY_DATABASE_URL": postgres_server.ensure_database(f"storage_{request.param}"),
    }
    url = None
    if request.param == "postgres":
        # A Unix socket, which SQLAlchemy and psycopg2 take as the parameter `host`, as libpq does.
        url = postgres_server.ensure_database("dagster_storage")
        # Dagster stores local wall time, and takes it for UTC.
        for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "array_nulls = off"):
            run_sql(url, f"ALTER DATABASE dagster_storage SET {setting}")
        given["DAGSTER_POSTGRES_URL"] = url
    return Reported(folder, url, flakelag(folder, "report", **given))


def test_the_job_runs_and_is_on_record(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reported.result.returncode == 0, reported.result.stderr
    home = reported.folder / "var" / "dagster"
    with instance_at(home, monkeypatch, reported.postgres_url) as instance:
        [run] = instance.get_runs()
        assert run.job_name == FLEET_STATUS_JOB
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags["dagster/partition"] == today()

        key = dg.AssetKey(SYSTEM_DEPLOYMENT_STATUS.name)
        assert instance.get_materialized_partitions(key) == {today()}
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        materialization = event.asset_materialization
        assert materialization is not None
        assert isinstance(materialization.metadata["dagster/row_count"].value, int)

        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(key, "statuses_in_closed_set")]
        )
        assert [check.run_id for check in checks.values()] == [run.run_id]
        assert slots_taken(instance) == set()


def test_it_lies_in_the_storage_that_was_chosen(reported: Reported) -> None:
    databases = list((reported.folder / "var" / "dagster").rglob("*.db"))
    if reported.postgres_url is None:
        assert databases
        return
    assert databases == []
    with psycopg.connect(reported.postgres_url) as connection:
        [(runs, events)] = connection.execute(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM event_logs)"
        ).fetchall()
    assert runs == 1
    assert events > 50


def test_its_times_are_utc_whatever_the_database_is_set_to(reported: Reported) -> None:
    if reported.postgres_url is None:
        return
    with psycopg.connect(reported.postgres_url, options="-c timezone=UTC") as connection:
        age = connection.execute(
            "SELECT abs(extract(epoch FROM now() - create_timestamp)) FROM runs"
        ).fetchone()
    assert age is not None
    # Hours less than the offset of the zone.
    assert age[0] < 4 * 3600


def test_a_storage_that_falls_silent_is_given_up_on(
    postgres_server: EmbeddedPostgres, demo_fleet_url: str, tmp_path: Path
) -> None:
    postgres_server.ensure_database("dagster_silent")
    port = free_port()
    given = {
        "DAGSTER_POSTGRES_URL": f"postgresql://postgres@127.0.0.1:{port}/dagster_silent",
        "FLEET_DATABASE_URL": demo_fleet_url,
        "DATABASE_STALL_SECONDS": "3",
    }
    # Enough for the look whether it is there; not for Dagster's first question.
    with open_door(port, postgres_server.data_dir / "cluster" / ".s.PGSQL.5432", lets_out=1_000):
        result = flakelag(tmp_path, "report", **given)
    assert result.returncode == 1
    assert "sent nothing for 3 s" in result.stderr


def test_one_command_has_the_instance_at_a_time(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = reported.folder / "var" / "dagster"
    with (
        instance_at(home, monkeypatch, reported.postgres_url) as instance,
        instance_at(home, monkeypatch, reported.postgres_url) as same_instance,
    ):
        with sole_command(instance), command_lock(same_instance) as try_to_lock:
            assert not try_to_lock()
        with command_lock(same_instance) as try_to_lock:
            assert try_to_lock()


def test_nothing_is_left_in_the_home_folder(reported: Reported) -> None:
    assert list((reported.folder / "home").rglob("*")) == []


def test_nothing_but_our_own_words_is_shown(reported: Reported) -> None:
    assert "Warning" not in reported.result.stderr
    assert "dagster" not in reported.result.stderr.lower()


def test_the_instance_is_set_up_to_run_unattended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_instance(settings(tmp_path))
    with instance_at(tmp_path, monkeypatch) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        limits = instance.get_concurrency_config()
        assert limits.pool_config.default_pool_limit == 1
        queue = limits.run_queue_config
        assert queue is not None
        assert queue.tag_concurrency_limits == [
            {"key": "dagster/partition", "limit": 1, "value": {"applyLimitPerUniqueValue": True}}
        ]
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        kept_days = {"skipped": 7, "failure": 30, "success": 30}
        assert instance.get_settings("retention") == {
            kind: {"purge_after_days": kept_days} for kind in ("schedule", "sensor")
        }


@pytest.mark.parametrize("job", [FLEET_STATUS_JOB, BACKFILL_JOB])
def test_every_step_writes_in_a_pool_and_all_in_one_process(job: str) -> None:
    resolved = defs.resolve_job_def(job)
    assert resolved.executor_def.name == dg.in_process_executor.name
    for node in resolved.graph.nodes:
        assert isinstance(node.definition, dg.OpDefinition)
        assert node.definition.pool, node.name


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:canary@127.0.0.1:1/x", "Connection refused"),
        ("postgresql://u:canary@ho@st:1:x/x", "is malformed"),
        ("mysql://u:canary@host/x", "is malformed"),
        ("canary", "is malformed"),
        ("postgresql://u:Connection@127.0.0.1:1/x", "withheld"),
    ],
)
def test_what_is_wrong_with_the_url_is_said_without_its_password(url: str, words: str) -> None:
    with pytest.raises(InstanceUnusableError, match=words) as caught:
        require_reachable(SecretStr(url))
    assert "DAGSTER_POSTGRES_URL" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_database_that_is_not_there_is_named(postgres_server: EmbeddedPostgres) -> None:
    with pytest.raises(InstanceUnusableError, match='database "nothing" does not exist'):
        require_reachable(SecretStr(postgres_server.url("nothing")))


def test_a_storage_that_cant_be_used_ends_the_command_with_one_line(tmp_path: Path) -> None:
    result = flakelag(
        tmp_path, "report", DAGSTER_POSTGRES_URL="postgresql://u:canary@127.0.0.1:1/x"
    )
    assert result.returncode == 1
    [_, error] = result.stderr.splitlines()
    assert error.startswith("Error: Dagster's storage (DAGSTER_POSTGRES_URL) can't be reached")
    assert "canary" not in result.stderr
    assert result.stdout == ""
