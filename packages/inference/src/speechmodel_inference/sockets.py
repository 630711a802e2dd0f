"""Parts that the routers of WebSockets share."""

import asyncio

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Message

from speechmodel_inference.api_keys import KEY_SUBPROTOCOL
from speechmodel_inference.errors import BadRequest, RequestError

NORMAL, REFUSED, FAILED, TRY_AGAIN = 1000, 1008, 1011, 1013
"""Codes of a WebSocket that is closed: at its end, because of what the client sent or failed to send, after
a failure of the server, and because the server is busy or not ready."""


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


async def received(socket: WebSocket, seconds: float) -> Message:
    """Return the next message. A client that sends none for `seconds` is refused, because it holds a place.

    Raises BadRequest then, and WebSocketDisconnect when the client leaves.
    """
    try:
        async with asyncio.timeout(seconds):
            message = await socket.receive()
    except TimeoutError as error:
        raise BadRequest(f"No message came for {seconds:g} s; connect again when there is audio.") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    return message
