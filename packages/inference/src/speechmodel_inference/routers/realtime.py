"""WebSocket /v1/realtime: OpenAI's realtime API for transcription sessions.

The events are those of the GA form, and of the beta form for clients that ask for it with the header
`OpenAI-Beta: realtime=v1`.
"""

from dataclasses import replace

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from speechmodel_inference.api_keys import sent_key
from speechmodel_inference.client_secrets import PREFIX
from speechmodel_inference.errors import BadRequest, RequestError, Unauthorized
from speechmodel_inference.openai_types import error_object
from speechmodel_inference.realtime_session import RealtimeSession
from speechmodel_inference.realtime_types import AudioInput
from speechmodel_inference.routers.models import require_served
from speechmodel_inference.services import Services
from speechmodel_inference.sockets import Messages, close_code, log_left, read_ahead, received, subprotocol

router = APIRouter()

BETA = "realtime=v1"
"""The value of the header OpenAI-Beta that asks for the beta events. It may have others, such as those of other APIs."""
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
"""Subprotocol by which a browser asks for the beta events, because it cannot set headers."""


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket, *, preview: bool = False) -> None:
    """Hold one session. A preview, of a recording that the client uploads at its end, takes no place and leaves nothing in the inbox."""
    services: Services = socket.app.state.services
    if preview:
        services = replace(services, misheard=None)
    await socket.accept(subprotocol(socket))
    try:
        try:
            with services.queue.preview() if preview else services.queue.place():
                async with read_ahead(socket) as messages:
                    await _converse(socket, messages, services, beta=_wants_beta(socket))
        except RequestError as error:
            await socket.send_json({"type": "error", "error": error_object(error).model_dump()})
            await socket.close(close_code(error))
    except WebSocketDisconnect as error:
        log_left("/v1/realtime", error)


def _wants_beta(socket: WebSocket) -> bool:
    """Return True for a client of the beta API. The header may name several."""
    named = ",".join(socket.headers.getlist("openai-beta")).split(",")
    return BETA_SUBPROTOCOL in socket.scope["subprotocols"] or BETA in [each.strip().lower() for each in named]


async def _converse(socket: WebSocket, messages: Messages, services: Services, *, beta: bool) -> None:
    version = services.lifecycle.version
    if (intent := socket.query_params.get("intent", "transcription")) != "transcription":
        raise BadRequest(f"intent: this server transcribes only; use 'transcription', not {intent!r}.", param="intent")
    if model := socket.query_params.get("model"):
        require_served(services, model)
    audio = await _settings(sent_key(socket.scope), services)
    session = RealtimeSession(socket.send_json, services, version, beta=beta, audio=audio)
    await session.begin()
    while True:
        message = await received(messages, services.settings.next_message_seconds)
        if message.get("text") is None:
            raise BadRequest("Send each event as a text message in JSON.")
        await session.handle(message["text"])


async def _settings(key: str, services: Services) -> AudioInput | None:
    """Return the settings of a session's short-lived key. None for another key, and for a session without one.

    Raises Unauthorized for a short-lived key that has expired or is damaged, whose settings would be missed. A server without
    API keys checks no key before, and elsewhere the key may have expired since.
    """
    audio = await services.client_secrets.settings(key)
    is_api_key = services.api_keys is not None and services.api_keys.find(key) is not None
    if audio is None and key.startswith(PREFIX) and not is_api_key:
        raise Unauthorized("The short-lived key has expired or is not valid; ask for a new one.")
    return audio
