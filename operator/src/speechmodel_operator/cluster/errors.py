"""What the API server can answer besides yes.

ClusterError           status code and the API server's own message
+-- Conflict           409: the object changed meanwhile, or its uid is another; read again
+-- AlreadyExists      409 on create
+-- Refused            403 and 422: it will not take this object; the message says why
NameConflict           somebody else's object has a name that we need
"""

import json


class ClusterError(Exception):
    """An answer of 400 or more."""

    reason = "ApiError"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """The object changed meanwhile."""

    reason = "Conflict"


class AlreadyExists(ClusterError):
    """An object of that name is there."""

    reason = "AlreadyExists"


class Refused(ClusterError):
    """The API server will not take this object."""

    reason = "Refused"


class NameConflict(Exception):
    """Somebody else's object has a name that we need; it is never adopted."""

    reason = "NameConflict"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"{kind} {name} exists and belongs to somebody else; rename the SpeechModel or remove that object"
        )


def cluster_error(status: int, body: str) -> ClusterError:
    """The error for an answer, with the API server's own words."""
    try:
        answer = json.loads(body)
        message, reason = str(answer.get("message") or body), answer.get("reason")
    except (ValueError, AttributeError):
        message, reason = body or f"HTTP status {status}", None
    if reason == "AlreadyExists":
        return AlreadyExists(status, message)
    if status == 409:
        return Conflict(status, message)
    if status in (403, 422):
        return Refused(status, message)
    return ClusterError(status, message)
