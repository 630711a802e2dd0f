"""The limits of connections: how many are open over HTTP and Wyoming, and how long a client may take for each part."""

import asyncio
import resource
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import h11
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from speechmodel_inference.errors import BadRequest, HeadersTooSlow, RequestError, TooManyConnections
from speechmodel_inference.middleware import PROBES, tidied
from speechmodel_inference.openai_types import ErrorResponse, error_object
from speechmodel_inference.origins import cors_headers
from speechmodel_inference.settings import Settings

FOR_PROBES = 16
"""Connections beyond the limit. Only probes are answered on them."""
ACCEPTED_AT_ONCE = 4
"""Connections that asyncio accepts before it lets the server close one that is too many."""
OTHER_FILES = 64
"""Open files that the server needs besides its connections."""
REFUSED_AT_ONCE = 16
"""Connections of Wyoming beyond the limit that may go on sending for a moment, so that they see why they are closed."""
_TURNS = 4
"""Turns of asyncio from accepting a connection to closing it."""
RESERVED_FILES = OTHER_FILES + FOR_PROBES + REFUSED_AT_ONCE + 2 * _TURNS * ACCEPTED_AT_ONCE
"""Files that connections leave free: a server without any could neither accept nor refuse. HTTP and Wyoming accept."""
WHOLE_FILES = "/api/v1/stt"
"""The path of WebSockets whose messages are recordings, and may be as large as a body."""
BEYOND_UPLOAD = 16 << 20
"""Bytes by which a recording in a message may be too large and is still answered in a sentence. The connection is closed without one
for more, because it is not read."""
LINGER_SECONDS = 5.0
"""Time after an answer in which the rest of a body that nobody reads may arrive. A connection that is closed with bytes
unread is reset, and the client might not see the answer."""


class Connections:
    """Counts the open connections of HTTP, WebSockets and Wyoming together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: set[asyncio.WriteTransport] = set()
        self._idle: dict[asyncio.WriteTransport, None] = {}
        """Connections between two requests. The longest idle one is first."""
        self._beyond: dict[asyncio.WriteTransport, None] = {}
        """Connections beyond the limit, the oldest first."""

    @classmethod
    def allowed(cls, wanted: int) -> "Connections":
        """Return a limit of `wanted`, or of fewer if the process may not have so many open files.

        The soft limit of the process is raised for it, as far as the hard limit allows.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = wanted + RESERVED_FILES
        if resource.RLIM_INFINITY not in (soft, hard):
            needed = min(needed, hard)
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            soft = needed
        return cls(wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - RESERVED_FILES)))

    def admit(self, connection: asyncio.WriteTransport) -> bool:
        """Count a connection, and return True. If all are taken, the longest idle one is closed for it.

        Return False if none is idle. One whose answers are not read yet is not: it would keep its file until they are.
        """
        if len(self._open) >= self.most:
            longest = next((each for each in self._idle if not each.get_write_buffer_size()), None)
            if longest is None:
                return False
            self.left(longest)
            longest.close()
        self._open.add(connection)
        return True

    def admit_beyond(self, connection: asyncio.WriteTransport) -> None:
        """Keep a connection beyond the limit, until FOR_PROBES newer ones have come."""
        if len(self._beyond) >= FOR_PROBES:
            oldest = next(iter(self._beyond))
            self.left(oldest)
            oldest.abort()  # close() would keep its file until the client has read everything
        self._beyond[connection] = None

    def is_idle(self, connection: asyncio.WriteTransport) -> None:
        """Note that a connection waits for its next request."""
        if connection in self._open:
            self._idle[connection] = None

    def is_busy(self, connection: asyncio.WriteTransport) -> None:
        """Note that a request arrives."""
        self._idle.pop(connection, None)

    def left(self, connection: asyncio.WriteTransport) -> None:
        """Stop counting a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._beyond.pop(connection, None)


def limited(
    settings: Settings, connections: Connections, refused: Callable[[Literal["http", "websocket"]], None]
) -> tuple[type[H11Protocol], type[WebSocketsSansIOProtocol]]:
    """Return uvicorn's protocols with limits. `refused` is called for each request beyond the limit of `connections`.

    Headers must arrive within `header_seconds`, a body that nobody reads within LINGER_SECONDS after the answer, and a
    client must take its answer within `upload_seconds`. Beyond the limit of `connections`, only probes are answered;
    others get 503.
    """

    class Reading(asyncio.Protocol):
        """Ends a connection whose client does not read."""

        transport: asyncio.Transport
        loop: asyncio.AbstractEventLoop
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # pause_writing comes with the first byte that cannot be sent

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(settings.upload_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._unread is not None:
                self._unread.cancel()
            connections.left(self.transport)
            super().connection_lost(exc)

    class Http(Reading, H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _linger: asyncio.TimerHandle | None = None
        _beyond = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if not connections.admit(transport):
                self._beyond, self.app = True, _ProbesOnly(self.app, connections.most, refused, settings)
                connections.admit_beyond(transport)
            self._expect_headers()

        def data_received(self, data: bytes) -> None:
            connections.is_busy(self.transport)
            super().data_received(data)
            body_ended = self._linger is not None and self.conn.their_state is not h11.SEND_BODY
            if body_ended:
                self._stop_timer("_linger")
                self._end_if_beyond()
            if self.conn.their_state is not h11.IDLE:
                self._stop_timer("_deadline")
            elif body_ended and not self.conn.trailing_data[0]:
                self._keep_alive()
            else:
                self._expect_headers()

        def _keep_alive(self) -> None:
            """Wait for the next request. uvicorn does so only where the body ends before the answer."""
            if not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
                connections.is_idle(self.transport)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            if self._beyond:
                refused("websocket")
                self._refuse(TooManyConnections(connections.most))
            else:
                super().handle_websocket_upgrade(event)
                if isinstance(protocol := self.transport.get_protocol(), Reading):
                    protocol._unread = self._unread  # it hears of the reading from now on

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():
                return
            if self.conn.their_state is h11.SEND_BODY:
                self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.close)
            else:
                self._end_if_beyond()
                if self.conn.their_state is h11.IDLE:
                    connections.is_idle(self.transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer("_deadline")
            self._stop_timer("_linger")
            super().connection_lost(exc)

        def _expect_headers(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(
                    settings.header_seconds, self._refuse, HeadersTooSlow(settings.header_seconds)
                )

        def _stop_timer(self, name: str) -> None:
            if (timer := getattr(self, name)) is not None:
                timer.cancel()
                setattr(self, name, None)

        def _end_if_beyond(self) -> None:
            if self._beyond:
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            del msg  # the same for everything that is no HTTP
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                message = (
                    "The request is not valid HTTP/1.1; if its address begins with https, use http, "
                    "or connect to the proxy that has the certificate."
                )
                self._refuse(BadRequest(message, code="invalid_http"))
            else:  # an answer has begun
                self.transport.close()

        def _refuse(self, error: RequestError) -> None:
            """Answer outside of the app, and close the connection."""
            if not self.transport.is_closing():
                self.transport.write(_as_bytes(error))
                self.transport.close()

    class WebSocket(Reading, WebSocketsSansIOProtocol):  # type: ignore[misc]  # the transport is always one of a socket
        def handle_connect(self, event: Request) -> None:
            super().handle_connect(event)
            accepted = self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
            if accepted and tidied(dict(self.scope)) == WHOLE_FILES:
                self.conn.max_message_size = settings.max_upload_bytes + BEYOND_UPLOAD

    return Http, WebSocket


class _ProbesOnly:
    """Answers probes, and everything else with 503."""

    def __init__(self, app: object, most: int, refused: Callable[[Literal["http"]], None], settings: Settings) -> None:
        self._app, self._most, self._refused, self._origins = app, most, refused, settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if tidied(scope) in PROBES:
            await self._app(scope, receive, send)  # type: ignore[operator]
            return
        self._refused("http")
        error = TooManyConnections(self._most)
        body = ErrorResponse(error=error_object(error)).model_dump()
        headers = error.headers | cors_headers(Headers(scope=scope), self._origins)  # this answer passes no middleware
        await JSONResponse(body, error.status, headers)(scope, receive, send)


def _as_bytes(error: RequestError) -> bytes:
    """Return an error as a whole answer, for a connection whose request did not get to the app."""
    body = ErrorResponse(error=error_object(error)).model_dump_json()
    length = str(len(body.encode()))
    headers = {"Content-Type": "application/json", "Connection": "close"} | error.headers | {"Content-Length": length}
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *map(": ".join, headers.items()), "", body]
    return "\r\n".join(lines).encode()
