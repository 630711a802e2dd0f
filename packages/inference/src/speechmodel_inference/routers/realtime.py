"""WebSocket /v1/realtime: OpenAI's realtime API for transcription sessions.

The events are those of the GA form, and of the beta form for clients that ask for it with the header
`OpenAI-Beta: realtime=v1`.
"""

from dataclasses import replace

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from speechmodel_inference.api_keys import sent_key
from speechmodel_inference.errors import BadRequest, RequestError
from speechmodel_inference.openai_types import error_object
from speechmodel_inference.realtime_session import RealtimeSession
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
    audio = await services.client_secrets.settings(sent_key(socket.scope))
    session = RealtimeSession(socket.send_json, services, version, beta=beta, audio=audio)
    await session.begin()
    while True:
        message = await received(messages, services.settings.next_message_seconds)
        if message.get("text") is None:
            raise BadRequest("Send each event as a text message in JSON.")
        await session.handle(message["text"])
