"""What must hold of the rollouts by environment before they are published."""

from dataclasses import dataclass

import pandas as pd

from assets.publishing.checks import EXAMPLES, Check, Verdict

ROLLOUT_COUNTS = ("commit_id", "hosts_eligible", "hosts_reached", "hosts_current")


@dataclass(frozen=True)
class RolloutCounts:
    """The rollouts by environment beside those over all systems, at least `ROLLOUT_COUNTS` of each.

    Attributes:
        in_all: None where what is published of the day is from another reading.
        by_environment: of some of these commits.
    """

    in_all: pd.DataFrame | None
    by_environment: pd.DataFrame


def judge_environments_sum(counts: RolloutCounts) -> Verdict:
    """Fails when the environments' counts of a commit do not add up to those over all systems."""
    key, *names = ROLLOUT_COUNTS
    summed = counts.by_environment.groupby(key)[names].sum()
    if counts.in_all is None:
        return Verdict(True, "commit_rollouts of the day is from another reading: not compared.")
    in_all = counts.in_all.set_index(key)[names].reindex(summed.index)
    unequal = summed.index[in_all.ne(summed).fillna(value=True).any(axis="columns")]
    measured = {"commits": len(summed), "commits_unequal": len(unequal)}
    if len(unequal):
        named = ", ".join(map(str, unequal[:EXAMPLES]))
        return Verdict(
            False,
            "The environments do not add up to commit_rollouts for the commits with commit_id "
            f"{named}.",
            measured,
        )
    return Verdict(True, f"The environments of {len(summed)} commits add up.", measured)


ENVIRONMENTS_SUM: Check[RolloutCounts] = Check(
    "environments_sum",
    "Each commit's counts by environment add up to those in commit_rollouts.",
    blocks=True,
    judge=judge_environments_sum,
)
