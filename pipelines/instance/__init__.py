"""Dagster's instance: its folder made ready, one `dagster.yaml` for each kind of storage."""

from importlib.resources import files
from pathlib import Path

from pipelines.settings import Settings


def prepare_instance(settings: Settings) -> Path:
    """Makes the instance folder ready and leaves one that has a `dagster.yaml` as it is.

    Returns:
        The folder: what `DAGSTER_HOME` must name.
    """
    folder = settings.instance_dir
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        storage = "sqlite" if settings.dagster_postgres_url is None else "postgres"
        templates = files(__package__)
        configuration.write_text(
            templates.joinpath(f"dagster-{storage}.yaml").read_text()
            + templates.joinpath("common.yaml").read_text()
        )
    return folder
