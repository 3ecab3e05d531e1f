"""How Dagster shows the datasets: column schemas, lineage, counts and previews."""

import dagster as dg
import pyarrow as pa

from assets.interfaces import Publication, StagedExtract
from assets.schemas import Column, Dataset

OWNERS = ["team:fleet-operations"]
PREVIEW_ROWS = 10

Metadata = dict[str, dg.MetadataValue | int | float | str]


def definition_metadata(dataset: Dataset) -> Metadata:
    """What is known of a dataset before it is made: its columns, grain, key and order."""
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(_table_schema(dataset)),
        "grain": dataset.grain,
        "key": ", ".join(dataset.key),
        "row_order": dataset.order_by,
    }


def column_lineage(dataset: Dataset) -> dg.TableColumnLineageMetadataValue:
    """Which upstream columns each column is computed from."""
    return dg.MetadataValue.column_lineage(
        dg.TableColumnLineage(
            {
                column.name: [_column_dep(source) for source in column.derived_from]
                for column in dataset.columns
                if column.derived_from
            }
        )
    )


def row_metadata(dataset: Dataset, table: pa.Table) -> Metadata:
    """What is known of the rows: their number, the counts of each closed set, the first few."""
    metadata: Metadata = {
        "dagster/row_count": table.num_rows,
        "dagster/column_lineage": column_lineage(dataset),
        "preview": _preview(dataset, table),
    }
    for column in dataset.columns:
        if column.allowed is not None:
            counts = dict.fromkeys(column.allowed, 0) | _counts(table[column.name])
            metadata |= {f"{column.name}/{value}": count for value, count in counts.items()}
    return metadata


def publication_metadata(publication: Publication) -> Metadata:
    """Where a partition was published, and what became of what was there."""
    return {
        "path": dg.MetadataValue.path(str(publication.path)),
        "outcome": publication.outcome.value,
        "bytes": publication.bytes,
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
    unit = "" if column.unit is None else f" Unit: {column.unit}."
    return dg.TableColumn(
        name=column.name,
        type=column.sql_type,
        description=column.description + unit,
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable,
            other=[] if column.allowed is None else [f"one of: {', '.join(column.allowed)}"],
        ),
    )


def _column_dep(source: str) -> dg.TableColumnDep:
    asset, column = source.split(".")
    return dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=column)


def _preview(dataset: Dataset, table: pa.Table) -> dg.TableMetadataValue:
    rows = table.slice(0, PREVIEW_ROWS).to_pylist()
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _shown(value) for name, value in row.items()}) for row in rows
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn(name, column_type(dataset, name)) for name in table.column_names
            ]
        ),
    )


def column_type(dataset: Dataset, name: str) -> str:
    """Dagster's word for the type of a column of a preview."""
    return {"bigint": "int", "double precision": "float", "boolean": "bool"}.get(
        dataset[name].sql_type, "string"
    )


def _shown(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
