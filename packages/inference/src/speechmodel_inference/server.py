"""uvicorn with a shutdown in three steps.

SIGTERM -> not ready but serving while requests come (lame duck) -> no new connections, requests finish (drain) -> exit 0
"""

import asyncio
import logging
import signal
import socket
from types import FrameType

import uvicorn

from speechmodel_inference.app import create_app
from speechmodel_inference.connections import ACCEPTED_AT_ONCE, limited
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.listening import queue_connections
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 16 << 20
"""Bytes of a message of a WebSocket. OpenAI allows 15 MiB of audio in a message."""
ANSWER_SECONDS = 5.0
"""Time before the end of the drain at which unfinished requests are answered with an error."""
LONGEST_LAME_DUCK = 4
"""Lame-duck times after which a server accepts no more requests, however many still come. With the drain and the waits of
app.py, it must fit in the minute that a pod has for its end.
"""


class DrainingServer(uvicorn.Server):
    """Serves for a while after SIGTERM, because load balancers notice it late."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._lifecycle, self._queue = services.lifecycle, services.queue
        self._lame_duck_seconds = services.settings.lame_duck_seconds
        self._drain_seconds = services.settings.drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        for listening in sockets or ():
            queue_connections(listening)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the lame-duck time at the first SIGTERM, and end it at the second or at Ctrl-C."""
        del frame
        if sig == signal.SIGTERM and self._lifecycle.loaded and not self._lifecycle.draining:
            self._lifecycle.drain()
            loop = asyncio.get_running_loop()
            latest = loop.time() + LONGEST_LAME_DUCK * self._lame_duck_seconds
            loop.call_soon_threadsafe(self._stop_when_quiet, loop, latest)
            log.info(
                "SIGTERM: no longer ready, serving until no request has come for %g s, or for %g s at most",
                self._lame_duck_seconds,
                LONGEST_LAME_DUCK * self._lame_duck_seconds,
            )
        else:
            self._lifecycle.drain()
            asyncio.get_running_loop().call_soon_threadsafe(self._stop)

    def _stop_when_quiet(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        """Stop after the lame-duck time without a request: a load balancer that sends one has not noticed yet."""
        missing, left = self._lame_duck_seconds - self._lifecycle.quiet_seconds, latest - loop.time()
        if missing > 0 and left > 0:
            loop.call_later(min(missing, left), self._stop_when_quiet, loop, latest)
            return
        if missing > 0:
            log.warning(
                "requests still arrive %g s after SIGTERM and are now refused; check that the load balancer stops using "
                "pods that are not ready",
                LONGEST_LAME_DUCK * self._lame_duck_seconds,
            )
        self._stop()

    def _stop(self) -> None:
        """Accept no more connections, and answer what is not decoded before uvicorn closes its connections."""
        self.should_exit = True
        in_time = max(self._drain_seconds - ANSWER_SECONDS, self._drain_seconds / 2)
        asyncio.get_running_loop().call_later(in_time, self._queue.give_up)


def serve(settings: Settings, lifecycle: Lifecycle, listening: socket.socket, wyoming: socket.socket | None) -> None:
    """Serve the version of `lifecycle` until SIGTERM or SIGINT, and the protocol Wyoming if it has a socket."""
    app = create_app(settings, wyoming, lifecycle)
    services: Services = app.state.services
    http, websocket = limited(settings, services.connections, services.telemetry.refused)
    config = uvicorn.Config(
        app,
        http=http,
        backlog=ACCEPTED_AT_ONCE,
        root_path=settings.root_path,
        ws=websocket,
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_timeout=None,  # a client's pong may wait behind its audio; received() bounds silence
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = DrainingServer(config, services)
    server.run(sockets=[listening])
