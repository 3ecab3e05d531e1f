"""What each host reported, in order, and when it began to run another path."""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from assets.compute.encoding import find_text, text_codes, translate


@dataclass(frozen=True)
class HostStates:
    """All reports, sorted by (host, timestamp, id), and the runs of one path that they form.

    A *run* is an unbroken sequence of a host's reports of the same path; its first is a deployment.

    Attributes:
        paths: the distinct deployed paths; a path's *code* is its index here.
        reports: one row a report; host (code), timestamp, run (row label in `runs`).
        runs: one row a run; host (code), path (code), deployed_at, system_state_id.
    """

    paths: pa.Array
    reports: pd.DataFrame
    runs: pd.DataFrame

    def last_before(self, instant: pd.Timestamp) -> pd.DataFrame:
        """The last report before the instant of each host that has one; the row label is host."""
        visible = self.reports[self.reports["timestamp"] < instant]
        return visible.drop_duplicates("host", keep="last").set_index("host")


def order_states(states: pd.DataFrame, hostnames: pa.Array) -> HostStates:
    """Sorts the states; `hostnames` must hold every hostname that occurs, by host code."""
    reported_hosts, reported_names = text_codes(states["hostname"])
    path, paths = text_codes(states["deployed_path"])
    reports = pd.DataFrame(
        {
            "host": translate(reported_hosts, find_text(reported_names, among=hostnames)),
            "path": path,
            "timestamp": states["timestamp"],
            "state_id": states["id"].astype("int64"),
        }
    ).sort_values(["host", "timestamp", "state_id"], ignore_index=True)
    begins_run = reports.groupby("host")["path"].shift() != reports["path"]
    runs = reports[begins_run].reset_index(drop=True)
    return HostStates(
        paths=paths,
        reports=reports[["host", "timestamp"]].assign(run=begins_run.cumsum() - 1),
        runs=runs.set_axis(["host", "path", "deployed_at", "system_state_id"], axis="columns"),
    )
