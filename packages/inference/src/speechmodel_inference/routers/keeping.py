"""The parts that /v1/takes and /v1/misheard share."""

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Request
from pydantic import TypeAdapter, ValidationError
from speechmodel_api.takes import SpeakerName

from speechmodel_inference.errors import BadRequest, Forbidden, StorageFailed
from speechmodel_inference.origins import is_foreign
from speechmodel_inference.sounds import ID_PATTERN

SoundId = Annotated[str, Path(pattern=ID_PATTERN)]
Result = TypeVar("Result")
_SPEAKER: TypeAdapter[str] = TypeAdapter(SpeakerName)
_WANTED = {
    "text": "text: send the spoken sentence, of 1 to 1000 characters.",
    "speaker": "speaker: send a name of 1 to 64 letters, digits, spaces and . ' - _ that begins with a letter or digit.",
    "consent": "consent: send 'true' if the speaker agrees that the recording is kept and models are trained with it.",
}


def same_site(request: Request) -> None:
    """Refuse requests that a page of another site makes in the browser of somebody who may use this server, whatever the
    setting cors_origins says.
    """
    if is_foreign(request.headers, request.headers.get("host", "")):
        raise Forbidden(
            "This request came from a page of another origin; use the pages of this server.",
            code="cross_site",
        )


async def stored(work: Callable[[], Result]) -> Result:
    """Return the result of work on the disk, in a thread. Raises StorageFailed."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise StorageFailed(f"The takes cannot be read or written: {error.strerror or error}.") from error


async def _valid_speaker(speaker: str) -> str:
    """Return the name in a path as takes have it. Raises BadRequest."""
    try:
        return _SPEAKER.validate_python(speaker)
    except ValidationError as error:
        raise BadRequest(_WANTED["speaker"], code="invalid_value", param="speaker") from error


SpeakerInPath = Annotated[str, Depends(_valid_speaker)]


def one_line(text: str) -> str:
    """Return a text with single spaces between its words."""
    return " ".join(text.split())


def refusal_of_take(error: ValidationError) -> BadRequest:
    """Return the answer to a request whose take cannot be valid."""
    field = str(error.errors()[0]["loc"][0])
    return BadRequest(_WANTED[field], code="invalid_value", param=field)
