"""Where the forge of each flake shows its commits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from assets.compute.forges import commit_link, comparison_link
from assets.page.wording import plain_records

# Of these the running commit is one of the associated flake; of the others it can be of another.
_OF_ITS_OWN_FLAKE = ("behind", "up_to_date", "ahead")


@dataclass(frozen=True)
class CommitLinks:
    """The addresses of commits, by flake.

    Attributes:
        templates: by flake id, of a commit's page and of a comparison's; None where not known.
    """

    templates: Mapping[int, tuple[str | None, str | None]]

    def commit(self, flake_id: int | None, commit_hash: str | None) -> str | None:
        """The page of a commit of a flake; None where it is not known for certain."""
        return commit_link(self._of(flake_id)[0], commit_hash)

    def running(self, record: Mapping[str, Any]) -> str | None:
        """The page of the commit that a system runs.

        Args:
            record: of `system_deployment_status`.
        """
        if record["deployment_status"] not in _OF_ITS_OWN_FLAKE:
            return None
        return self.commit(record["flake_id"], record["current_commit_hash"])

    def lacking(self, record: Mapping[str, Any]) -> str | None:
        """The page of what the latest commit has and a system that is behind lacks.

        Args:
            record: of `system_deployment_status`.
        """
        if record["deployment_status"] != "behind":
            return None
        return comparison_link(
            self._of(record["flake_id"])[1],
            record["current_commit_hash"],
            record["latest_commit_hash"],
        )

    def _of(self, flake_id: int | None) -> tuple[str | None, str | None]:
        return (None, None) if flake_id is None else self.templates.get(int(flake_id), (None, None))


def commit_links(flake_status: pd.DataFrame) -> CommitLinks:
    """The addresses for a snapshot of `flake_deployment_status`."""
    columns = ["flake_id", "commit_url_template", "comparison_url_template"]
    return CommitLinks(
        {
            int(record["flake_id"]): (
                record["commit_url_template"],
                record["comparison_url_template"],
            )
            for record in plain_records(flake_status[columns])
        }
    )
