"""OpenAI's wire types that this server supports.

See https://platform.openai.com/docs/api-reference/audio and /models.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from speechmodel_decoding import Candidate, only_intent
from speechmodel_runtime import WarningKind

from speechmodel_inference.errors import RequestError
from speechmodel_inference.transcribing import Segment, Transcript


class ResponseFormat(StrEnum):
    """The formats of an answer."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"


class Granularity(StrEnum):
    """The parts of a recording that verbose_json times."""

    WORD = "word"
    SEGMENT = "segment"


class TranscriptionFields(BaseModel):
    """The form of POST /v1/audio/transcriptions without `file`. Unknown fields are ignored, and an empty
    field is one that is not there.
    """

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    """The served model's name, version or one of its aliases. Empty means the served model."""
    language: str = ""
    """A language tag or the name of a language, such as es, es-ES, es_ES, spa, Spanish or auto. Another language
    than the model's is rejected."""
    response_format: ResponseFormat = ResponseFormat.JSON
    timestamp_granularities: list[Granularity] = [Granularity.WORD, Granularity.SEGMENT]
    """The lists that verbose_json has: words, segments or both."""
    alternatives: Annotated[int, Field(ge=1, le=20)] = 3
    """Most candidates in the format verbose_json. With a grammar, there is only the best one where the
    search for others would take too long: in unclear speech, and in long audio with a large grammar. An addition of this server."""
    prompt: str = ""
    """Words that are more likely in free text with a scorer. Words that the scorer does not know have no effect. Nor
    has the prompt in a model without a scorer, and `warnings` of verbose_json says so."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted and ignored: the beam search always returns the best transcript."""
    stream: bool = False
    """Send the text of each part between two pauses as a server-sent event, once it is decoded."""


class Transcription(BaseModel):
    """The answer in the format json."""

    text: str


class TimedWord(BaseModel):
    """A word with its time in seconds. `confidence` is an addition of this server."""

    word: str
    start: float
    end: float
    confidence: float | None
    """Probability from 0 to 1 that the word was said. null in free text of a version without confidences."""


class PhraseCandidate(BaseModel):
    """A phrase of the grammar, or a free text, that fits the recording."""

    text: str
    confidence: float
    """Probability from 0 to 1 that the phrase was said."""
    intent: str | None = None
    """The intent of the phrase. null for a phrase without one, and in free text."""
    slots: dict[str, str]
    """The words in each slot of the phrase, by the slot's name."""

    @classmethod
    def of(cls, candidate: Candidate) -> Self:
        """Return the candidate as it is sent."""
        return cls(
            text=candidate.text,
            confidence=round(candidate.confidence, 4),
            intent=candidate.intent,
            slots=candidate.slots,
        )


class TimedSegment(BaseModel):
    """The words between two pauses, with their time in seconds. `confidence`, `intent`, `slots` and `candidates`
    are additions of this server. The fields of OpenAI's own networks are constant.
    """

    id: int
    start: float
    end: float
    text: str
    confidence: float | None
    """Probability from 0 to 1 that `text` was said. null in free text of a version without confidences."""
    intent: str | None = None
    """The intent of `text`. null for a phrase without one, and in free text."""
    slots: dict[str, str]
    candidates: list[PhraseCandidate]
    seek: int = 0
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0

    @classmethod
    def of(cls, number: int, segment: Segment) -> Self:
        """Return the segment as it is sent."""
        accepted = segment.accepted
        return cls(
            id=number,
            start=segment.start_seconds,
            end=segment.end_seconds,
            text=segment.text,
            confidence=round(accepted.confidence, 4) if accepted else None,
            intent=accepted.intent if accepted else None,
            slots=accepted.slots if accepted else {},
            candidates=[PhraseCandidate.of(each) for each in segment.candidates],
        )


class RequestWarning(StrEnum):
    """The fields of a request that have no effect."""

    PROMPT_UNUSED = "PromptUnused"
    """The model has no scorer, which would make the words of `prompt` more likely."""


class Warned(BaseModel):
    """A reason to doubt the recording, or a field of the request without effect."""

    kind: WarningKind | RequestWarning
    message: str
    """A sentence with what was found and what to do."""


class VerboseTranscription(BaseModel):
    """The answer in the format verbose_json. `confidence`, `intent`, `slots`, `candidates` and `warnings` are
    additions of this server. In free text, `intent` and `slots` are empty.
    """

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    """Length of the recording in seconds."""
    text: str
    words: list[TimedWord] | None = None
    """Left out when only segments were asked for."""
    segments: list[TimedSegment] | None = None
    """The parts between two pauses that have text. Left out when only words were asked for."""
    confidence: float | None
    """Probability from 0 to 1 that `text` was said, the least of its segments'. null when nothing was recognised, and in
    free text of a version without confidences."""
    intent: str | None = None
    """The intent of `text`. null for a phrase without one. In a recording with pauses, it is that of the only segment
    with an intent, and null if several have one."""
    slots: dict[str, str]
    candidates: list[PhraseCandidate]
    """Phrases of the grammar, or free texts, that fit, the best first, also when it was rejected. Empty for a recording
    with pauses, whose segments have their own, and in free text of a version without confidences."""
    warnings: list[Warned] = []
    """The reasons to doubt the recording, such as a file that was cut, and fields of the request without effect."""

    @classmethod
    def of(
        cls,
        transcript: Transcript,
        language: str,
        granularities: Collection[Granularity] = tuple(Granularity),
        warned: Collection[Warned] = (),
    ) -> Self:
        """Return the answer for a transcript. `warned` has the warnings about the request."""
        accepted = transcript.accepted
        spoken = [segment for segment in transcript.segments if segment.text]
        return cls(
            language=language,
            duration=round(transcript.audio_seconds, 3),
            text=transcript.text,
            words=[
                TimedWord(
                    word=word.text,
                    start=word.start_seconds,
                    end=word.end_seconds,
                    confidence=None if word.confidence is None else round(word.confidence, 4),
                )
                for word in transcript.words
            ]
            if Granularity.WORD in granularities
            else None,
            segments=[TimedSegment.of(number, segment) for number, segment in enumerate(spoken)]
            if Granularity.SEGMENT in granularities
            else None,
            confidence=round(min(each.confidence for each in accepted), 4) if accepted else None,
            intent=only_intent(accepted),
            slots={name: words for each in accepted for name, words in each.slots.items()},
            candidates=[PhraseCandidate.of(each) for each in transcript.candidates],
            warnings=[
                *(Warned(kind=each.kind, message=each.message) for each in transcript.warnings),
                *warned,
            ],
        )


class TextDelta(BaseModel):
    """The event with the words of one more segment."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TextDone(BaseModel):
    """The last event, with all words."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


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


def error_object(error: RequestError) -> ErrorObject:
    """Return an error as OpenAI describes it."""
    return ErrorObject(message=error.message, type=error.type, param=error.param, code=error.code)
