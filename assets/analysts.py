"""For analysts: one DuckDB file beside the datasets, which holds views over them and no row.

It depends on no asset: the views follow from the dictionary, and whoever asks them reads the files.
"""

import datetime as dt
import tempfile
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from assets.exports.duckdb_views import (
    REPORTS_VARIABLE,
    analyst_statements,
    sql_literal,
    views_for_analysts,
)
from assets.publishing.interfaces import OutsideFailure, ReportStore
from assets.publishing.layout import ANALYSTS_FILE, file_of
from assets.publishing.metadata import OWNERS
from assets.schemas import PUBLISHED_DATASETS

# The oldest format that DuckDB still writes, so that every DuckDB since 1.1 can open the file.
STORAGE_VERSION = "v1.0.0"


@dg.asset(
    group_name="report",
    kinds={"duckdb"},
    owners=OWNERS,
    description=(
        f"`{ANALYSTS_FILE}`: views over the published files, under the names of the datasets, for "
        "DuckDB and every tool that opens its files. It holds no row, so it is always current."
    ),
    # The same for every run, so none needs to say it.
    metadata={
        "views": dg.MetadataValue.md(
            "\n".join(f"- `{view.name}`: {view.description}" for view in views_for_analysts())
        )
    },
    pool="analyst_views",
)
def analyst_views(reports: dg.ResourceParam[ReportStore]) -> dg.MaterializeResult[None]:
    """Writes the database of views beside the datasets' folders."""
    content = analyst_database()
    path = reports.write_atomically(ANALYSTS_FILE, content)
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(path)), "bytes": len(content)}
    )


def analyst_database() -> bytes:
    """A DuckDB file with the views; the same bytes each time.

    It is made beside empty stand-ins for the datasets: DuckDB resolves a view when it is created,
    and not every dataset needs to be published by then.

    Raises:
        OutsideFailure: the temporary folder is full, and the like.
    """
    # For the last step of a run; nobody waits for it at the start.
    import duckdb  # noqa: PLC0415

    try:
        with tempfile.TemporaryDirectory(prefix="flakelag-") as folder:
            return _made_in(Path(folder))
    except (OSError, duckdb.Error) as error:
        raise OutsideFailure(
            f"Can't make {ANALYSTS_FILE} in {tempfile.gettempdir()}: {error}. Free some space "
            "there, or set TMPDIR to a folder that has some and can be written."
        ) from error


def _made_in(folder: Path) -> bytes:
    import duckdb  # noqa: PLC0415

    for dataset in PUBLISHED_DATASETS:
        file = folder / file_of(dataset.name, dt.date(2000, 1, 1))
        file.parent.mkdir(parents=True)
        pq.write_table(dataset.arrow_schema.empty_table(), file)
    database = folder / ANALYSTS_FILE
    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH {sql_literal(str(database))} AS views "
            f"(STORAGE_VERSION {sql_literal(STORAGE_VERSION)})"
        )
        connection.execute(f"SET VARIABLE {REPORTS_VARIABLE} = {sql_literal(str(folder))}")
        connection.execute("USE views")
        # One transaction, because each would wait for the disk.
        connection.execute("BEGIN")
        for statement in analyst_statements():
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("USE memory")
        connection.execute("DETACH views")
    return database.read_bytes()
