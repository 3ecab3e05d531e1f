"""The one dictionary: every dataset's columns, with type, nullability, unit and description.

A column's facts stand here and nowhere else. The Arrow schema of the published files, their field
metadata, the tables in the history database, the asset checks, Dagster's column schema and lineage
and `docs/data-dictionary.md` are all derived from these objects.
"""

from assets.schemas.deployments import DEPLOYMENT_HISTORY, DEPLOYMENTS
from assets.schemas.dictionary import Column, Dataset
from assets.schemas.rollouts import COMMIT_ROLLOUTS, COMMIT_ROLLOUTS_BY_ENVIRONMENT
from assets.schemas.source import OPTIONAL_TABLES, QUARANTINE, REQUIRED_TABLES, SOURCE_TABLES
from assets.schemas.status import FLAKE_DEPLOYMENT_STATUS, SYSTEM_DEPLOYMENT_STATUS
from assets.schemas.velocity import DEPLOYMENT_VELOCITY

DAILY_DATASETS = (
    SYSTEM_DEPLOYMENT_STATUS,
    FLAKE_DEPLOYMENT_STATUS,
    DEPLOYMENTS,
    DEPLOYMENT_VELOCITY,
    COMMIT_ROLLOUTS,
    COMMIT_ROLLOUTS_BY_ENVIRONMENT,
)
PUBLISHED_DATASETS = (*DAILY_DATASETS, QUARANTINE)

__all__ = [
    "COMMIT_ROLLOUTS",
    "COMMIT_ROLLOUTS_BY_ENVIRONMENT",
    "DAILY_DATASETS",
    "DEPLOYMENTS",
    "DEPLOYMENT_HISTORY",
    "DEPLOYMENT_VELOCITY",
    "FLAKE_DEPLOYMENT_STATUS",
    "OPTIONAL_TABLES",
    "PUBLISHED_DATASETS",
    "QUARANTINE",
    "REQUIRED_TABLES",
    "SOURCE_TABLES",
    "SYSTEM_DEPLOYMENT_STATUS",
    "Column",
    "Dataset",
]
