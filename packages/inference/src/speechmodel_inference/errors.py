"""Errors of the server. Each knows its HTTP status and the fields of OpenAI's error object.

    RequestError                   status, type, code, param
    +-- BadRequest            400  a field or the audio cannot be used
    +-- Unauthorized          401  the key is missing, wrong or expired
    +-- ModelNotFound         404  not the served model's name or version
    +-- NotFound              404  the resource in the path does not exist
    +-- Forbidden             403  another site's page sent the request
    +-- Conflict              409  the SpeechModel is in a state that does not allow it
    +-- HeadersTooSlow        408  the headers did not arrive in time
    +-- UploadTooSlow         408  the body did not arrive in time
    +-- UploadTooLarge        413  more bytes than the server accepts
    +-- QueueFull             429  all places are taken; Retry-After gives the seconds to wait
    +-- ClusterFailed         502  the API server denied a call, or gave no answer
    +-- NotReady              503  the model is still loading, or failed its self-test
    +-- ShuttingDown          503  the server ends before the recording is decoded
    +-- TooManyConnections    503  as many connections are open as the server takes
    +-- StorageFailed         507  a take cannot be kept or deleted
    ClientLeft                     the connection was closed before the answer

    ModelFolderError               the fetched version cannot be served; /readyz and the log report it
    +-- NoEngine                   no engine for it runs on this machine; the server ends with code 78

`of_runtime` of runtime_errors.py turns errors of speechmodel_runtime and speechmodel_decoding into RequestErrors.
"""

import random
from math import ceil
from typing import ClassVar

LONGEST_MESSAGE = 500
"""Characters of a message. A request may contain names and values of any length."""
JITTER, LEAST_JITTER = 0.5, 3
"""Share of the expected time, and seconds, by which the times differ that clients are told to wait: Retry-After has whole seconds."""


def retry_after(expected: float = 0.0) -> int:
    """Return the seconds after which a client may ask again, if it is expected to wait for `expected` seconds.

    They differ from client to client, so that those who are refused at once do not return at once.
    """
    most = max(LEAST_JITTER, ceil(JITTER * expected))
    return max(1, ceil(expected)) + random.randint(0, most)  # noqa: S311 - no secret


class RequestError(Exception):
    """A request failed. `message` is a sentence for the person who sent it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}..."
        self.code = code
        self.param = param
        self.headers: dict[str, str] = {}


class BadRequest(RequestError):
    """A field or the audio cannot be used."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(RequestError):
    """The key is missing or wrong, or it has expired."""

    status = 401
    type = "invalid_request_error"

    def __init__(
        self, message: str = "The API key is missing or wrong; send it as 'Authorization: Bearer KEY'."
    ) -> None:
        super().__init__(message, code="invalid_api_key")
        self.headers = {"WWW-Authenticate": "Bearer"}


class ModelNotFound(RequestError):
    """The request names another model than the served one."""

    status = 404
    type = "invalid_request_error"

    def __init__(self, model: str, served: str) -> None:
        message = f"The model '{model}' does not exist here; this server has '{served}'."
        super().__init__(message, code="model_not_found", param="model")


class NotFound(RequestError):
    """The resource in the path does not exist."""

    status = 404
    type = "invalid_request_error"


class Forbidden(RequestError):
    """The page of another site sent the request."""

    status = 403
    type = "invalid_request_error"


class Conflict(RequestError):
    """The SpeechModel is in a state that does not allow it."""

    status = 409
    type = "invalid_request_error"


class HeadersTooSlow(RequestError):
    """The headers did not arrive in time, so the connection is closed."""

    status = 408
    type = "invalid_request_error"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The headers took longer than {seconds:g} s; send them again.", code="headers_too_slow")
        self.headers = {"Connection": "close"}


class UploadTooSlow(RequestError):
    """The body did not arrive in time, so the connection is closed (RFC 9110, 15.5.9)."""

    status = 408
    type = "invalid_request_error"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The upload took longer than {seconds:g} s; send less at once.", code="upload_too_slow")
        self.headers = {"Connection": "close"}


class UploadTooLarge(RequestError):
    """The body has more bytes than the server accepts."""

    status = 413
    type = "invalid_request_error"

    def __init__(self, limit: int) -> None:
        message = f"The upload is larger than {limit} bytes; send a shorter recording, or flac or ogg instead of wav."
        super().__init__(message, code="upload_too_large", param="file")


class QueueFull(RequestError):
    """All places are taken."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, expected: float) -> None:
        after = retry_after(expected)
        super().__init__(f"The server is busy; try again in {after} s.", code="queue_full")
        self.headers = {"Retry-After": str(after)}


class ClusterFailed(RequestError):
    """The API server denied a call, or gave no answer."""

    status = 502
    type = "server_error"


class NotReady(RequestError):
    """The model is still loading, or failed its self-test."""

    status = 503
    type = "server_error"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model is not ready: {reason}", code="model_not_ready")
        self.headers = {"Retry-After": str(retry_after())}


class ShuttingDown(RequestError):
    """The server ends before the recording is decoded."""

    status = 503
    type = "server_error"

    def __init__(self) -> None:
        super().__init__("The server is shutting down; send the recording again.", code="shutting_down")
        self.headers = {"Retry-After": str(retry_after()), "Connection": "close"}


class TooManyConnections(RequestError):
    """As many connections are open as the server takes."""

    status = 503
    type = "server_error"

    def __init__(self, limit: int, connections: str = "connections") -> None:
        after = retry_after()
        message = f"The server has reached its limit of {limit} {connections}; try again in {after} s."
        super().__init__(message, code="too_many_connections")
        self.headers = {"Retry-After": str(after), "Connection": "close"}


class StorageFailed(RequestError):
    """A take cannot be kept or deleted (RFC 4918, 11.5)."""

    status = 507
    type = "server_error"


class ClientLeft(Exception):
    """The connection was closed before the answer was known."""


class ModelFolderError(Exception):
    """The fetched version cannot be served."""


class CannotListen(Exception):
    """An address of the settings cannot be listened on."""


class NoEngine(ModelFolderError):
    """No engine for the fetched version runs on this machine."""
