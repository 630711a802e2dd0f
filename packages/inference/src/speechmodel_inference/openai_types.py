"""OpenAI's wire types that this server supports.

See https://platform.openai.com/docs/api-reference/audio and /models.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class ResponseFormat(StrEnum):
    """The formats of an answer."""

    JSON = "json"
    TEXT = "text"


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
    prompt: str = ""
    """Accepted and ignored: this kind of model has no prompt."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted and ignored: the beam search always returns the best transcript."""
    stream: Annotated[bool, AfterValidator(_not_streamed)] = False
    """Only false is valid: the answer is sent when the whole recording is decoded."""


class Transcription(BaseModel):
    """The answer in the format json."""

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
