"""What to generate: the description of a demo fleet and its stock of names.

Belongs here: `DemoFleet`, the numbers that make a fleet believable, the words it is named with.
Does not belong here: drawing anything at random.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from pipelines.demo.source_schema import Generation

# No host of our own fleet: example.org is reserved for documentation.
REPOSITORY_URL = "git+ssh://git@git.example.org/fleet/{}.git"
# Its forge is known by its name, so that commits have links.
NEWEST_REPOSITORY_URL = "git+ssh://git@gitlab.example.org/fleet/{}.git"

_FEWEST_DAYS = 10


@dataclass(frozen=True, kw_only=True)
class DemoFleet:
    """A fleet to generate; equal descriptions give equal tables.

    With at least 4 flakes and 40 systems every deployment_status and every unknown_reason occurs at
    `until`: one flake is then deployed by nobody, and one is so new, and its author's clock so
    fast, that it has no visible commit yet. In the newest generation every behind_reason,
    feed_status and liveness occurs too, and one flake is deleted: the one before the last, or of 4
    flakes the one that nobody else deploys. Smaller fleets get what fits into them.

    Attributes:
        until: the fleet's present, aware; no report and no commit is later, other than the few
            commits of clocks that run a month fast. Truncate it for tables that stay equal from
            one call to the next.
        systems: hosts, the few unregistered ones among them.
        flakes: repositories; sizes follow Zipf's law.
        days: length of the history before `until`.
        commits: in all flakes together, one a flake at least.
        seed: of everything that is random.
        generation: of the schema.
        package_derivations: rows of `derivations` that are no system.
        deployments_per_host: at most, besides rollbacks and the like. None: 1,000, until the fleet
            could have 300,000.
        reports_per_host: states that are no deployment, on average. None: 80, until the fleet would
            have 800,000.
        derivations_per_host: of the latest commits, besides those that were deployed. None: 200,
            until the fleet would have 200,000.
    """

    until: datetime
    systems: int = 200
    flakes: int = 6
    days: int = 120
    commits: int = 300
    seed: int = 20_26
    generation: Generation = "newest"
    package_derivations: int = 30_000
    deployments_per_host: int | None = None
    reports_per_host: int | None = None
    derivations_per_host: int | None = None

    def __post_init__(self) -> None:
        if self.until.tzinfo is None:
            raise ValueError("DemoFleet.until must be aware, such as datetime.now(UTC)")
        if min(self.systems, self.flakes, self.commits) < 1 or self.days < _FEWEST_DAYS:
            raise ValueError(
                f"DemoFleet needs at least one system, flake and commit, and {_FEWEST_DAYS} days"
            )

    @property
    def is_newest(self) -> bool:
        """Whether the schema is of the newest generation."""
        return self.generation == "newest"

    @property
    def until_us(self) -> int:
        """`until` in microseconds since 1970, exactly."""
        since_epoch = self.until - datetime(1970, 1, 1, tzinfo=UTC)
        return since_epoch // timedelta(microseconds=1)

    def per_host(self, wanted: int | None, usual: int, budget: int, least: int) -> int:
        """`wanted`, or else `usual` unless so many hosts would have more than `budget` rows."""
        return wanted if wanted is not None else max(least, min(usual, budget // self.systems))


class HostKind(IntEnum):
    """What is special about a host; most are ORDINARY."""

    ORDINARY = 0
    NO_DEPLOYMENT = 1  # registered, not installed yet
    DEACTIVATED = 2
    LOCAL_BUILD = 3  # runs what somebody built on the host: its path is in no table
    NO_COMMIT = 4  # runs a derivation that is linked to no commit
    MOVED = 5  # registered to another flake, still runs the one before
    MOVED_AND_DEPLOYED = 6  # changed its flake during the history
    NO_FLAKE = 7  # registered without a flake
    UNREGISTERED = 8
    AHEAD = 9  # runs a commit of a clock that runs fast
    NEW_FLAKE = 10  # runs the flake of which no commit is visible yet
    DELETED_FLAKE = 11  # registered to a flake that is deleted, and runs it


SHARES = {
    HostKind.NO_DEPLOYMENT: 0.03,
    HostKind.DEACTIVATED: 0.02,
    HostKind.LOCAL_BUILD: 0.02,
    HostKind.NO_COMMIT: 0.01,
    HostKind.MOVED: 0.015,
    HostKind.MOVED_AND_DEPLOYED: 0.02,
    HostKind.NO_FLAKE: 0.015,
    HostKind.UNREGISTERED: 0.02,
    HostKind.AHEAD: 0.01,
    HostKind.NEW_FLAKE: 0.01,
    HostKind.DELETED_FLAKE: 0.01,
}


class Policy(IntEnum):
    """How a host follows its flake."""

    AUTOMATIC = 0  # asks every hour, takes what is built
    STAGED = 1  # every third release, ring by ring
    OCCASIONAL = 2  # when somebody thinks of it
    STRAGGLER = 3  # as OCCASIONAL, and one day nobody thinks of it any more


POLICY_SHARES = (0.60, 0.24, 0.10, 0.06)

# Parts of a flake's hosts that a commit touches or spares together: its modules, one might say.
MODULES = 6

NIXOS_RELEASE = "26.05"
ENVIRONMENTS = ("production", "staging", "development")
ENVIRONMENT_SHARES = (0.68, 0.18, 0.10)  # the rest has none


@dataclass(frozen=True)
class NamingStyle:
    """How the hosts of a flake are called: `{first}-{second}-{number}`."""

    flake: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    numbered: bool = True


NAMING_STYLES = (
    NamingStyle(
        "infrastructure",
        ("web", "db", "cache", "queue", "lb", "mon", "mail", "auth", "git", "backup"),
        ("fra1", "hel1", "nue1", "ams2"),
    ),
    NamingStyle(
        "edge-gateways",
        ("gw", "relay"),
        ("ber", "muc", "vie", "prg", "waw", "zrh", "cph", "lis", "mad", "rix", "osl", "bru"),
    ),
    NamingStyle(
        "workstations",
        (
            *("anna", "bilal", "chiara", "dmitri", "elif", "fatou", "goran", "hanna", "ines"),
            *("jonas", "katya", "lukas", "marta", "nils", "olga", "piotr", "rosa", "sven"),
            *("tomas", "ulla", "viktor", "wanda", "yusuf", "zoe"),
        ),
        ("thinkpad", "framework", "desktop", "nuc"),
        numbered=False,
    ),
    NamingStyle("build-farm", ("builder", "hydra", "cache"), ("x86", "arm")),
)
UNDEPLOYED_FLAKE = "kiosk-displays"
NEW_FLAKE = "imaging-lab"
DELETED_FLAKE = "thin-clients"
NEW_FLAKE_HOST = "lab"
UNREGISTERED_HOST = "loaner"

PACKAGES = (
    *("openssl-3.5.4", "systemd-258.2", "glibc-2.42", "bash-5.3", "coreutils-9.8", "curl-8.17.0"),
    *("openssh-10.2", "nginx-1.28.0", "postgresql-18.1", "python3-3.13.9", "perl-5.42.0"),
    *("git-2.51.2", "linux-6.12.58", "gcc-15.2.0", "rustc-1.91.1", "nix-2.31.2", "zlib-1.3.1"),
    *("sqlite-3.50.4", "grafana-12.2.1", "prometheus-3.7.3", "redis-8.2.3", "haproxy-3.2.8"),
)
