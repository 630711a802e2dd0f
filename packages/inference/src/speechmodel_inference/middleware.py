"""Middleware: count requests, refuse WebSockets of foreign pages, close connections while draining, answer HEAD, and tidy paths."""

import re
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechmodel_inference.api_keys import GUARDED_PATHS
from speechmodel_inference.errors import Forbidden
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.openai_types import ErrorResponse, error_object
from speechmodel_inference.origins import is_allowed, is_foreign
from speechmodel_inference.sockets import FAILED, NORMAL, REFUSED
from speechmodel_inference.telemetry import Telemetry

PROBES = ("/livez", "/readyz", "/metrics")
"""Paths that kubelet and Prometheus ask at the pod itself, and no load balancer passes on."""
FAILURE = 500
"""Status for the metrics after an error that the server did not expect."""


class CountRequests:
    """Counts requests by the pattern of their route and times them. Counts WebSockets when they end."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        match scope["type"]:
            case "http":
                await self._request(scope, receive, send)
            case "websocket":
                await self._stream(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), FAILURE

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except Exception:  # an answer that has begun ends in the middle
            status = FAILURE
            raise
        finally:
            self._telemetry.answered(scope["method"], _pattern(scope), status, time.monotonic() - began)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        code = FAILED

        async def receiving() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message["code"]
            return message

        async def sending(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.close":
                code = message.get("code", NORMAL)
            elif message["type"] == "websocket.http.response.start":  # an answer of HTTP before it is accepted
                code = REFUSED
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            self._telemetry.stream_ended(_pattern(scope), code)


def _pattern(scope: Scope) -> str:
    """Return the pattern of the route, because a client may send any path and a series is never removed."""
    pattern: str = getattr(scope.get("route"), "path", "none")
    return pattern


class RefuseForeignPages:
    """Answers 403 to WebSockets of pages of other origins than those in `origins`. Browsers apply CORS to HTTP alone."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket" and self._refuses(Headers(scope=scope)):
            error = Forbidden(
                "A page of another origin opened this WebSocket; add its origin to serving.settings.corsOrigins "
                "(SPEECHMODEL_CORS_ORIGINS).",
                code="cross_origin",
            )
            body = ErrorResponse(error=error_object(error)).model_dump()
            await JSONResponse(body, error.status)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuses(self, headers: Headers) -> bool:
        # a proxy may change Host; a page cannot set the headers of a WebSocket
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        return is_foreign(headers, headers.get("host", ""), forwarded) and not is_allowed(headers, self._origins)


class CloseWhileDraining:
    """Closes the connection after every answer while draining.

    A client that keeps its connection would never reach another server.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app, self._lifecycle = app, lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "lifespan" and tidied(scope) not in PROBES:
            self._lifecycle.asked()

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._lifecycle.draining:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing)


class AnswerHead:
    """Answers HEAD as GET. uvicorn leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


_ORIGIN = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)
"""Beginning of an address. Servers must take one for a path (RFC 9112, 3.2.2)."""


def tidied(scope: Scope) -> str:
    """Return the path of a request without slashes too many. uvicorn puts the path of the proxy (root_path) in front; it is left out."""
    path = re.sub("/{2,}", "/", _ORIGIN.sub("", scope["path"].removeprefix(scope.get("root_path", ""))))
    # links of a page are relative to its address, which a redirect of the page corrects
    return path.removesuffix("/") if path.startswith(GUARDED_PATHS) else path


class TidyPaths:
    """Takes a path with slashes too many for the one without them.

    Many clients join an address that ends with a slash and a path that begins with one. A redirect would not do: curl
    does not follow it, and behind a proxy it would lead to another address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, "path": scope.get("root_path", "") + tidied(scope)}
        await self._app(scope, receive, send)
