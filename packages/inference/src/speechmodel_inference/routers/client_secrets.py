"""Short-lived keys for realtime sessions: POST /v1/realtime/client_secrets, and the beta's /v1/realtime/transcription_sessions."""

from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from speechmodel_inference.api_keys import sent_key
from speechmodel_inference.errors import BadRequest
from speechmodel_inference.realtime_session import new_id, require_usable
from speechmodel_inference.realtime_types import (
    AudioInput,
    BetaClientSecretRequest,
    ClientSecretRequest,
    ExpiresAfter,
    session_object,
)
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.upload import read_document
from speechmodel_inference.wording import first_problem

router = APIRouter(prefix="/v1/realtime")

LONGEST_BODY = 1 << 20
"""Bytes of a request for a key."""
Asked = TypeVar("Asked", bound=BaseModel)


@router.post("/client_secrets")
async def create(request: Request, services: Injected) -> dict[str, Any]:
    """Return a key for sessions with the settings of the body, and these settings."""
    asked = await _read(ClientSecretRequest, request, services)
    audio = _usable(asked.session.audio.input, services)
    value, expires_at = await _issue(audio, asked.expires_after, request, services)
    return {"value": value, "expires_at": expires_at, "session": session_object(new_id("sess"), audio, beta=False)}


@router.post("/transcription_sessions")
async def create_beta(request: Request, services: Injected) -> dict[str, Any]:
    """Return the settings of the body in the beta form, with a key for sessions with them."""
    asked = await _read(BetaClientSecretRequest, request, services)
    audio = _usable(asked.as_input(), services)
    value, expires_at = await _issue(audio, asked.client_secret.expires_after, request, services)
    secret = {"value": value, "expires_at": expires_at}
    return session_object(new_id("sess"), audio, beta=True) | {"client_secret": secret}


async def _read(kind: type[Asked], request: Request, services: Services) -> Asked:
    body = await read_document(request, services.settings, services.queue, LONGEST_BODY)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        place, wrong = first_problem(error)
        raise BadRequest(f"{place or 'body'}: {wrong}.", code="invalid_value", param=place or None) from error


def _usable(changes: AudioInput, services: Services) -> AudioInput:
    audio = AudioInput().updated(changes)
    require_usable(audio, services)
    return audio


async def _issue(audio: AudioInput, lifetime: ExpiresAfter, request: Request, services: Services) -> tuple[str, int]:
    api_key = services.api_keys.find(sent_key(request.scope)) if services.api_keys is not None else None
    return await services.client_secrets.issue(audio, lifetime.seconds, api_key)
