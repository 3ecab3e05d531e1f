"""A demo fleet, made up from a seed: the tables of a Crystal Forge database.

Belongs here: the way in, `generate_fleet(DemoFleet(...))`. Does not belong here: databases; see
`pipelines.demo.load`.
"""

import pyarrow as pa

from assets.schemas import SOURCE_TABLES
from pipelines.demo.commits import draw_commits, plan_flakes
from pipelines.demo.deployments import draw_events
from pipelines.demo.derivation_rows import derivations_table
from pipelines.demo.hosts import draw_hosts, flake_names
from pipelines.demo.source_schema import Generation, deployed_path_column
from pipelines.demo.spec import DemoFleet
from pipelines.demo.state_rows import state_tables
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
    events = draw_events(spec, plan, commits, hosts)
    return {
        "environments": environments_table(spec),
        "derivation_statuses": derivation_statuses_table(),
        "flakes": flakes_table(flake_names(spec, plan)),
        "commits": commits_table(spec, commits),
        "derivations": derivations_table(spec, commits, hosts, events),
        "systems": systems_table(spec, hosts),
        **state_tables(spec, commits, hosts, events),
    }


def staged_tables(tables: dict[str, pa.Table], generation: Generation) -> dict[str, pa.Table]:
    """Brings generated tables into the form of the staged source tables, without a database.

    For benchmarks of computations alone; the extraction is what really does this.
    """
    staged = {}
    for dataset in SOURCE_TABLES:
        table = tables[dataset.name]
        if dataset.name == "derivations":
            table = table.filter(pa.compute.not_equal(table["derivation_type"], "package"))
        elif dataset.name == "system_states":
            old = deployed_path_column(generation)
            table = table.rename_columns(
                ["deployed_path" if name == old else name for name in table.column_names]
            )
        columns = [
            table[column.name]
            if column.name in table.column_names
            else pa.nulls(len(table), column.type)
            for column in dataset.columns
        ]
        arrays = dict(zip(dataset.column_names, columns, strict=True))
        staged[dataset.name] = pa.table(arrays).cast(dataset.arrow_schema)
    return staged
