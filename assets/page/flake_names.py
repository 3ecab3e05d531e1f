"""What the page calls each flake."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from assets.page.wording import plain_records
from assets.publishing.display import display_name

NO_FLAKE = "no flake"


@dataclass(frozen=True)
class FlakeNames:
    """The label of each flake; names are not unique, labels are.

    Attributes:
        labels: by flake id.
    """

    labels: Mapping[int, str]

    def __getitem__(self, flake_id: int | None) -> str:
        """The label of a flake, also of one that is in no table; `NO_FLAKE` for None."""
        if flake_id is None:
            return NO_FLAKE
        return self.labels.get(int(flake_id), f"flake {int(flake_id)}")


def flake_names(frames: Iterable[pd.DataFrame | None]) -> FlakeNames:
    """Names the flakes of frames that have the columns flake_id and flake_name.

    A name that several flakes share is followed by the flake's id.
    """
    names = {
        int(record["flake_id"]): display_name(record["flake_name"])
        for frame in frames
        if frame is not None
        for record in plain_records(
            frame[["flake_id", "flake_name"]].dropna().drop_duplicates("flake_id")
        )
    }
    shared = pd.Series(names, dtype="str").duplicated(keep=False)
    return FlakeNames(
        {
            flake_id: f"{name} (flake {flake_id})" if shared[flake_id] else name
            for flake_id, name in names.items()
        }
    )
