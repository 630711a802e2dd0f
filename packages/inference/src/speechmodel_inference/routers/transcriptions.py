"""POST /v1/audio/transcriptions."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from speechmodel_inference.decoders import DecodingOptions, hot_words
from speechmodel_inference.errors import BadRequest, ClientLeft, RequestError
from speechmodel_inference.languages import require_language
from speechmodel_inference.openai_types import (
    ErrorResponse,
    ResponseFormat,
    TextDelta,
    TextDone,
    Transcription,
    TranscriptionFields,
    VerboseTranscription,
    error_object,
)
from speechmodel_inference.prompts import prompt_warnings
from speechmodel_inference.recordings import transcribe_upload
from speechmodel_inference.routers.models import require_served
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.subtitles import as_srt, as_vtt
from speechmodel_inference.transcribing import Segment, Transcript
from speechmodel_inference.upload import Upload, read_form, require_size
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wording import first_problem

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/audio")

QUIET_SECONDS = 15.0
"""Time without an event after which a comment is sent. Many proxies end an answer that sends nothing for 60 s, and some after 30 s."""
_COMMENT = b": still decoding\n\n"
"""A line that clients of server-sent events ignore."""

_FORM = TranscriptionFields.model_json_schema()
_DOCUMENTED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _FORM
                | {
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}} | _FORM["properties"],
                }
            }
        },
    }
}


@router.post("/transcriptions", response_model=Transcription, openapi_extra=_DOCUMENTED)
async def transcribe(request: Request, services: Injected) -> Response:
    """Return the words in a recording of any usual format, as OpenAI's endpoint of this name does."""
    version = services.lifecycle.version
    require_size(request, services.settings.max_upload_bytes)
    async with AsyncExitStack() as stack:
        place = stack.enter_context(services.queue.place())
        upload = stack.enter_context(await read_form(request, services.settings, place))
        fields = _fields(upload, services, version)
        if fields.stream:
            return await _streamed(request, services, version, upload, fields, stack)
        options = _options(fields)
        # After the body, receive() returns only when the client leaves.
        transcript = await transcribe_upload(upload, services, version, request.receive(), options=options)
        return _answer(transcript, fields, version)


@router.post("/translations", include_in_schema=False)
async def translate(services: Injected) -> Response:
    """Refuse to translate."""
    language = services.lifecycle.version.manifest.language
    raise BadRequest(
        f"This model writes down {language} and does not translate; use /v1/audio/transcriptions.",
        code="unsupported_endpoint",
    )


def _fields(upload: Upload, services: Services, version: ServedVersion) -> TranscriptionFields:
    try:
        fields = TranscriptionFields.model_validate(upload.fields)
    except ValidationError as error:
        place, wrong = first_problem(error)
        param = place.partition(".")[0]  # a list is sent as fields of one name
        raise BadRequest(f"{param}: {wrong}.", code="invalid_value", param=param) from error
    if fields.model:
        require_served(services, fields.model)
    if fields.language:
        require_language(fields.language, version.manifest.language)
    return fields


def _options(fields: TranscriptionFields) -> DecodingOptions:
    verbose = fields.response_format is ResponseFormat.VERBOSE_JSON
    return DecodingOptions(alternatives=fields.alternatives if verbose else 1, hot_words=hot_words(fields.prompt))


def _answer(transcript: Transcript, fields: TranscriptionFields, version: ServedVersion) -> Response:
    match fields.response_format:
        case ResponseFormat.JSON:
            return JSONResponse(Transcription(text=transcript.text).model_dump())
        case ResponseFormat.TEXT:
            return PlainTextResponse(transcript.text + "\n")
        case ResponseFormat.SRT:
            return PlainTextResponse(as_srt(transcript), media_type="application/x-subrip")
        case ResponseFormat.VTT:
            return PlainTextResponse(as_vtt(transcript), media_type="text/vtt")
        case ResponseFormat.VERBOSE_JSON:
            verbose = VerboseTranscription.of(
                transcript,
                version.manifest.language,
                fields.timestamp_granularities,
                prompt_warnings(fields.prompt, version, field="prompt"),
            )
            left_out = {name for name in ("words", "segments") if getattr(verbose, name) is None}
            return JSONResponse(verbose.model_dump(mode="json", exclude=left_out))


async def _streamed(
    request: Request,
    services: Services,
    version: ServedVersion,
    upload: Upload,
    fields: TranscriptionFields,
    stack: AsyncExitStack,
) -> Response:
    """Return an answer that sends each segment once it is decoded. It holds the place and the upload of `stack`
    until the work has ended, also when the client leaves. Errors before the first words are raised if they come within
    QUIET_SECONDS; later ones are events.
    """
    loop, texts = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def heard(segment: Segment) -> None:
        if segment.text:  # one without sends nothing, so it must not postpone the comment
            loop.call_soon_threadsafe(texts.put_nowait, segment.text)

    work = asyncio.create_task(
        transcribe_upload(upload, services, version, request.receive(), options=_options(fields), heard=heard)
    )
    work.add_done_callback(lambda _: texts.put_nowait(None))
    first = await _next_text(texts)
    if first is None:
        await work

    async def events() -> AsyncIterator[bytes]:
        text, separator = first, ""
        try:
            while text is not None:
                if text:
                    yield _event(TextDelta(delta=f"{separator}{text}"))
                    separator = " "
                else:
                    yield _COMMENT
                text = await _next_text(texts)
            yield _event(TextDone(text=work.result().text))
        except RequestError as error:
            services.telemetry.failed_within(error)
            yield _event(ErrorResponse(error=error_object(error)))
        except ClientLeft:
            pass  # nobody reads the end; ended() reports it

    async def ended() -> None:
        await asyncio.wait({work})
        if not work.cancelled() and isinstance(work.exception(), ClientLeft):
            log.info("%s %s: the client left before the end of the answer", request.method, request.url.path)

    held = stack.pop_all()
    held.push_async_callback(ended)
    return _EventStream(events(), held)


async def _next_text(texts: asyncio.Queue[str | None]) -> str | None:
    """Return the next text of a queue, an empty one after QUIET_SECONDS without any, and None at the end."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            return await texts.get()
    except TimeoutError:
        return ""


class _EventStream(StreamingResponse):
    """Sends server-sent events, and then closes `held`."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(events, headers={"Cache-Control": "no-cache"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events, or those until the client leaves."""
        async with self._held:
            await super().__call__(scope, receive, send)


def _event(content: BaseModel) -> bytes:
    return f"data: {content.model_dump_json()}\n\n".encode()
