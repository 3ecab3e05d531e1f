"""What the assets need of the outside world, as protocols; `pipelines.resources` provides it.

Assets import these instead of the resources, so that imports go one way and a test may pass
anything of the same shape.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Protocol


class ExtractSummary(Protocol):
    """What one reading of the fleet database found."""

    @property
    def extracted_at(self) -> dt.datetime:
        """The database's time of the snapshot that was read."""
        ...

    @property
    def rows_staged(self) -> Mapping[str, int]:
        """By source table."""
        ...

    @property
    def rows_quarantined(self) -> Mapping[str, int]:
        """By source table."""
        ...
