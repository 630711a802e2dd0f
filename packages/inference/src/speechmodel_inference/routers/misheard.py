"""/v1/misheard: clips that the server rejected or was not sure of. The routes exist where the setting misheard_days
is set.
"""

import logging
from functools import partial

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ValidationError
from speechmodel_api.takes import Take
from speechmodel_api.times import Time

from speechmodel_inference.errors import BadRequest, NotFound
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.routers.keeping import SoundId, one_line, refusal_of_take, same_site, stored
from speechmodel_inference.sentences import new_letters, require_trainable, trained_text
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.takes import require_room
from speechmodel_inference.upload import read_document

log = logging.getLogger(__name__)
LARGEST_BODY = 64 * 1024
"""Bytes of a confirmation. A sentence has at most 1,000 characters."""
router = APIRouter(prefix="/v1/misheard", dependencies=[Depends(same_site)])


class MisheardClip(BaseModel):
    """A clip in the inbox."""

    id: str
    recorded_at: Time
    seconds: float
    heard: str
    """The text that was recognised. Empty if it was rejected."""
    confidence: float | None
    """Probability from 0 to 1 that `heard` was said. null if it was rejected."""
    candidates: tuple[str, ...]
    """Phrases of the grammar that fit, the best first."""
    version: str
    """The version that was served."""


class MisheardClips(BaseModel):
    """The answer of GET /v1/misheard."""

    keep_days: int
    """Days after which a clip is deleted."""
    count: int
    """Clips in the inbox."""
    clips: list[MisheardClip]
    """The newest 200 clips, the newest first."""


class Said(BaseModel):
    """The body of POST /v1/misheard/{clip}/take: what was said in the clip, and by whom."""

    text: str = ""
    speaker: str = ""
    consent: bool = False
    """The speaker agrees that the recording is kept and models are trained with it."""


class Confirmed(BaseModel):
    """The answer of POST /v1/misheard/{clip}/take: the take, whose id is that of the clip."""

    id: str
    speaker: str
    text: str
    new_letters: list[str]
    """Characters of the sentence, as it is trained, that the served model cannot write."""


class Dropped(BaseModel):
    """The answer of DELETE /v1/misheard."""

    deleted: int
    """Clips that were deleted."""


@router.get("")
async def list_clips(services: Injected) -> MisheardClips:
    """Return the newest clips."""
    count, clips = await stored(_inbox(services).newest)
    found = [
        MisheardClip(id=identity, **clip.model_dump(include=set(MisheardClip.model_fields))) for identity, clip in clips
    ]
    assert services.settings.misheard_days is not None  # the routes exist only then
    return MisheardClips(keep_days=services.settings.misheard_days, count=count, clips=found)


@router.get("/{clip}/audio")
async def play_clip(clip: SoundId, services: Injected) -> Response:
    """Return a clip as a wav file."""
    if (sound := await stored(partial(_inbox(services).sound, clip))) is None:
        raise _gone(clip)
    return Response(sound, media_type="audio/wav", headers={"Cache-Control": "no-store"})


@router.post(
    "/{clip}/take",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": Said.model_json_schema()}}}
    },
)
async def confirm_clip(clip: SoundId, request: Request, services: Injected) -> Confirmed:
    """Turn a clip into a take for the dataset. The body gives the spoken text, the speaker and the consent."""
    said = await _said(request, services)
    version = services.lifecycle.version

    def require(take: Take, seconds: float) -> None:
        require_room(seconds, require_trainable(take.text, version.manifest))

    confirm = partial(
        _inbox(services).confirm,
        clip,
        text=one_line(said.text),
        speaker=said.speaker,
        consent=said.consent,
        require=require,
    )
    try:
        take = await stored(confirm)
    except ValidationError as error:
        raise refusal_of_take(error) from error
    if take is None:
        raise _gone(clip)
    log.info("the misheard clip %s is now a take of %s", clip, take.speaker)
    unknown = new_letters(trained_text(take.text, version.manifest), version.decoder.letters)
    return Confirmed(id=clip, speaker=take.speaker, text=take.text, new_letters=unknown)


@router.delete("/{clip}", status_code=204)
async def drop_clip(clip: SoundId, services: Injected) -> None:
    """Delete one clip."""
    if not await stored(partial(_inbox(services).drop, clip)):
        raise _gone(clip)


@router.delete("")
async def drop_clips(services: Injected) -> Dropped:
    """Delete every clip."""
    deleted = await stored(_inbox(services).drop_all)
    log.info("deleted %d misheard clips", deleted)
    return Dropped(deleted=deleted)


async def _said(request: Request, services: Services) -> Said:
    """Return the body. It is read here, because FastAPI does not limit its size."""
    content = await read_document(request, services.settings, services.queue, LARGEST_BODY)
    try:
        return Said.model_validate_json(content)
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            raise refusal_of_take(error) from error
        message = "The body is not a JSON object; send one with text, speaker and consent."
        raise BadRequest(message, code="invalid_json") from error


def _inbox(services: Services) -> MisheardInbox:
    assert services.misheard is not None  # the routes exist only then
    return services.misheard


def _gone(clip: str) -> NotFound:
    return NotFound(
        f"There is no clip {clip}: it was added to the takes, was deleted or has expired.", code="clip_not_found"
    )
