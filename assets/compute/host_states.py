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
        heartbeats: one row a heartbeat during a report's state, by (report, timestamp); report (row
            label in `reports`), timestamp. None where the fleet does not record them.
    """

    paths: pa.Array
    reports: pd.DataFrame
    runs: pd.DataFrame
    heartbeats: pd.DataFrame | None

    def last_before(self, instant: pd.Timestamp) -> pd.DataFrame:
        """The last report before the instant of each host that has one; the row label is host.

        Returns:
            timestamp, run and report: its row label in `reports`.
        """
        visible = self.reports[self.reports["timestamp"] < instant]
        last = visible.drop_duplicates("host", keep="last").reset_index(names="report")
        return last.set_index("host")

    def last_heartbeats(self, instant: pd.Timestamp) -> "pd.Series[pd.Timestamp]":
        """By report, the last heartbeat before the instant; nothing where there is none."""
        if self.heartbeats is None:
            return self.reports["timestamp"].head(0)
        visible = self.heartbeats[self.heartbeats["timestamp"] < instant]
        return visible.drop_duplicates("report", keep="last").set_index("report")["timestamp"]


def order_states(
    states: pd.DataFrame, hostnames: pa.Array, heartbeats: pd.DataFrame | None
) -> HostStates:
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
        heartbeats=None if heartbeats is None else _order_heartbeats(heartbeats, reports),
    )


def _order_heartbeats(heartbeats: pd.DataFrame, reports: pd.DataFrame) -> pd.DataFrame:
    state_ids = heartbeats["system_state_id"].astype("int64")
    # Of millions of reports only the few that have a heartbeat are looked up.
    beating = reports.loc[reports["state_id"].isin(state_ids), "state_id"]
    of_report = pd.Series(beating.index, beating, name="report")
    found = heartbeats[["timestamp"]].assign(report=state_ids.map(of_report))
    found = found.dropna(subset="report").astype({"report": "int64"})
    return found.sort_values(["report", "timestamp"], ignore_index=True)
