"""From the URL of a repository to the pages of its commits."""

import pytest

from assets.compute.forges import CommitPages, Forge, OwnForges, commit_pages


def _pages(base: str) -> CommitPages:
    return CommitPages(f"{base}/commit/{{commit}}", f"{base}/compare/{{base}}...{{head}}")


GITHUB = _pages("https://github.com/acme/fleet")
GITLAB = _pages("https://gitlab.com/acme/infra/fleet/-")


@pytest.mark.parametrize(
    "repo_url",
    [
        "https://github.com/acme/fleet",
        "https://github.com/acme/fleet.git",
        "https://github.com/acme/fleet/",
        "HTTPS://GitHub.com/acme/fleet",
        "git+https://github.com/acme/fleet?ref=main&dir=hosts",
        "git+https://oauth2:secret@github.com/acme/fleet.git",
        "git+ssh://git@github.com/acme/fleet.git",
        "ssh://git@github.com:22/acme/fleet.git",
        "git://github.com/acme/fleet.git",
        "git@github.com:acme/fleet.git",
        "git@github.com:/acme/fleet",
        "github.com:acme/fleet",
        "github:acme/fleet",
        "github:acme/fleet/main",
        "github:acme/fleet?dir=hosts",
    ],
)
def test_every_spelling_of_a_repository_leads_to_the_same_pages(repo_url: str) -> None:
    assert commit_pages(repo_url) == GITHUB


@pytest.mark.parametrize(
    ("repo_url", "pages"),
    [
        ("https://gitlab.com/acme/infra/fleet.git", GITLAB),
        ("git@gitlab.com:acme/infra/fleet.git", GITLAB),
        ("gitlab:acme%2Finfra/fleet", GITLAB),
        (
            "gitlab:acme/fleet?host=gitlab.example.org",
            _pages("https://gitlab.example.org/acme/fleet/-"),
        ),
        ("ssh://git@gitlab.example.org:2222/a/b", _pages("https://gitlab.example.org/a/b/-")),
        ("https://codeberg.org/acme/fleet", _pages("https://codeberg.org/acme/fleet")),
        (
            "https://forgejo.example.org:8443/acme/fleet",
            _pages("https://forgejo.example.org:8443/acme/fleet"),
        ),
        ("http://gitea.internal/acme/fleet", _pages("http://gitea.internal/acme/fleet")),
        (
            "https://git.sr.ht/~acme/fleet",
            CommitPages("https://git.sr.ht/~acme/fleet/commit/{commit}", None),
        ),
        (
            "sourcehut:~acme/fleet",
            CommitPages("https://git.sr.ht/~acme/fleet/commit/{commit}", None),
        ),
        (
            "git@git.sr.ht:~acme/fleet",
            CommitPages("https://git.sr.ht/~acme/fleet/commit/{commit}", None),
        ),
    ],
)
def test_each_forge_has_addresses_of_its_own(repo_url: str, pages: CommitPages) -> None:
    assert commit_pages(repo_url) == pages


@pytest.mark.parametrize(
    "repo_url",
    [
        "",
        " ",
        "fleet",
        "path:/srv/fleet",
        "git+file:///srv/fleet",
        "file:///github.com/acme/fleet",
        "/srv/git/fleet.git",
        "https://git.example.org/acme/fleet",
        "https://github.com.example.org/acme/fleet",
        "https://mygitlab.example.org/acme/fleet",
        "https://github.com",
        "https://github.com/acme",
        "https://github.com/acme/fleet/tree/main",
        "https://codeberg.org/acme/infra/fleet",
        "https://git.sr.ht/acme/fleet",
        "https://gitlab.com/acme/../fleet",
        "https://gitlab.com/acme/%2e%2e/fleet",
        "https://github.com/acme/fl%22eet",
        "https://github.com/acme/{commit}",
        "https://github.com:notaport/acme/fleet",
        "https://[github.com/acme/fleet",
        "javascript://github.com/acme/fleet",
        "github:acme",
        "github:acme/fleet?host=evil.example/x",
        "indirect:nixpkgs",
    ],
)
def test_where_the_forge_is_not_certain_there_is_no_link(repo_url: str) -> None:
    assert commit_pages(repo_url) is None


def test_what_runs_on_a_host_of_one_s_own_can_be_told() -> None:
    forges = OwnForges.read("git.example.org=gitea, Code.example.org = GitLab,")
    assert forges.by_host == {"git.example.org": Forge.GITEA, "code.example.org": Forge.GITLAB}
    address = "git+ssh://git@git.example.org/acme/fleet.git"
    assert commit_pages(address, forges) == _pages("https://git.example.org/acme/fleet")
    assert commit_pages("https://github.com/acme/fleet", forges) == GITHUB


@pytest.mark.parametrize("text", ["gitea", "git.example.org", "=gitea", "a=cgit", "a b=gitea"])
def test_what_is_no_host_and_forge_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="github, gitlab, gitea, sourcehut"):
        OwnForges.read(text)
