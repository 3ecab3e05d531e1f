"""Which commits were visible, asked for many flakes and instants at once."""

from assets.compute.commit_order import CommitOrder
from assets.compute.encoding import Integers, ends_before


def visible_ends(commits: CommitOrder, flakes: Integers, instants: Integers) -> Integers:
    """One after the position of each flake's last commit made before the instant.

    Where there is none it is the position of the flake's first commit, so that the commits visible
    at the instant are always those in [start of the flake, end).

    Args:
        commits: all of them.
        flakes: flake codes.
        instants: microseconds, one for each flake code.
    """
    return ends_before(
        commits.timestamps, commits.starts[flakes], commits.starts[flakes + 1], instants
    )
