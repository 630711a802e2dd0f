"""Limits for connections that send no request: a time for headers, and a number of connections."""

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

RESERVED_FILES = 64
"""Open files that the server needs besides its connections."""

_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


def limited(header_seconds: float, connections: int) -> type[H11Protocol]:
    """Return uvicorn's protocol with limits. Headers must arrive within `header_seconds`, and at most
    `connections` are open: one more is answered with 503 and closed.

    Fewer are open when the process may not have so many open files: a server without files left could
    neither accept nor refuse.
    """
    most = min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FILES)

    class Limited(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                self._refuse(_FULL)
            else:
                self._expect_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._expect_headers()
            elif self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            super().connection_lost(exc)

        def _expect_headers(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(header_seconds, self._refuse, _SLOW)

        def _refuse(self, answer: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(answer)
                self.transport.close()

    return Limited
