"""POST /stt and the WebSocket /api/v1/stt: the servers for DeepSpeech models that came before this one.

- `curl --data-binary @take.wav http://espejo/stt` gets the text, as from deepspeech-server
  (https://github.com/MainRo/deepspeech-server).
- One message with a whole file to `/api/v1/stt` gets `{"text": ..., "time": ...}`, as from the server in
  https://github.com/mozilla/DeepSpeech-examples. Then the server closes the connection.
"""

import io
import logging
import time
from contextlib import ExitStack

from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

from speechmodel_inference.decoding_queue import Place
from speechmodel_inference.errors import BadRequest, ClientLeft, RequestError, UploadTooLarge
from speechmodel_inference.recordings import transcribe_upload
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.sockets import close_code, log_left, received, subprotocol
from speechmodel_inference.upload import Upload, read_body, require_size

log = logging.getLogger(__name__)
router = APIRouter()


@router.post(
    "/stt",
    response_class=PlainTextResponse,
    openapi_extra={"requestBody": {"required": True, "content": {"audio/*": {"schema": {"format": "binary"}}}}},
)
async def stt(request: Request, services: Injected) -> Response:
    """Return the words in the recording that is the body. Its format may be any usual one."""
    version = services.lifecycle.version
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadRequest(
            "Send the recording as the body itself, or a form to /v1/audio/transcriptions.", code="no_form"
        )
    require_size(request, services.settings.max_upload_bytes)
    with ExitStack() as stack:
        place = stack.enter_context(services.queue.place())
        upload = stack.enter_context(await read_body(request, services.settings, place))
        # After the body, receive() returns only when the client leaves.
        return PlainTextResponse((await transcribe_upload(upload, services, version, request.receive())).text)


@router.websocket("/api/v1/stt")
async def stt_socket(socket: WebSocket) -> None:
    """Transcribe one file."""
    services: Services = socket.app.state.services
    await socket.accept(subprotocol(socket))
    try:
        try:
            with services.queue.place() as place:
                await _answer(socket, services, place)
            await socket.close()
        except RequestError as error:
            await socket.send_json({"message": error.message})
            await socket.close(close_code(error))
    except WebSocketDisconnect as error:
        log_left("/api/v1/stt", error)
    except ClientLeft:
        log.info("/api/v1/stt: the client left before the answer")


async def _answer(socket: WebSocket, services: Services, place: Place) -> None:
    version = services.lifecycle.version
    message = await received(socket, services.settings.upload_seconds)
    if not message.get("bytes"):
        raise BadRequest("Send a whole recording, such as a wav file, in one binary message.")
    if len(message["bytes"]) > services.settings.max_upload_bytes:
        raise UploadTooLarge(services.settings.max_upload_bytes)
    place.hold(len(message["bytes"]))
    began = time.monotonic()
    with Upload(io.BytesIO(message["bytes"]), "recording") as upload:
        transcript = await transcribe_upload(upload, services, version, _left(socket))
    await socket.send_json({"text": transcript.text, "time": round(time.monotonic() - began, 3)})


async def _left(socket: WebSocket) -> None:
    """Return once the client has left. What else it sends is ignored."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
