"""Which requests the guard of the UI passes on: by name, by origin, and by form."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from pipelines.webserver.guard import Guard
from pipelines.webserver.names import OwnNames, read_names

JSON = ("content-type", "application/json")
Headers = list[tuple[str, str]]


async def _app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"it runs"})


def ask(
    headers: Headers,
    *,
    method: str = "GET",
    path: str = "/",
    names: OwnNames | None = None,
    server: tuple[str, int] = ("127.0.0.1", 3000),
    kind: str = "http",
) -> list[Message]:
    """What is sent in answer to a request."""
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "server": server,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(_app, names or OwnNames("127.0.0.1", 3000))
    asyncio.run(guard(scope, receive, send))
    return sent


def status(headers: Headers, **given: Any) -> int:
    return int(ask(headers, **given)[0]["status"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:3000", "localhost:3000", "LocalHost:3000", "[::1]:3000"]
)
def test_on_loopback_its_names_are_ours(host: str) -> None:
    assert status([("host", host)]) == 200
    assert status([("host", host), ("origin", f"http://{host}"), JSON], method="POST") == 200


@pytest.mark.parametrize(
    "host",
    [
        "somebody.test:3000",
        "localhost.somebody.test:3000",
        "localhost",
        "localhost:3001",
        "127.0.0.1",
        "127.0.0.1:3001",
        "127.0.0.2:3000",
        "0.0.0.0:3000",
        "localhost:3000@somebody.test",
        "localhost:3000 ",
        "localhost:03000/",
        "[::1",
        "",
        "localhost:3000,localhost:3000",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert status([("host", host)]) == 403


def test_without_a_host_or_with_two_nothing_is_answered() -> None:
    assert status([]) == 403
    assert status([("host", "localhost:3000"), ("host", "localhost:3000")]) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://localhost:3001",
        "http://localhost",
        "http://somebody.test",
        "http://somebody.test:3000",
        "file://",
        "chrome-extension://localhost:3000",
        "http://localhost:3000.somebody.test",
        "//localhost:3000",
        "localhost:3000",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
def test_other_origins_are_refused_whatever_they_ask(method: str, origin: str) -> None:
    headers = [("host", "localhost:3000"), ("origin", origin), JSON]

    assert status(headers, method=method) == 403
    own = ("origin", "http://localhost:3000")
    assert status([*headers, own], method=method) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything else"])
def test_what_a_browser_calls_foreign_is_refused(site: str) -> None:
    headers = [("host", "localhost:3000"), ("sec-fetch-site", site)]

    assert status(headers) == 403
    for destination in ("image", "iframe", "frame", "embed", "object", "script", "empty"):
        fetched = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", destination)]
        assert status([*headers, *fetched]) == 403
    link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    assert status([*headers, *link]) == 200
    assert status([*headers, *link, JSON], method="POST") == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_a_browser_calls_our_own_is_answered(site: str) -> None:
    assert status([("host", "localhost:3000"), ("sec-fetch-site", site)]) == 200


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql"])
def test_nothing_runs_by_get(path: str) -> None:
    host = ("host", "localhost:3000")

    for method in ("GET", "HEAD"):
        assert status([host], path=path, method=method) == 405
        assert status([host, ("accept", "*/*")], path=path, method=method) == 405
    # The page in which people write queries.
    assert status([host, ("accept", "text/html,*/*;q=0.8")], path=path) == 200


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["text/plain"],
        ["text/plain; application/json"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=application/json"],
        ["application/graphql"],
        ["application/jsonp"],
        ["application/json", "text/plain"],
    ],
)
def test_only_json_changes_anything(kinds: list[str]) -> None:
    headers = [("host", "localhost:3000"), *(("content-type", kind) for kind in kinds)]

    assert status(headers, method="POST", path="/graphql") == 415
    assert status(headers, method="POST", path="/report_asset_check/any") == 415


def test_json_may_name_its_encoding() -> None:
    headers = [("host", "localhost:3000"), ("content-type", "Application/JSON; charset=utf-8")]

    assert status(headers, method="POST") == 200


def test_no_answer_may_be_framed() -> None:
    for host in ("localhost:3000", "somebody.test"):
        [start, _] = ask([("host", host)])
        assert (b"x-frame-options", b"DENY") in start["headers"]
        assert (b"content-security-policy", b"frame-ancestors 'none'") in start["headers"]


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "somebody.test:3000"), ("origin", "http://somebody.test:3000")],
        [("host", "localhost:3000"), ("origin", "http://somebody.test")],
        [("host", "localhost:3000"), ("origin", "null")],
        [("host", "localhost:3000"), ("sec-fetch-site", "same-site")],
    ],
)
def test_a_foreign_websocket_is_closed_before_it_opens(headers: Headers) -> None:
    [sent] = ask(headers, kind="websocket")

    assert sent["type"] == "websocket.close"


def test_our_own_websocket_opens() -> None:
    own = [("host", "localhost:3000"), ("origin", "http://localhost:3000")]

    assert ask(own, kind="websocket")[0]["type"] == "http.response.start"


def test_behind_a_proxy_its_name_is_ours() -> None:
    names = OwnNames("127.0.0.1", 3000, read_names("fleet.example.org, other.example.org:8443"))
    for host, origin in (
        ("fleet.example.org", "https://fleet.example.org"),
        ("other.example.org:8443", "https://other.example.org:8443"),
        # Where the proxy puts its own idea of the host.
        ("127.0.0.1:3000", "https://fleet.example.org"),
        ("fleet.example.org:3000", "http://fleet.example.org:3000"),
    ):
        headers = [("host", host), ("origin", origin), JSON]
        assert status(headers, method="POST", names=names) == 200
    for origin in (
        "https://fleet.example.org:8443",
        "https://other.example.org",
        "https://www.fleet.example.org",
        "https://example.org",
    ):
        headers = [("host", "fleet.example.org"), ("origin", origin), JSON]
        assert status(headers, method="POST", names=names) == 403


@pytest.mark.parametrize(
    ("listens_on", "server", "host", "expected"),
    [
        ("0.0.0.0", ("10.0.0.5", 3000), "10.0.0.5:3000", 200),
        ("0.0.0.0", ("10.0.0.5", 3000), "10.0.0.6:3000", 403),
        ("0.0.0.0", ("10.0.0.5", 3000), "localhost:3000", 403),
        ("0.0.0.0", ("127.0.0.1", 3000), "localhost:3000", 200),
        ("::", ("fd00::5", 3000), "[fd00::5]:3000", 200),
        ("::1", ("::1", 3000), "[::1]:3000", 200),
        ("fleetbox.lan", ("10.0.0.5", 3000), "fleetbox.lan:3000", 200),
        ("fleetbox.lan", ("10.0.0.5", 3000), "fleetbox.lan", 403),
    ],
)
def test_the_address_of_the_connection_is_ours(
    listens_on: str, server: tuple[str, int], host: str, expected: int
) -> None:
    assert status([("host", host)], names=OwnNames(listens_on, 3000), server=server) == expected


def test_on_the_default_port_browsers_leave_it_out() -> None:
    at = {"names": OwnNames("127.0.0.1", 80), "server": ("127.0.0.1", 80)}

    assert status([("host", "localhost"), ("origin", "http://localhost")], **at) == 200
    assert status([("host", "localhost:80")], **at) == 200
    assert status([("host", "localhost:3000")], **at) == 403


@pytest.mark.parametrize(
    "names",
    ["https://fleet.example.org", "fleet.example.org/", "*.example.org", "*", "a b", "fleet:port"],
)
def test_a_name_that_is_none_is_named(names: str) -> None:
    with pytest.raises(ValueError, match="address bar"):
        read_names(f"other.example.org,{names}")
