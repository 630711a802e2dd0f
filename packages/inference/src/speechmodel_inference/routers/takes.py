"""/v1/takes: recordings that people make for the dataset. The routes exist where the setting `takes` names its folder."""

import logging
import threading
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ValidationError
from speechmodel_api.takes import Take, speaker_hash
from speechmodel_api.times import Time
from speechmodel_decoding.errors import DecodingError
from speechmodel_decoding.text.normalise import TranscriptUnusable
from speechmodel_runtime import level, seconds
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions
from speechmodel_inference.errors import NotFound
from speechmodel_inference.routers.keeping import SoundId, SpeakerInPath, one_line, refusal_of_take, same_site, stored
from speechmodel_inference.runtime_errors import of_runtime
from speechmodel_inference.sentences import new_letters, require_trainable, trained_text
from speechmodel_inference.services import Injected, Services
from speechmodel_inference.takes import CheckedTake, TakeStore, check, require_room
from speechmodel_inference.upload import read_form, require_size

log = logging.getLogger(__name__)


router = APIRouter(prefix="/v1/takes", dependencies=[Depends(same_site)])


class Sentence(BaseModel):
    """The takes of a sentence."""

    mine: int
    """Takes of the speaker who asks."""
    all: int
    """Takes of everybody."""


class TakeCounts(BaseModel):
    """The answer of GET /v1/takes."""

    wanted: int
    """Takes of each sentence that a speaker is asked for."""
    speakers: int
    """People who have recorded takes."""
    sentences: dict[str, Sentence]
    """Sentences that have takes, as they are trained."""


class SavedTake(BaseModel):
    """The answer of POST /v1/takes."""

    id: str
    speaker: str
    text: str
    """The sentence as it is trained: in small letters, without punctuation."""
    seconds: float
    """Length without the silence around the speech."""
    level: float
    """Loudness of the speech in dBFS."""
    heard: str
    """Text that the served model recognises in it. It may differ from the sentence."""
    new_letters: list[str]
    """Characters of `text` that the served model cannot write. A version that is trained with enough takes of them can."""


class MadeVersion(BaseModel):
    """A published version that was made with takes of a speaker."""

    version: str
    published_at: Time
    served: bool
    """True for the version that this server serves."""


class Forgotten(BaseModel):
    """The answer of DELETE /v1/takes/{speaker}."""

    deleted: int
    """Takes that were deleted."""
    versions: list[MadeVersion] | None
    """Versions that were made with takes of the speaker, the newest first: those in the bucket when the server
    started. null if the server does not know them."""
    unknown_versions: int
    """Versions that do not record whose takes they were made with."""


@router.get("")
async def count_takes(services: Injected, speaker: Annotated[str, Query(max_length=64)] = "") -> TakeCounts:
    """Return the numbers of takes by sentence."""
    version = services.lifecycle.version.manifest

    @cache  # many takes have the same sentence
    def trained(text: str) -> str:
        try:
            return trained_text(text, version)
        except TranscriptUnusable:  # saved by an older server; prepare reports it
            return text

    counts = await stored(lambda: _store(services).count(trained))
    texts = {text for of_speaker in counts.values() for text in of_speaker}
    mine = counts.get(speaker, Counter())
    return TakeCounts(
        wanted=services.settings.takes_wanted,
        speakers=len(counts),
        sentences={
            text: Sentence(mine=mine[text], all=sum(each[text] for each in counts.values())) for text in sorted(texts)
        },
    )


@router.post("", status_code=201)
async def save_take(request: Request, services: Injected) -> SavedTake:
    """Check a recording of a sentence, and keep it for the dataset. The form has file, text, speaker and consent."""
    version = services.lifecycle.version
    require_size(request, services.settings.max_upload_bytes)
    with services.queue.place() as place:
        with await read_form(request, services.settings, place) as upload:
            take = _take(upload.fields, version.manifest.language)
            trained = require_trainable(take.text, version.manifest)

            def work(abandoned: threading.Event) -> tuple[CheckedTake, str]:
                checked = check(upload.audio(), upload.name)
                require_room(seconds(len(checked.pcm)), trained)
                pcm = level(checked.pcm, version.manifest.speech_level)
                options = DecodingOptions(abandoned=abandoned)
                return checked, version.decoder.decode(pcm, name=upload.name, options=options).text

            try:
                checked, heard = (await services.queue.run(work, request.receive())).result
            except (SpeechRuntimeError, DecodingError) as error:
                raise of_runtime(error) from error
        identity = await stored(lambda: _store(services).add(take, checked.pcm))
    log.info("kept the take %s of %s: %.2f s", identity, take.speaker, checked.seconds)
    return SavedTake(
        id=identity,
        speaker=take.speaker,
        text=trained,
        seconds=checked.seconds,
        level=checked.level,
        heard=heard,
        new_letters=new_letters(trained, version.decoder.letters),
    )


@router.delete("/{speaker}/{take}", status_code=204)
async def delete_take(speaker: SpeakerInPath, take: SoundId, services: Injected) -> None:
    """Delete one take."""
    if not await stored(lambda: _store(services).remove(speaker, take)):
        raise NotFound(f"{speaker} has no take {take}; it may have been deleted.", code="take_not_found")


@router.delete("/{speaker}")
async def forget_speaker(speaker: SpeakerInPath, services: Injected) -> Forgotten:
    """Delete every take of a speaker."""
    served = services.lifecycle.version
    deleted = await stored(lambda: _store(services).forget(speaker))
    log.info("deleted the %d takes of %s", deleted, speaker)
    if served.versions is None:
        return Forgotten(deleted=deleted, versions=None, unknown_versions=0)
    known = [each for each in served.versions.versions if each.take_speakers is not None]
    return Forgotten(
        deleted=deleted,
        versions=[
            MadeVersion(
                version=each.version,
                published_at=each.published_at,
                served=each.version == served.manifest.version,
            )
            for each in known
            if speaker_hash(speaker) in (each.take_speakers or ())
        ],
        unknown_versions=len(served.versions.versions) - len(known),
    )


def _store(services: Services) -> TakeStore:
    assert services.takes is not None  # the routes exist only then
    return services.takes


def _take(fields: dict[str, str | list[str]], language: str) -> Take:
    try:
        return Take.model_validate(
            {
                "text": one_line(str(fields.get("text", ""))),
                "speaker": fields.get("speaker", ""),
                "consent": fields.get("consent") == "true",
                "language": language,
                "recorded_at": datetime.now(UTC),
            }
        )
    except ValidationError as error:
        raise refusal_of_take(error) from error
