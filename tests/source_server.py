"""How a fleet's server fills its tables of flakes and commits, for replays of what goes wrong.

A small model of `source-schema.md`, "How commits get there": the repository is the truth, and the
server writes down what it hears of it, by polls and by webhooks. Belongs here: what the server
writes. Does not belong here: what follows from its rows.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.plain_reading.rows import BranchCommit, Commit, Derivation, Flake, Fleet, State, System

FLAKE = 1
HOST = "web"


@dataclass
class Repository:
    """A git repository with one tracked branch.

    Attributes:
        branch: the commits of the tracked branch, oldest first: hash and committer's timestamp.
    """

    branch: list[tuple[str, datetime]] = field(default_factory=list)

    def push(self, *commits: tuple[str, datetime]) -> None:
        """Adds commits to the branch."""
        self.branch += commits

    def force_push(self, keep: int, *commits: tuple[str, datetime]) -> None:
        """Rewrites the branch after its first commits."""
        self.branch = [*self.branch[:keep], *commits]

    @property
    def head(self) -> str:
        """Hash of the newest commit of the branch."""
        return self.branch[-1][0]


@dataclass
class Server:
    """The server of one flake and one host.

    Attributes:
        repository: what it polls.
        is_third_generation: whether it records how its reading went.
        depth: of its clone.
    """

    repository: Repository
    is_third_generation: bool = True
    depth: int = 500
    flake: Flake = field(default_factory=lambda: Flake(FLAKE, "infra", "https://git.example/1.git"))
    commits: list[Commit] = field(default_factory=list)
    snapshot: list[BranchCommit] = field(default_factory=list)
    last_known: str | None = None

    def poll(self, now: datetime) -> None:
        """`git log <last known>..HEAD` in a clone of limited depth."""
        self._record(now, "syncing")
        hashes = [commit_hash for commit_hash, _ in self.repository.branch][-self.depth :]
        if self.last_known is not None and self.last_known not in hashes:
            if not self.is_third_generation:
                # A warning in a log, at every poll from then on.
                return
            if self.last_known in [commit_hash for commit_hash, _ in self.repository.branch]:
                self._record(now, "error", "the last known commit is beyond the clone's depth")
                return
        for commit_hash, made_at in self.repository.branch[-self.depth :]:
            self._insert(commit_hash, made_at)
        self.last_known = self.repository.head
        self._take_snapshot(now)
        self._record(now, "synced")

    def begin_and_die(self, now: datetime) -> None:
        """A poll whose process dies."""
        self._record(now, "syncing")

    def fail(self, now: datetime, why: str = "could not read from remote repository") -> None:
        """A poll that can't reach the forge."""
        self._record(now, "error", why)

    def webhook(self, commit_hash: str, now: datetime) -> None:
        """A push is announced: its head alone is inserted, stamped with the server's clock."""
        self._insert(commit_hash, now)
        self.last_known = commit_hash

    def fleet(self, running: str, since: datetime) -> Fleet:
        """All tables; the host runs a commit since an instant, and each commit has its output."""
        return Fleet(
            flakes=(self.flake,),
            commits=tuple(self.commits),
            derivations=tuple(
                Derivation(c.id, c.id, "nixos", HOST, None, f"/{c.git_commit_hash}", 1, None)
                for c in self.commits
            ),
            systems=(System("id", HOST, None, None, FLAKE, None, None),),
            system_states=(State(1, HOST, f"/{running}", since),),
            flake_branch_commit_snapshot=(
                tuple(self.snapshot) if self.is_third_generation else None
            ),
        )

    def _record(self, now: datetime, status: str, error: str | None = None) -> None:
        if self.is_third_generation:
            kept = self.flake.last_sync_error if status == "syncing" else error
            self.flake = replace(
                self.flake, sync_status=status, last_sync_at=now, last_sync_error=kept
            )

    def _insert(self, commit_hash: str, made_at: datetime) -> None:
        if commit_hash not in [each.git_commit_hash for each in self.commits]:
            self.commits.append(Commit(len(self.commits) + 1, FLAKE, commit_hash, made_at))

    def _take_snapshot(self, now: datetime) -> None:
        if not self.is_third_generation:
            return
        on_branch = [commit_hash for commit_hash, _ in self.repository.branch]
        ids = {each.git_commit_hash: each.id for each in self.commits}
        self.commits = [
            replace(each, source_archived=each.git_commit_hash not in on_branch)
            for each in self.commits
        ]
        self.snapshot = [
            BranchCommit(FLAKE, ids[commit_hash], position, now)
            for position, commit_hash in enumerate(reversed(on_branch))
            if commit_hash in ids
        ]
        self.flake = replace(self.flake, snapshot_ready_at=now)
