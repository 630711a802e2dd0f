"""The answers to recordings that the runtime rejects or cannot decode."""

from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.errors import (
    AudioEmpty,
    AudioError,
    AudioTooLong,
    AudioTooShort,
    SpeechRuntimeError,
)

from speechmodel_inference.errors import BadRequest, RequestError


def of_runtime(error: SpeechRuntimeError | DecodingError) -> RequestError:
    """Return the answer to a request whose audio the runtime rejected or could not decode."""
    if isinstance(error, AudioError):
        codes = {AudioEmpty: "audio_empty", AudioTooShort: "audio_too_short", AudioTooLong: "audio_too_long"}
        return BadRequest(f"{error}.", code=codes.get(type(error), "audio_unreadable"), param="file")
    return RequestError(f"The audio could not be decoded: {error}", code="decoding_failed")
