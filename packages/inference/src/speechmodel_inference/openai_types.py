"""OpenAI's wire types, as far as this server speaks them: https://platform.openai.com/docs/api-reference/audio and /models."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class ResponseFormat(StrEnum):
    """The formats that a transcription can be had in."""

    JSON = "json"
    TEXT = "text"


def _whole(stream: bool) -> bool:
    if stream:
        raise ValueError("answers are not streamed here; leave it out")
    return stream


class TranscriptionFields(BaseModel):
    """The multipart form of POST /v1/audio/transcriptions, its `file` aside. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    """The served model's name or version; empty: the served one."""
    language: str = ""
    """A language tag; another language than the model's is refused."""
    response_format: ResponseFormat = ResponseFormat.JSON
    prompt: str = ""
    """Accepted, and without influence: this kind of model takes no prompt."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted, and without influence: the beam search always takes the best."""
    stream: Annotated[bool, AfterValidator(_whole)] = False
    """Only false: an answer comes when the recording was heard to its end."""


class Transcription(BaseModel):
    """The answer in the format json."""

    text: str


class ModelObject(BaseModel):
    """A model; `version`, `language` and `wer` are this server's own."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix seconds: when this version was fetched."""
    owned_by: str = "speechmodel"
    version: str
    language: str
    wer: float | None


class ModelList(BaseModel):
    """Every model that is served: one."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorObject
