"""Middleware: count requests, close connections while draining, and answer HEAD."""

import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.telemetry import Telemetry


class CountRequests:
    """Counts and times requests by the pattern of their route."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            path = getattr(scope.get("route"), "path", "none")
            self._telemetry.answered(scope["method"], path, status, time.monotonic() - began)


class CloseWhileDraining:
    """Closes the connection after every answer while draining.

    A client that keeps its connection would never reach another server.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app, self._lifecycle = app, lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

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
