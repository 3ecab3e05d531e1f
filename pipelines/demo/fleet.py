"""A demo fleet, made up from a seed: the tables of a Crystal Forge database.

Belongs here: the way in, `generate_fleet(DemoFleet(...))`. Does not belong here: databases; see
`pipelines.demo.load`.
"""

import pyarrow as pa
import pyarrow.compute as pc

from assets.schemas import SOURCE_TABLES
from assets.schemas.source import AGENT_HEARTBEATS, CACHE_PUSH_JOBS, SYSTEMS
from pipelines.demo.commits import draw_commits, plan_flakes
from pipelines.demo.deployments import draw_events
from pipelines.demo.derivation_rows import derivations_table, desired_targets
from pipelines.demo.evidence import cache_pushes_table
from pipelines.demo.feeds import branch_snapshot_table, with_evaluations, with_feeds
from pipelines.demo.hosts import draw_hosts, flake_names
from pipelines.demo.source_schema import Generation, deployed_path_column
from pipelines.demo.spec import DemoFleet
from pipelines.demo.state_rows import state_tables
from pipelines.demo.stories import draw_stories
from pipelines.demo.tables import (
    commits_table,
    derivation_statuses_table,
    environments_table,
    flakes_table,
    systems_table,
)

__all__ = ["DemoFleet", "generate_fleet", "staged_tables"]


def generate_fleet(spec: DemoFleet) -> dict[str, pa.Table]:
    """Makes up a fleet.

    Returns:
        By name, every table of the fleet database, required and optional, with the columns of the
        generation that was asked for; of the wide columns of `system_states` some. Integers are
        int64, UUIDs text, instants microseconds in UTC. Equal arguments give equal tables.
    """
    plan = plan_flakes(spec)
    commits = draw_commits(spec, plan)
    hosts = draw_hosts(spec, plan)
    stories = draw_stories(spec, plan, commits, hosts)
    events = stories.retell(draw_events(spec, plan, commits, hosts))
    desired = desired_targets(spec, commits, hosts, events, stories)
    tables = {
        "environments": environments_table(spec),
        "derivation_statuses": derivation_statuses_table(),
        "flakes": flakes_table(spec, flake_names(spec, plan)),
        "commits": commits_table(spec, commits),
        "derivations": derivations_table(spec, commits, hosts, events, stories),
        "systems": systems_table(spec, hosts, stories, desired),
        **state_tables(spec, commits, hosts, events, stories),
    }
    if spec.is_newest:
        tables |= {
            "flakes": with_feeds(spec, plan, tables["flakes"]),
            "commits": with_evaluations(spec, plan, commits, stories, tables["commits"]),
            "flake_branch_commit_snapshot": branch_snapshot_table(spec, plan, commits, stories),
            "cache_push_jobs": cache_pushes_table(spec, tables["derivations"]),
        }
    return tables


def staged_tables(tables: dict[str, pa.Table], generation: Generation) -> dict[str, pa.Table]:
    """Brings generated tables into the form of the staged source tables, without a database.

    For benchmarks of computations alone; the extraction is what really does this. Tables that the
    generation lacks, or that can't be read in it, are left out.
    """
    staged = {}
    for dataset in SOURCE_TABLES:
        if dataset.name not in tables or (dataset == AGENT_HEARTBEATS and generation != "newest"):
            continue
        table = tables[dataset.name]
        if dataset.name == "derivations":
            table = table.filter(pc.not_equal(table["derivation_type"], "package"))
        elif dataset.name == "system_states":
            old = deployed_path_column(generation)
            table = table.rename_columns(
                ["deployed_path" if name == old else name for name in table.column_names]
            )
        elif dataset == SYSTEMS and "deployment_policy" in table.column_names:
            policy = pc.fill_null(table["deployment_policy"], "manual")
            table = table.set_column(
                table.column_names.index("deployment_policy"), "deployment_policy", policy
            )
        elif dataset == CACHE_PUSH_JOBS:
            table = table.filter(pc.equal(table["status"], "completed"))
            table = table.group_by("derivation_id").aggregate([("completed_at", "min")])
            table = table.rename_columns(["derivation_id", "completed_at"])
        elif dataset == AGENT_HEARTBEATS:
            # Only of last states there are any.
            table = table.group_by("system_state_id").aggregate([("timestamp", "max")])
            table = table.rename_columns(["system_state_id", "timestamp"])
        columns = [
            table[column.name]
            if column.name in table.column_names
            else pa.nulls(len(table), column.type)
            for column in dataset.columns
        ]
        arrays = dict(zip(dataset.column_names, columns, strict=True))
        staged[dataset.name] = pa.table(arrays).cast(dataset.arrow_schema)
    return staged
