"""How Dagster shows the datasets: column schemas, lineage, counts and previews."""

import datetime as dt

import dagster as dg
import pyarrow as pa

from assets.publishing.display import display_name
from assets.publishing.instants import utc_minute
from assets.publishing.interfaces import Publication, StagedExtract
from assets.schemas import (
    COMMIT_ROLLOUTS,
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
    DEPLOYMENT_VELOCITY,
    DEPLOYMENTS,
    FLAKE_DEPLOYMENT_STATUS,
    QUARANTINE,
    SYSTEM_DEPLOYMENT_STATUS,
    Column,
    Dataset,
)
from assets.schemas.dictionary import INSTANT
from assets.schemas.source import DERIVATIONS, SYSTEMS

OWNERS = ["team:fleet-operations"]

PREVIEW_ROWS = 10
# The UI cuts off what is wider than the window, and can't be scrolled sideways.
PREVIEW_COLUMNS = 5
PREVIEW_CHARACTERS = 24
PREVIEWED = {
    SYSTEM_DEPLOYMENT_STATUS.name: (
        "hostname",
        "deployment_status",
        "commits_behind",
        "hours_behind",
        "flake_name",
    ),
    FLAKE_DEPLOYMENT_STATUS.name: (
        "flake_name",
        "systems_total",
        "systems_behind",
        "commits_behind_max",
        "latest_commit_timestamp",
    ),
    DEPLOYMENTS.name: (
        "deployed_at",
        "hostname",
        "deployment_kind",
        "flake_name",
        "commits_included",
    ),
    DEPLOYMENT_VELOCITY.name: (
        "flake_name",
        "new_commits",
        "host_deployments",
        "rollbacks",
        "up_to_date_share",
    ),
    COMMIT_ROLLOUTS.name: (
        "flake_name",
        "commit_timestamp",
        "hosts_eligible",
        "hosts_reached",
        "hosts_current",
    ),
    COMMIT_ROLLOUTS_BY_ENVIRONMENT.name: (
        "flake_name",
        "commit_timestamp",
        "environment",
        "hosts_eligible",
        "hosts_reached",
    ),
    DERIVATIONS.name: (
        "id",
        "commit_id",
        "derivation_type",
        "derivation_name",
        "status_id",
    ),
    SYSTEMS.name: ("hostname", "flake_id", "is_active", "system_configuration_name", "created_at"),
    QUARANTINE.name: ("source_table", "row_key", "source_column", "reason", "raw_text"),
}
"""The columns that a person looks at first, where they are not the first of the dataset."""

Metadata = dict[str, dg.MetadataValue | int | float | str]


def description_of(dataset: Dataset) -> str:
    """What a dataset is and what one row is, as Markdown; the graph shows its beginning."""
    # Not capitalize(), which would write "utc".
    grain = dataset.grain[:1].upper() + dataset.grain[1:]
    key = ", ".join(f"`{name}`" for name in dataset.key)
    return f"{dataset.description}\n\n{grain}; key: {key}. Ordered by {dataset.order_by}."


def definition_metadata(dataset: Dataset) -> Metadata:
    """What is known of a dataset before it is made: its columns."""
    return {"dagster/column_schema": dg.MetadataValue.table_schema(_table_schema(dataset))}


def lineage_metadata(dataset: Dataset) -> Metadata:
    """Which upstream columns each column is computed from; Dagster takes it with a materialization.

    It is the same for every day, and larger than all else that is told of one.
    """
    lineage = dg.TableColumnLineage(
        {
            column.name: [_column_dep(source) for source in column.derived_from]
            for column in dataset.columns
            if column.derived_from
        }
    )
    return {"dagster/column_lineage": dg.MetadataValue.column_lineage(lineage)}


def row_metadata(dataset: Dataset, table: pa.Table, rows: int | None = None) -> Metadata:
    """What is known of the rows: their number, the counts of each closed set, the first few.

    Args:
        dataset: what the rows are.
        table: the rows.
        rows: how many there are, where the table has only the first of them.
    """
    metadata: Metadata = {"dagster/row_count": table.num_rows if rows is None else rows}
    for column in dataset.columns:
        if column.allowed is not None:
            # `status/behind`: the UI writes a longer key over the value beside it.
            kind = column.name.rpartition("_")[-1]
            counts = dict.fromkeys(column.allowed, 0) | _counts(table[column.name])
            metadata |= {f"{kind}/{value}": count for value, count in counts.items()}
    return metadata | {"preview": _preview(dataset, table)}


def publication_metadata(publication: Publication) -> Metadata:
    """Where a partition was published, and what became of what was there."""
    return {
        "path": dg.MetadataValue.path(str(publication.path)),
        "outcome": publication.outcome.value,
        "bytes": publication.partition.bytes,
    }


def staged_metadata(extract: StagedExtract, dataset: Dataset) -> Metadata:
    """When a source table was read, and where its rows are staged."""
    return {
        "path": dg.MetadataValue.path(str(extract.path / f"{dataset.name}.parquet")),
        "extracted_at": dg.MetadataValue.timestamp(extract.extracted_at),
    }


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return {
        entry["values"]: entry["counts"] for entry in values.drop_null().value_counts().to_pylist()
    }


def _table_schema(dataset: Dataset) -> dg.TableSchema:
    return dg.TableSchema(columns=[_table_column(column) for column in dataset.columns])


def _table_column(column: Column) -> dg.TableColumn:
    return dg.TableColumn(
        name=column.name,
        type=column.sql_type,
        description=_column_description(column),
        constraints=dg.TableColumnConstraints(nullable=column.nullable),
    )


def _column_description(column: Column) -> str:
    """As Markdown; what the UI would cut off or does not show elsewhere is said in words."""
    said = [column.description]
    if column.unit is not None and column.type != INSTANT:
        said.append(f"Unit: {column.unit}.")
    if column.allowed is not None:
        said.append(f"One of: {', '.join(f'`{value}`' for value in column.allowed)}.")
    if column.derived_from:
        said.append(f"\n\nFrom {', '.join(f'`{source}`' for source in column.derived_from)}.")
    return " ".join(said)


def _column_dep(source: str) -> dg.TableColumnDep:
    asset, column = source.split(".")
    return dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=column)


def _preview(dataset: Dataset, table: pa.Table) -> dg.TableMetadataValue:
    names = PREVIEWED.get(dataset.name, dataset.column_names[:PREVIEW_COLUMNS])
    rows = table.select(names).slice(0, PREVIEW_ROWS).to_pylist()
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _shown(value) for name, value in row.items()}) for row in rows
        ],
        schema=dg.TableSchema(
            columns=[dg.TableColumn(name, column_type(dataset, name)) for name in names]
        ),
    )


def column_type(dataset: Dataset, name: str) -> str:
    """Dagster's word for the type of a column of a preview."""
    return {"bigint": "int", "double precision": "float", "boolean": "bool"}.get(
        dataset[name].sql_type, "string"
    )


def _shown(value: object) -> str | int | float | bool | None:
    if isinstance(value, float):
        return round(value, 2)
    if value is None or isinstance(value, int):
        return value
    text = utc_minute(value) if isinstance(value, dt.datetime) else str(value)
    return display_name(text, PREVIEW_CHARACTERS)
