"""The demo fleet's third generation: what makes each new value of a report occur is there.

Held to the source's facts, table by table, whatever the seed and the hour. By the contract they
come to each `feed_status` and `liveness`, and to each `behind_reason`, one host at least:

| reason | the host, behind by the newest commit alone |
| --- | --- |
| nothing_to_deploy | reports the `.drv` path of a commit whose output the newest one has too |
| silent | has a last state and heartbeat of more than four hours ago |
| pinned, awaiting_release, rolling_out | could have what is built and pushed; by its policy |
| not_applied | was told to run that, and was seen since |
| not_cached | its build is complete, and no push of it |
| evaluation_failed, not_evaluated, build_failed, not_built | by the status of its derivation |
| not_in_flake, not_known | has no derivation; by the commit's `evaluation_status` |
"""

import functools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from assets.compute.fleet import frame_from_arrow
from pipelines.demo.fleet import DemoFleet, generate_fleet

UNTIL = datetime(2026, 11, 23, 9, 30, 15, 123456, tzinfo=UTC)
SIZES = [(40, 4), (60, 6), (200, 6)]
ANY_FLEET = pytest.mark.parametrize(
    ("systems", "flakes", "seed"), [(*size, seed) for size in SIZES for seed in range(4)]
)
STATUS = {
    "dry-run-failed": "evaluation_failed",
    "dry-run-pending": "not_evaluated",
    "build-failed": "build_failed",
    "build-in-progress": "not_built",
    "build-complete": "not_cached",
}


class Facts:
    """The tables as frames, with the commits and states that matter picked out.

    Attributes:
        now: the fleet's present.
        running: by hostname, its last state.
        heads: by flake id, its newest visible commit on the branch.
    """

    def __init__(self, systems: int, flakes: int, seed: int) -> None:
        self.now = pd.Timestamp(UNTIL + timedelta(hours=53 * seed))
        spec = DemoFleet(
            until=self.now.to_pydatetime(),
            systems=systems,
            flakes=flakes,
            seed=seed,
            package_derivations=100,
        )
        self.of = {name: frame_from_arrow(t) for name, t in generate_fleet(spec).items()}
        states = self.of["system_states"].sort_values(["timestamp", "id"])
        self.running = states.drop_duplicates("hostname", keep="last").set_index("hostname")
        commits = self.of["commits"].sort_values(["commit_timestamp", "id"])
        visible = commits[(commits["commit_timestamp"] < self.now) & ~commits["source_archived"]]
        self.heads = visible.drop_duplicates("flake_id", keep="last").set_index("flake_id")
        statuses = self.of["derivation_statuses"].set_index("id")["name"]
        builds = self.of["derivations"]
        self.builds = builds[builds["derivation_type"] == "nixos"].assign(
            status=builds["status_id"].map(statuses)
        )
        pushes = self.of["cache_push_jobs"]
        self.pushed = pushes[pushes["status"] == "completed"].groupby("derivation_id")[
            "completed_at"
        ]

    def seen(self) -> "pd.Series[pd.Timestamp]":
        """By hostname, when it was seen last."""
        beats = self.of["agent_heartbeats"].groupby("system_state_id")["timestamp"].max()
        beat = self.running["id"].map(beats)
        reported = self.running["timestamp"]
        return reported.where(beat.isna() | (beat < reported), beat)

    def matches(self) -> pd.DataFrame:
        """Of each host that runs a commit of its own flake: the newest one, with what runs it."""
        output = self.builds["store_path"].fillna(self.builds["expected_store_path"])
        by_path = pd.concat(
            [self.builds.assign(path=paths) for paths in (output, self.builds["derivation_path"])]
        ).dropna(subset=["path", "commit_id"])
        commits = self.of["commits"].rename(columns={"id": "commit_id"})
        running = self.running.reset_index()[["hostname", "store_path"]]
        found = running.merge(by_path, left_on="store_path", right_on="path").merge(
            commits, on="commit_id"
        )
        own = ["hostname", "flake_id", "deployment_policy", "desired_target"]
        found = found.merge(self.of["systems"][own], on=["hostname", "flake_id"])
        # Those on the branch before others, then the greatest in commit order.
        order = ["source_archived", "commit_timestamp", "commit_id"]
        found = found.sort_values(order, ascending=[False, True, True])
        return found.drop_duplicates("hostname", keep="last").set_index("hostname")

    def later(self, host: "pd.Series[Any]") -> int:
        """How many visible commits of the branch come after the one that a host runs."""
        commits = self.of["commits"]
        commits = commits[commits["flake_id"] == host["flake_id"]]
        commits = commits[~commits["source_archived"] & (commits["commit_timestamp"] < self.now)]
        at = host["commit_timestamp"]
        tied = (commits["commit_timestamp"] == at) & (commits["id"] > host["commit_id"])
        return int(((commits["commit_timestamp"] > at) | tied).sum())


# Of each fleet once; no test changes a frame.
facts_of = functools.cache(Facts)


def expected_reason(facts: Facts, hostname: str, host: "pd.Series[Any]") -> str | None:
    """Of a host behind by its flake's head alone, what the contract's table comes to."""
    head = facts.heads.loc[host["flake_id"]]
    builds = facts.builds[facts.builds["derivation_name"] == host["derivation_name"]]
    own = builds[builds["commit_id"] == head["id"]].sort_values("id")
    is_seen = facts.seen()[hostname]
    if len(own):
        current = builds[builds["commit_id"] == host["commit_id"]].sort_values("id")
        outputs = [
            part["store_path"].fillna(part["expected_store_path"]).iloc[-1]
            for part in (current, own)
        ]
        if outputs[0] == outputs[1]:
            return "nothing_to_deploy"
    if facts.now - is_seen > timedelta(hours=4):
        return "silent"
    if not len(own):
        status = head["evaluation_status"]
        return "not_known" if pd.isna(status) else {"complete": "not_in_flake"}.get(status)
    last = own.iloc[-1]
    if last["status"] not in ("cache-pushed", "build-complete", "complete"):
        return STATUS.get(str(last["status"]))
    if last["id"] not in facts.pushed.groups:
        return "not_cached"
    policy = host["deployment_policy"]
    if policy == "pinned":
        return "pinned"
    if host["desired_target"] == last["store_path"]:
        return "not_applied" if is_seen > facts.pushed.min()[last["id"]] else None
    return "rolling_out" if policy == "auto_latest" else "awaiting_release"


@ANY_FLEET
def test_a_host_is_behind_for_every_reason(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    seen = facts.seen()
    reasons: Counter[str | None] = Counter()
    for hostname, host in facts.matches().iterrows():
        later = facts.later(host)
        is_silent = facts.now - seen[str(hostname)] > timedelta(hours=4)
        if later == 1 or (later and is_silent):
            reasons[expected_reason(facts, str(hostname), host)] += 1
    assert set(reasons) >= {
        *("nothing_to_deploy", "silent", "pinned", "not_applied", "awaiting_release"),
        *("rolling_out", "not_cached", "evaluation_failed", "not_evaluated", "build_failed"),
        *("not_built", "not_in_flake", "not_known"),
    }


@ANY_FLEET
def test_feeds_are_current_stale_and_failing(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    flake = facts.of["flakes"]
    old = facts.now - flake["last_sync_at"] >= timedelta(hours=2)
    failing = flake["sync_status"] == "error"
    assert set(flake["sync_status"]) == {"synced", "syncing", "error"}
    assert (flake["last_sync_error"].notna() == failing).all()
    assert failing.any()
    assert (old & (flake["sync_status"] == "syncing")).any()
    current = flake.loc[~old & ~failing, "id"]
    # Most hosts follow a flake whose feed is current.
    assert facts.of["systems"]["flake_id"].isin(current).mean() > 0.6
    assert (flake["branch"] == "main").all()


@ANY_FLEET
def test_hosts_are_alive_late_missing_and_silent(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    registered = facts.of["systems"]
    active = set(registered.loc[registered["is_active"].fillna(value=True), "hostname"])
    ages = (facts.now - facts.seen()[[h for h in facts.running.index if h in active]]).dt
    names = ["alive", "late", "missing", "silent"]
    liveness = pd.cut(ages.total_seconds() / 60, [-1, 15, 60, 240, 10**9], labels=names)
    counts = liveness.value_counts()
    assert (counts > 0).all()
    assert counts["alive"] > 0.6 * counts.sum()
    # Only last states have heartbeats, and none before the state itself.
    beats = facts.of["agent_heartbeats"]
    assert set(beats["system_state_id"]) == set(facts.running["id"])
    begun = beats["system_state_id"].map(facts.running.set_index("id")["timestamp"])
    assert (beats["timestamp"] >= begun).all()


@ANY_FLEET
def test_history_was_rewritten_and_a_flake_deleted(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    commits = facts.of["commits"]
    archived = commits[commits["source_archived"]]
    run = facts.matches()
    run = run[run["source_archived"]]
    heads = run["flake_id"].map(facts.heads["commit_timestamp"])
    # A host runs one that is dated later than the head, and another an older one.
    assert (run["commit_timestamp"] > heads).any()
    assert (run["commit_timestamp"] < heads).any()
    assert len(archived) < 0.1 * len(commits)
    assert set(commits["evaluation_status"].dropna()) == {
        *("pending", "in_progress", "complete", "failed"),
    }

    flake = facts.of["flakes"]
    [deleted] = flake.loc[flake["deleted_at"].notna(), "id"]
    assert (facts.matches()["flake_id"] == deleted).any()
    assert (flake["deleted_at"].dropna() < facts.now).all()


@ANY_FLEET
def test_branches_are_as_git_log_lists_them(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    branch = facts.of["flake_branch_commit_snapshot"]
    commits = facts.of["commits"].set_index("id")
    found = branch.join(commits.drop(columns="flake_id"), on="commit_id")
    assert not found["source_archived"].any()
    assert (found["flake_id"] == found["commit_id"].map(commits["flake_id"])).all()
    found = found.sort_values(["flake_id", "position"])
    assert (found["position"] == found.groupby("flake_id").cumcount()).all()
    steps = found.groupby("flake_id")["commit_timestamp"].diff().dropna()
    assert (steps <= timedelta(0)).all()
    assert (found["observed_at"] < facts.now).all()
    ready = facts.of["flakes"].set_index("id")["snapshot_ready_at"]
    assert ready.isna().any()
    assert ready.notna().any()


@ANY_FLEET
def test_pushes_policies_and_predictions(systems: int, flakes: int, seed: int) -> None:
    facts = facts_of(systems, flakes, seed)
    pushes = facts.of["cache_push_jobs"]
    assert set(pushes["status"]) == {"pending", "in_progress", "completed", "failed"}
    assert (pushes["completed_at"].notna() == (pushes["status"] == "completed")).all()
    assert pushes["derivation_id"].duplicated().any()
    assert (pushes["completed_at"].dropna() < facts.now).all()
    policies = facts.of["systems"]["deployment_policy"]
    assert set(policies.dropna()) == {"manual", "auto_latest", "pinned"}
    assert policies.isna().any()
    targets = facts.of["systems"]["desired_target"]
    assert targets.notna().any()
    assert targets.isna().any()
    predicted = facts.builds[facts.builds["store_path"].isna()]["expected_store_path"].dropna()
    assert facts.running["store_path"].isin(predicted).any()
