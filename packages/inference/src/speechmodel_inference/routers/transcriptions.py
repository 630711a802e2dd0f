"""POST /v1/audio/transcriptions."""

import asyncio
import logging
import threading
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import ValidationError
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.errors import SpeechRuntimeError
from starlette.requests import ClientDisconnect

from speechmodel_inference.decoders import Transcript
from speechmodel_inference.errors import BadRequest, ClientLeft, UploadTooSlow, of_runtime
from speechmodel_inference.openai_types import ResponseFormat, Transcription, TranscriptionFields, VerboseTranscription
from speechmodel_inference.routers.models import require_served
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.upload import Upload, read_upload, require_size
from speechmodel_inference.version import ServedVersion

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/audio")

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
    with services.queue.place():
        upload = await _upload(request, services)
        with upload:
            fields = _fields(upload, services, version)
            verbose = fields.response_format is ResponseFormat.VERBOSE_JSON
            alternatives = fields.alternatives if verbose else 1
            transcript = await _transcribed(request, services, version, upload, alternatives)
    if fields.response_format is ResponseFormat.TEXT:
        return PlainTextResponse(transcript.text + "\n")
    if verbose:
        return JSONResponse(VerboseTranscription.of(transcript, version.manifest.language).model_dump())
    return JSONResponse(Transcription(text=transcript.text).model_dump())


async def _upload(request: Request, services: Services) -> Upload:
    settings = services.settings
    try:
        async with asyncio.timeout(settings.upload_seconds):
            return await read_upload(request, settings.max_upload_bytes)
    except TimeoutError as error:
        raise UploadTooSlow(settings.upload_seconds) from error
    except ClientDisconnect as error:
        raise ClientLeft from error


def _fields(upload: Upload, services: Services, version: ServedVersion) -> TranscriptionFields:
    try:
        fields = TranscriptionFields.model_validate(upload.fields)
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0])
        raise BadRequest(
            f"{param}: {first['msg']}, not {first['input']!r}.", code="invalid_value", param=param
        ) from error
    if fields.model:
        require_served(services, fields.model)
    language = version.manifest.language
    if fields.language and _primary(fields.language) != _primary(language):
        message = f"language: this model recognises {language}, not {fields.language!r}."
        raise BadRequest(message, code="unsupported_language", param="language")
    return fields


def _primary(tag: str) -> str:
    return tag.lower().partition("-")[0]


async def _transcribed(
    request: Request, services: Services, version: ServedVersion, upload: Upload, alternatives: int
) -> Transcript:
    def work(abandoned: threading.Event) -> Transcript:
        seconds = services.settings.max_audio_seconds
        return version.transcribe(
            upload.file, name=upload.name, max_seconds=seconds, alternatives=alternatives, abandoned=abandoned
        )

    try:
        # After the body, receive() returns only when the client leaves.
        decoded = await services.queue.run(work, request.receive())
    except (SpeechRuntimeError, DecodingError) as error:
        raise of_runtime(error) from error
    services.telemetry.transcribed(decoded)
    log.info(
        "%.2f s of audio, waited %.3f s, decoded in %.3f s",
        decoded.result.audio_seconds, decoded.waited_seconds, decoded.decoding_seconds,
    )  # fmt: skip
    return decoded.result
