"""Where a commit can be looked at: the web pages of the forges that host the flakes.

Belongs here: from the URL of a repository to the pages of its commits. Does not belong here: asking
a forge anything. Where the forge isn't known for certain there is no link: a wrong one is worse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

COMMIT, BASE, HEAD = "{commit}", "{base}", "{head}"
HASH = "[0-9a-f]{40}|[0-9a-f]{64}"
"""What a git hash is, as a regular expression; another text gets no link."""


class Forge(StrEnum):
    """A kind of software that hosts repositories; each has pages of its own for commits."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    SOURCEHUT = "sourcehut"


# Forgejo kept the addresses of Gitea. Of a comparison sourcehut has no page.
_PAGES = {
    Forge.GITHUB: (f"/commit/{COMMIT}", f"/compare/{BASE}...{HEAD}"),
    Forge.GITLAB: (f"/-/commit/{COMMIT}", f"/-/compare/{BASE}...{HEAD}"),
    Forge.GITEA: (f"/commit/{COMMIT}", f"/compare/{BASE}...{HEAD}"),
    Forge.SOURCEHUT: (f"/commit/{COMMIT}", None),
}

_PUBLIC = {
    "github.com": Forge.GITHUB,
    "gitlab.com": Forge.GITLAB,
    "codeberg.org": Forge.GITEA,
    "gitea.com": Forge.GITEA,
    "git.sr.ht": Forge.SOURCEHUT,
}
# Who names a host after the software runs that software.
_TELLING_LABELS = {
    "gitlab": Forge.GITLAB,
    "gitea": Forge.GITEA,
    "forgejo": Forge.GITEA,
}
_SHORTHANDS = {
    "github": (Forge.GITHUB, "github.com"),
    "gitlab": (Forge.GITLAB, "gitlab.com"),
    "sourcehut": (Forge.SOURCEHUT, "git.sr.ht"),
}

_WEB_SCHEMES = {"http", "https"}
_OTHER_SCHEMES = {"ssh", "git"}
_SCP_LIKE = re.compile(r"(?:[^@/:\s]+@)?(?P<host>[^@/:\s]+):(?P<path>[^:\s]+)")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_SOURCEHUT_USER = re.compile(r"~[a-z0-9_-]+")


@dataclass(frozen=True)
class OwnForges:
    """What runs on hosts of one's own, whose names do not tell.

    Attributes:
        by_host: the forge of each host.
    """

    by_host: Mapping[str, Forge]

    @classmethod
    def read(cls, text: str) -> "OwnForges":
        """From `git.example.org=gitea, code.example.org=gitlab`.

        Raises:
            ValueError: it is not of this form, or there is no such forge.
        """
        by_host = {}
        for entry in filter(None, (entry.strip() for entry in text.split(","))):
            host, _, forge = (part.strip().lower() for part in entry.partition("="))
            if not _HOST.fullmatch(host) or forge not in set(Forge):
                raise ValueError(
                    f"not a host and its forge, such as git.example.org=gitea; there is: "
                    f"{', '.join(Forge)}"
                )
            by_host[host] = Forge(forge)
        return cls(by_host)


NO_OWN_FORGES = OwnForges({})


@dataclass(frozen=True)
class CommitPages:
    """The addresses of a repository's pages, with gaps for git hashes.

    Attributes:
        commit: of one commit, with the gap `{commit}`.
        comparison: of what lies between two, with `{base}` and `{head}`; None where the forge has
            no such page.
    """

    commit: str
    comparison: str | None


def commit_pages(repo_url: str, own: OwnForges = NO_OWN_FORGES) -> CommitPages | None:
    """The pages of a repository's commits; None where they aren't known for certain.

    Understands what Nix takes for a flake (`github:owner/repo`, `git+ssh://…`) and git for a remote
    (`https://…`, `ssh://…`, `git@host:path`). A user, a password, a branch and a port that is not
    the web's do not get into the address.

    Args:
        repo_url: of the flake.
        own: what runs on hosts of one's own.
    """
    known = {**_PUBLIC, **own.by_host}
    found = _shorthand(repo_url) or _address(repo_url, known)
    if found is None:
        return None
    forge, web, path = found
    segments = path.strip("/").removesuffix(".git").split("/")
    if not _is_repository(forge, segments):
        return None
    base = f"{web}/{'/'.join(segments)}"
    commit, comparison = _PAGES[forge]
    return CommitPages(base + commit, comparison and base + comparison)


def commit_link(template: str | None, commit_hash: str | None) -> str | None:
    """The page of a commit; None where forge or commit are not known."""
    if template is None or not _is_hash(commit_hash):
        return None
    return template.replace(COMMIT, str(commit_hash))


def comparison_link(template: str | None, base: str | None, head: str | None) -> str | None:
    """The page of what `head` has and `base` has not; None where that is nothing or not known."""
    if template is None or base == head or not (_is_hash(base) and _is_hash(head)):
        return None
    return template.replace(BASE, str(base)).replace(HEAD, str(head))


def _is_hash(text: str | None) -> bool:
    return text is not None and re.fullmatch(HASH, text) is not None


def _shorthand(repo_url: str) -> tuple[Forge, str, str] | None:
    scheme, _, rest = repo_url.partition(":")
    if scheme not in _SHORTHANDS or rest.startswith("//"):
        return None
    forge, usual_host = _SHORTHANDS[scheme]
    path, _, query = rest.partition("?")
    host = parse_qs(query).get("host", [usual_host])[0].lower()
    # What follows owner and repository is a branch or a commit.
    segments = [unquote(segment) for segment in path.split("/")[:2]]
    return (forge, f"https://{host}", "/".join(segments)) if _HOST.fullmatch(host) else None


def _address(repo_url: str, known: Mapping[str, Forge]) -> tuple[Forge, str, str] | None:
    if "://" not in repo_url:
        scp = _SCP_LIKE.fullmatch(repo_url)
        if scp is None:
            return None
        repo_url = f"ssh://{scp['host']}/{scp['path']}"
    try:
        url = urlsplit(repo_url.removeprefix("git+"))
        host = (url.hostname or "").lower()
        web = _web_address(url, host)
    except ValueError:
        return None
    forge = known.get(host) or _TELLING_LABELS.get(host.partition(".")[0])
    if forge is None or web is None or not _HOST.fullmatch(host):
        return None
    return forge, web, unquote(url.path)


def _web_address(url: SplitResult, host: str) -> str | None:
    if url.scheme in _OTHER_SCHEMES:
        return f"https://{host}"
    if url.scheme not in _WEB_SCHEMES:
        return None
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")


def _is_repository(forge: Forge, segments: list[str]) -> bool:
    if any(segment in (".", "..") for segment in segments):
        return False
    if forge == Forge.SOURCEHUT:
        return (
            len(segments) == 2
            and _SOURCEHUT_USER.fullmatch(segments[0]) is not None
            and _SEGMENT.fullmatch(segments[1]) is not None
        )
    is_deep_enough = len(segments) >= 2 if forge == Forge.GITLAB else len(segments) == 2
    return is_deep_enough and all(_SEGMENT.fullmatch(segment) for segment in segments)
