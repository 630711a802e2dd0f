"""OpenAI's wire types that this server supports.

See https://platform.openai.com/docs/api-reference/audio and /models.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from speechmodel_inference.decoders import Transcript


class ResponseFormat(StrEnum):
    """The formats of an answer."""

    JSON = "json"
    TEXT = "text"
    VERBOSE_JSON = "verbose_json"


def _not_streamed(stream: bool) -> bool:
    if stream:
        raise ValueError("this server does not stream answers; leave the field out")
    return stream


class TranscriptionFields(BaseModel):
    """The form of POST /v1/audio/transcriptions without `file`. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    """The served model's name or version. Empty means the served model."""
    language: str = ""
    """A language tag. Another language than the model's is rejected."""
    response_format: ResponseFormat = ResponseFormat.JSON
    alternatives: Annotated[int, Field(ge=1, le=20)] = 3
    """Most candidates in the format verbose_json, with a grammar. There is only the best one where the
    search for others would take too long: in unclear speech, and in long audio with a large grammar. An
    addition of this server."""
    prompt: str = ""
    """Accepted and ignored: this kind of model has no prompt."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted and ignored: the beam search always returns the best transcript."""
    stream: Annotated[bool, AfterValidator(_not_streamed)] = False
    """Only false is valid: the answer is sent when the whole recording is decoded."""


class Transcription(BaseModel):
    """The answer in the format json."""

    text: str


class TimedWord(BaseModel):
    """A word with its time in seconds. `confidence` is an addition of this server."""

    word: str
    start: float
    end: float
    confidence: float
    """Probability from 0 to 1 that the word was said."""


class PhraseCandidate(BaseModel):
    """A phrase of the grammar that fits the recording."""

    text: str
    confidence: float
    """Probability from 0 to 1 that the phrase was said."""
    slots: dict[str, str]
    """The words in each slot of the phrase, by the slot's name."""


class VerboseTranscription(BaseModel):
    """The answer in the format verbose_json. `confidence`, `slots` and `candidates` are additions of
    this server. In free text, all but the first four fields are empty.
    """

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    """Length of the recording in seconds."""
    text: str
    words: list[TimedWord]
    confidence: float | None
    """Probability from 0 to 1 that `text` was said. null in free text, and when nothing of the
    grammar was recognised."""
    slots: dict[str, str]
    candidates: list[PhraseCandidate]
    """Phrases of the grammar that fit, the best first, also when it was rejected."""

    @classmethod
    def of(cls, transcript: Transcript, language: str) -> Self:
        """Return the answer for a transcript."""
        accepted = transcript.accepted
        return cls(
            language=language,
            duration=round(transcript.audio_seconds, 3),
            text=transcript.text,
            words=[
                TimedWord(
                    word=word.text,
                    start=word.start_seconds,
                    end=word.end_seconds,
                    confidence=round(word.confidence, 4),
                )
                for word in (accepted.words if accepted else ())
            ],
            confidence=round(accepted.confidence, 4) if accepted else None,
            slots=accepted.slots if accepted else {},
            candidates=[
                PhraseCandidate(text=each.text, confidence=round(each.confidence, 4), slots=each.slots)
                for each in transcript.candidates
            ],
        )


class ModelObject(BaseModel):
    """A model. `version`, `language` and `wer` are additions of this server."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Time when this version was fetched, in Unix seconds."""
    owned_by: str = "speechmodel"
    version: str
    language: str
    wer: float | None


class ModelList(BaseModel):
    """The list of served models, which has one entry."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ErrorObject(BaseModel):
    """The error in OpenAI's form."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that reports an error."""

    error: ErrorObject
