"""Every route of Dagster's webserver, asked by a foreign page; one that is new is asked as well."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import Mount, Route, WebSocketRoute

from tests.integration.command_process import FLAKELAG, running
from tests.waiting import wait_until
from tests.webservers import free_port, is_ready

READ_ONLY_ENDPOINTS = {
    "download_captured_logs_endpoint",
    "download_debug_file_endpoint",
    "download_notebook",
    "index_html_endpoint",
    "webserver_info_endpoint",
}
"""What Dagster lets a GET do, but for `/graphql`: none of it changes anything."""


def routes() -> list[Any]:
    server: DagsterWebserver[Any, Any] = DagsterWebserver(None)
    return list(server.build_routes())  # type: ignore[no-untyped-call]


def changing_routes() -> list[tuple[str, str]]:
    return sorted(
        (method, route.path.replace("{asset_key:path}", "system_deployment_status"))
        for route in routes()
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"GET", "HEAD"}
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("webserver")
    port = free_port()
    command = (*FLAKELAG, "webserver", "--port", str(port), "--allow-host", "proxy.example.org")
    with running(command, folder, folder / "log", DAGSTER_HOME=str(folder / "dagster")) as process:
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"), process)
        yield f"http://127.0.0.1:{port}"


def answer(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, None if method == "GET" else b"{}", named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as told:
            return told.status, dict(told.headers)
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers)


def test_no_route_changes_anything_by_get_but_the_one_that_is_guarded() -> None:
    [socket] = [route for route in routes() if isinstance(route, WebSocketRoute)]
    assert socket.path == "/graphql"
    assert all(isinstance(route, Route | Mount | WebSocketRoute) for route in routes()), (
        "a kind of route that this test does not know"
    )
    by_get = {
        route.endpoint.__name__
        for route in routes()
        if isinstance(route, Route) and "GET" in (route.methods or set())
    }
    assert by_get - {"<lambda>"} == READ_ONLY_ENDPOINTS | {"graphql_http_endpoint"}


@pytest.mark.parametrize(("method", "path"), changing_routes())
def test_a_route_that_changes_something_refuses_foreign_pages(
    url: str, method: str, path: str
) -> None:
    json = "application/json"
    assert answer(url + path, method, Content_Type="text/plain")[0] == 415
    assert answer(url + path, method, Content_Type=json, Origin="http://localhost:1")[0] == 403
    assert answer(url + path, method, Content_Type=json, Sec_Fetch_Site="same-site")[0] == 403
    assert answer(url + path, method, Content_Type=json, Host="somebody.test")[0] == 403
    own = "https://proxy.example.org"
    # Our own reach Dagster, which finds little or nothing in this request.
    assert answer(url + path, method, Content_Type=json, Origin=own)[0] in {200, 400}


def test_there_are_such_routes() -> None:
    assert [path.split("/")[1] for _, path in changing_routes()] == [
        "graphql",
        "report_asset_check",
        "report_asset_materialization",
        "report_asset_observation",
    ]


@pytest.mark.parametrize("path", ["/", "/runs", "/server_info", "/no/such/page", "/favicon.png"])
def test_no_answer_may_be_framed(url: str, path: str) -> None:
    status, headers = answer(url + path)

    assert status == 200
    assert headers["x-frame-options"] == "DENY"
    assert "content-security-policy" in headers
