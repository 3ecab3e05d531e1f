"""Refuses what a web page of somebody else makes the browser of an operator send.

The UI has no log-in: whoever reaches it may do everything, and a browser sends requests for any
page that is open in it. Dagster's webserver looks at neither `Host` nor `Origin`.

Belongs here: which requests are answered. Does not belong here: who is asking; that is for a proxy
with a log-in.
"""

from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from pipelines.webserver.names import OwnNames

_READING_METHODS = ("GET", "HEAD")
_FRAMING = {"X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'"}
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered, for whoever sent it in good faith."""

    status: int
    reason: str


_FOREIGN_HOST = Refusal(
    403,
    "This server is not known by the name in the request's Host header. If it is yours, start it "
    "with --allow-host NAME, or name it in FLAKELAG_UI_HOSTS.",
)
_FOREIGN_ORIGIN = Refusal(
    403,
    "This request was made by a page that this server did not send. If a proxy serves the UI under "
    "a name of its own, start the server with --allow-host NAME, or name it in FLAKELAG_UI_HOSTS.",
)
_NOT_JSON = Refusal(415, "Send JSON, with the header Content-Type: application/json.")
_READ_BY_GET = Refusal(405, "Send GraphQL as JSON by POST.")


class Guard:
    """ASGI middleware around the whole webserver, WebSockets included."""

    def __init__(self, app: ASGIApp, names: OwnNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _never_framed(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION)(scope, receive, send)
        else:
            answer = PlainTextResponse(refusal.reason + "\n", refusal.status)
            await answer(scope, receive, _never_framed(send))

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        server = scope.get("server")
        hosts = headers.getlist("host")
        # A name that somebody else's DNS leads here: to the browser, that page and we are one.
        if len(hosts) != 1 or not self._names.include(hosts[0], server):
            return _FOREIGN_HOST
        origins = headers.getlist("origin")
        if not all(self._names.include_origin(origin, server) for origin in origins):
            return _FOREIGN_ORIGIN
        # Not all foreign requests say their origin: an `<img>` does not.
        if _is_foreign_by_its_own_words(headers) and not _is_link_followed(scope, headers):
            return _FOREIGN_ORIGIN
        return None if scope["type"] == "websocket" else _refusal_of_form(scope, headers)


def _refusal_of_form(scope: Scope, headers: Headers) -> Refusal | None:
    """Whatever may change something has a form that no page can send to others unasked."""
    if scope["method"] in _READING_METHODS:
        # Dagster runs the query of a GET, mutations too, unless the browser asks for the page.
        is_query = scope["path"].rstrip("/").endswith("/graphql")
        return _READ_BY_GET if is_query and "text/html" not in headers.get("accept", "") else None
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
    return None if kinds == ["application/json"] else _NOT_JSON


def _is_foreign_by_its_own_words(headers: Headers) -> bool:
    return any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site"))


def _is_link_followed(scope: Scope, headers: Headers) -> bool:
    """Whether somebody followed a link to a page of ours, from a chat for instance."""
    return (
        scope["type"] == "http"
        and scope["method"] in _READING_METHODS
        and headers.getlist("sec-fetch-mode") == ["navigate"]
        and headers.getlist("sec-fetch-dest") == ["document"]
    )


def _never_framed(send: Send) -> Send:
    async def send_unframed(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _FRAMING.items():
                # Of several policies all hold: Dagster's own says nothing of frames.
                headers.append(name, value)
        await send(message)

    return send_unframed
