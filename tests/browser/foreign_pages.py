"""Pages of somebody else, for tests of what they can make a browser do.

Belongs here: serving them, and the tricks they try. Does not belong here: what has to become of it.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlencode

from typing_extensions import override

ASSET = "system_deployment_status"
CHECK = "one_row_per_hostname"

LAUNCH = """
    mutation {
        launchRun(executionParams: {
            selector: {
                repositoryLocationName: "flakelag"
                repositoryName: "__repository__"
                jobName: "report_pages"
            }
            mode: "default"
            executionMetadata: {tags: [{key: "dagster/partition", value: "2026-01-01"}]}
        }) { __typename }
    }
"""
WIPE = f"""
    mutation {{
        wipeAssets(assetPartitionRanges: [{{assetKey: {{path: ["{ASSET}"]}}}}]) {{ __typename }}
    }}
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The same page, whatever is asked for."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:><title>Somebody else</title>")

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


@contextmanager
def foreign_pages() -> Iterator[int]:
    """Serves empty pages on a port of 127.0.0.1, to which all names under `test.` lead."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def tricks(ui: str) -> Mapping[str, str]:
    """JavaScript that a foreign page runs, by name; each is a promise that ends once it is tried.

    Args:
        ui: the URL of the UI.
    """
    tried = {}
    for mutation in (LAUNCH, WIPE):
        name = mutation.split("{")[1].split("(")[0].strip()
        by_get = f"{ui}/graphql?query={quote(mutation)}"
        said = json.dumps({"query": mutation})
        tried[f"{name} as an image"] = _image(by_get)
        tried[f"{name} as a script"] = _loaded("script", by_get)
        tried[f"{name} by GET"] = _fetch(by_get)
        tried[f"{name} by POST with the query in the URL"] = _fetch(by_get, method="POST")
        for kind in (
            "text/plain",
            "text/plain; application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            tried[f"{name} as {kind}"] = _fetch(
                f"{ui}/graphql", method="POST", headers={"Content-Type": kind}, body=said
            )
        for kind in ("application/json", "application/graphql"):
            tried[f"{name} as {kind}, which asks first"] = _fetch(
                f"{ui}/graphql",
                mode="cors",
                method="POST",
                headers={"Content-Type": kind},
                body=said if kind.endswith("json") else mutation,
            )
        tried[f"{name} as a beacon"] = (
            f"navigator.sendBeacon({json.dumps(by_get)}, {json.dumps(said)})"
        )
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
            tried[f"{name} as a form of {kind}"] = _form(f"{ui}/graphql", kind, mutation)
            tried[f"{name} as a form of {kind} to a URL"] = _form(by_get, kind, mutation)
    for report, values in {
        f"report_asset_check/{ASSET}": {"check_name": CHECK, "passed": "true"},
        f"report_asset_materialization/{ASSET}": {"partition": "2026-01-02"},
        f"report_asset_observation/{ASSET}": {"data_version": "forged"},
    }.items():
        url = f"{ui}/{report}?{urlencode(values)}"
        tried[f"{report} without a body"] = _fetch(url, method="POST")
        tried[f"{report} with JSON"] = _fetch(
            url,
            mode="cors",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(values),
        )
        tried[f"{report} as a form"] = _form(url, "text/plain", "")
    return tried


def _fetch(url: str, **options: object) -> str:
    given = json.dumps({"mode": "no-cors", "credentials": "include", **options})
    return f"fetch({json.dumps(url)}, {given}).then(said => said.type, error => String(error))"


def _image(url: str) -> str:
    return f"""
        new Promise(done => {{
            const image = new Image()
            image.onload = image.onerror = event => done(event.type)
            image.src = {json.dumps(url)}
        }})
    """


def _loaded(element: str, url: str) -> str:
    return f"""
        new Promise(done => {{
            const made = document.createElement({json.dumps(element)})
            made.onload = made.onerror = event => done(event.type)
            made.src = {json.dumps(url)}
            document.head.append(made)
        }})
    """


def _form(url: str, kind: str, query: str) -> str:
    # In a frame of its own, so that the page lives on.
    return f"""
        new Promise(done => {{
            const frame = document.createElement("iframe")
            frame.name = "answer" + Math.random()
            const form = document.createElement("form")
            Object.assign(form, {{method: "POST", target: frame.name}})
            form.action = {json.dumps(url)}
            form.enctype = {json.dumps(kind)}
            const field = document.createElement("input")
            Object.assign(field, {{name: "query", value: {json.dumps(query)}}})
            form.append(field)
            document.body.append(frame, form)
            frame.onload = () => done("answered")
            form.submit()
        }})
    """
