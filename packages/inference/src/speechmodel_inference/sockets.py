"""Parts that the routers of WebSockets share."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Message

from speechmodel_inference.api_keys import KEY_SUBPROTOCOL
from speechmodel_inference.errors import BadRequest, RequestError

log = logging.getLogger(__name__)

NORMAL, REFUSED, FAILED, TRY_AGAIN = 1000, 1008, 1011, 1013
"""Codes of a WebSocket that is closed: at its end, because of what the client sent or failed to send, after
a failure of the server, and because the server is busy or not ready."""
TOO_LARGE = 1009
"""Code of a WebSocket that is closed because of a message that is larger than the server reads."""
LEFT = "websocket.disconnect"
"""Type of the last message of a client."""
AHEAD = 1 << 20
"""Bytes of messages that are read ahead of a stream: up to 32 s of samples at 16 kHz."""
EACH = 512
"""Bytes that count for each message beside its content, because empty messages take memory too."""


class Messages(Protocol):
    """Messages of a client, such as a WebSocket."""

    async def receive(self) -> Message:
        """Return the next one."""


class ReadAhead:
    """The messages of a client, which are read while its audio is decoded, until AHEAD bytes wait.

    A server that reads no message reads no ping either, and a client that expects an answer to each ping would leave.
    """

    def __init__(self, socket: Messages) -> None:
        self._socket = socket
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self._bytes, self._room = 0, asyncio.Event()

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._waiting.get()
        self._bytes -= _size(message)
        self._room.set()
        return message

    async def read(self) -> None:
        """Read until the client leaves."""
        last: Message = {"type": LEFT}
        try:
            while (message := await self._socket.receive())["type"] != LEFT:
                self._bytes += _size(message)
                self._waiting.put_nowait(message)
                while self._bytes > AHEAD:
                    self._room.clear()
                    await self._room.wait()
            last = message
        finally:
            self._waiting.put_nowait(last)  # after an error too, so that nobody waits for a message


@asynccontextmanager
async def read_ahead(socket: Messages) -> AsyncIterator[ReadAhead]:
    """Give the messages of a client, which are read ahead while the context lasts."""
    ahead = ReadAhead(socket)
    reading = asyncio.create_task(ahead.read())
    try:
        yield ahead
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled() and (error := reading.exception()) is not None:
            log.error("The messages of a client could not be read.", exc_info=error)


def _size(message: Message) -> int:
    return EACH + len(message.get("bytes") or (message.get("text") or "").encode())


def subprotocol(socket: WebSocket) -> str | None:
    """Return the subprotocol to accept: the first that was offered, and a key only if there is no other.

    Chromium closes a WebSocket whose server accepts none of those that were offered.
    """
    offered: list[str] = socket.scope["subprotocols"]
    others = (name for name in offered if not name.startswith(KEY_SUBPROTOCOL))
    return next(others, next(iter(offered), None))


def close_code(error: RequestError) -> int:
    """Return the code of a WebSocket that is closed after an error."""
    if error.status in (429, 503):
        return TRY_AGAIN
    return FAILED if error.status >= 500 else REFUSED


async def received(messages: Messages, seconds: float) -> Message:
    """Return the next message. A client that sends none for `seconds` is refused, because it holds a place.

    Raises BadRequest then, and WebSocketDisconnect when the client leaves.
    """
    try:
        async with asyncio.timeout(seconds):
            message = await messages.receive()
    except TimeoutError as error:
        raise BadRequest(f"No message came for {seconds:g} s; connect again when there is audio.") from error
    if message["type"] == LEFT:
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    return message


def log_left(path: str, error: WebSocketDisconnect) -> None:
    """Log that a client left, or that it sent a message that is too large."""
    if error.code == TOO_LARGE:
        log.info("%s: closed, because the client sent a message that is too large (%s)", path, error.reason)
    else:
        log.info("%s: the client left before the end", path)
