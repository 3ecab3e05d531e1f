"""The graph is the code: what an asset depends on is what its step opens, and the other way round.

An auditor reads the lineage as evidence. So real runs are watched: the files by the kernel, the
databases at the door.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from assets.publishing.interfaces import ExtractSink, ExtractSummary
from assets.schemas import DEPLOYMENT_HISTORY, PUBLISHED_DATASETS, QUARANTINE, SOURCE_TABLES
from pipelines.definitions import defs
from pipelines.embedded.postgres import EmbeddedPostgres
from pipelines.fleet.extraction import FleetDatabase
from pipelines.jobs import FLEET_STATUS_JOB
from tests.integration.opened_files import Opened, OpenedFiles
from tests.integration.pipeline import Pipeline, failures, quiet_instance
from tests.integration.tcp_door import Door, free_port, open_door

SOURCE = "read_fleet_database"
DAYS = [(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)).isoformat() for days in (2, 1)]


STEPS = {
    definition.op.name: frozenset(key.to_user_string() for key in definition.keys)
    for definition in defs.resolve_asset_graph().assets_defs
}
"""The assets that each step makes."""


def declared(step: str) -> set[str]:
    """The assets that those of a step depend on."""
    graph = defs.resolve_asset_graph()
    parents = (graph.get(dg.AssetKey(asset)).parent_keys for asset in STEPS[step])
    return {key.to_user_string() for keys in parents for key in keys}


@dataclass(frozen=True)
class Watched:
    """What steps did.

    Attributes:
        reports_dir: below which they worked.
        together: what each step opened in a run of all of them.
        alone: what each opened in a run of its own.
        visitors: how many connections each, alone, made to the fleet and the history database.
    """

    reports_dir: Path
    together: Mapping[str, Opened]
    alone: Mapping[str, Opened]
    visitors: Mapping[str, tuple[int, int]]

    def asset_of(self, file: Path) -> str | None:
        """The asset that a file holds; None for what the store notes down for itself."""
        own, *rest = file.relative_to(self.reports_dir).parts
        if own != "_store":
            return own
        is_table = "extracts" in rest and file.suffix == ".parquet"
        return file.stem if is_table else None

    def upstream(self, opened: Opened, step: str) -> set[str]:
        """The assets that were opened, a step's own earlier versions aside."""
        assets = {self.asset_of(file) for file in opened.files}
        return {asset for asset in assets if asset is not None} - STEPS[step]


class WatchedFleet:
    """The fleet database; when it is read, the folder that it is staged in is watched."""

    def __init__(self, database: FleetDatabase, files: OpenedFiles, staging: Path) -> None:
        self._database = database
        self._files = files
        self._staging = staging

    def extract(self, sink: ExtractSink) -> ExtractSummary:
        """Reads all tables."""
        self._files.watch(self._staging)
        return self._database.extract(sink)


def run_all(pipeline: Pipeline, files: OpenedFiles) -> dict[str, Opened]:
    """Runs the main job, and says what each step opened."""
    opened = {}

    @dg.success_hook
    def note(context: dg.HookContext) -> None:
        opened[context.op.name] = files.since_last_asked()

    job = pipeline.definitions().resolve_job_def(FLEET_STATUS_JOB).with_hooks({note})
    tags = dict(zip(("start", "end"), DAYS, strict=True))
    result = job.execute_in_process(
        instance=pipeline.instance,
        tags={f"dagster/asset_partition_range_{end}": day for end, day in tags.items()},
    )
    assert result.success
    return opened


def run_alone(
    pipeline: Pipeline, files: OpenedFiles, doors: tuple[Door, Door]
) -> tuple[dict[str, Opened], dict[str, tuple[int, int]]]:
    """Runs each step in a run of its own, and says what it opened and whom it visited."""
    opened, visitors = {}, {}
    for step, assets in STEPS.items():
        files.since_last_asked()
        before = [door.visitors for door in doors]
        result = pipeline.run(*DAYS, selection=sorted(assets))
        assert result.success, failures(result)
        opened[step] = files.since_last_asked()
        fleet, history = (door.visitors - n for door, n in zip(doors, before, strict=True))
        visitors[step] = fleet, history
    return opened, visitors


def through_door(url: str, port: int) -> str:
    """The same user and database by way of a TCP port."""
    return make_conninfo(url, host="127.0.0.1", port=port)


@pytest.fixture(scope="module")
def watched(
    demo_fleet_url: str, postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """Two closed days, published twice by all steps together and once by each alone."""
    folder = tmp_path_factory.mktemp("watched")
    socket = Path(postgres_server.data_dir) / "cluster" / ".s.PGSQL.5432"
    ports = free_port(), free_port()
    fleet_url = through_door(demo_fleet_url, ports[0])
    history_url = through_door(postgres_server.ensure_database("test_asset_graph"), ports[1])
    reports_dir = folder / "reports"
    with (
        open_door(ports[0], socket) as fleet_door,
        open_door(ports[1], socket) as history_door,
        quiet_instance(folder / "dagster") as instance,
        OpenedFiles() as files,
    ):
        pipeline = Pipeline(fleet_url, history_url, reports_dir, instance)
        first = pipeline.run(*DAYS)
        assert first.success, failures(first)
        files.watch(reports_dir)
        database = FleetDatabase(SecretStr(fleet_url))
        staging = reports_dir / "_store" / "staging" / "extracts"
        pipeline.overrides = {"fleet_database": WatchedFleet(database, files, staging)}
        together = run_all(pipeline, files)
        alone, visitors = run_alone(pipeline, files, (fleet_door, history_door))
        yield Watched(reports_dir, together, alone, visitors)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_step_alone_opens_what_it_depends_on_and_nothing_else(
    watched: Watched, step: str
) -> None:
    assert watched.upstream(watched.alone[step], step) == declared(step)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_step_among_others_opens_nothing_that_it_does_not_depend_on(
    watched: Watched, step: str
) -> None:
    assert watched.upstream(watched.together[step], step) <= declared(step)


def test_a_run_reads_each_staged_table_once(watched: Watched) -> None:
    reads: Counter[Path] = sum((step.reads for step in watched.together.values()), Counter())
    by_extract: dict[Path, dict[str, int]] = {}
    for file, times in reads.items():
        if "extracts" in file.parts and file.suffix == ".parquet":
            by_extract.setdefault(file.parent, {})[file.stem] = times
    before, now = sorted(by_extract.values(), key=len)
    # Whether it is the same fleet is judged by the flakes of the reading before.
    assert before == {"flakes": 1}
    assert now == {table.name: 1 for table in (*SOURCE_TABLES, QUARANTINE)}


def test_only_the_assets_that_say_so_use_a_database(watched: Watched) -> None:
    graph = defs.resolve_asset_graph()
    kept = {
        step
        for step, assets in STEPS.items()
        for asset in assets
        if "dagster/table_name" in graph.get(dg.AssetKey(asset)).metadata
    }
    assert {step for step, (fleet, _) in watched.visitors.items() if fleet} == {SOURCE}
    assert {step for step, (_, history) in watched.visitors.items() if history} == kept


def test_columns_derive_from_columns_of_assets_directly_upstream() -> None:
    datasets = {d.name: d for d in (*SOURCE_TABLES, *PUBLISHED_DATASETS, DEPLOYMENT_HISTORY)}
    step_of = {asset: step for step, assets in STEPS.items() for asset in assets}
    for dataset in datasets.values():
        upstream = declared(step_of[dataset.name])
        for column in dataset.columns:
            for source in column.derived_from:
                asset, name = source.split(".")
                assert asset in upstream, (dataset.name, column.name, source)
                assert name in datasets[asset].column_names, (dataset.name, column.name, source)


def test_every_computed_dataset_shows_where_its_columns_come_from() -> None:
    for dataset in {*PUBLISHED_DATASETS, DEPLOYMENT_HISTORY} - {QUARANTINE}:
        assert any(column.derived_from for column in dataset.columns), dataset.name
