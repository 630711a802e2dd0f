"""The errors of calls to the API server, and what a step cannot apply.

ClusterError           the status code and the API server's own message
+-- Conflict           409: the object changed, or its uid is another; read it again
+-- AlreadyExists      409 on create
+-- Refused            403, 422 and 400 of an admission webhook: the API server rejected the object
ClaimSizeRefused       the workspace claim cannot get the size that the spec asks for
NameConflict           an object that belongs to something else has a name that we need
ManagedTwice           something else changes an object of ours back again and again
NoAnswer               the API server could not be reached, or its answer broke off
"""

import json
import re

from speechmodel_api.reasons import Reason

_RESOURCES_REFUSED = re.compile(
    r"failed quota: |(minimum|maximum) \S+ usage per (Container|Pod) is |max limit to request ratio per (Container|Pod) is |"
    r"must be less than or equal to \S+ limit"
)
"""Messages of the API server about a pod whose requests or limits are missing, or are rejected by a ResourceQuota or a LimitRange.
A larger quota would not help. The last one is about the default limit of a LimitRange, which may be below the request.
"""


class ClusterError(Exception):
    """An answer of 400 or more."""

    reason = Reason.API_ERROR

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):
    """The object changed since it was read."""

    reason = Reason.CONFLICT


class AlreadyExists(ClusterError):
    """An object of that name exists."""

    reason = Reason.ALREADY_EXISTS


class Refused(ClusterError):
    """The API server rejected the object (403 or 422), or an admission webhook did (400 unless it gives a code)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.reason = refusal(message) or Reason.REFUSED


class ClaimSizeRefused(Exception):
    """The claim cannot get the size that the spec asks for. The message says why and what to do."""

    reason = Reason.CLAIM_SIZE_REFUSED


class NameConflict(Exception):
    """An object that belongs to something else has a name that we need; it is never adopted."""

    reason = Reason.NAME_CONFLICT

    def __init__(self, kind: str, name: str, label: str = "", *, field: str = "") -> None:
        """`label` is the one that makes a claim the workspace of this SpeechModel. `field` is the one of the spec that gives
        an object the name of another one of the same SpeechModel.
        """
        if field:
            super().__init__(
                f"{field} is {name}, but the {kind} by which workers find each other has that name; change it"
            )
            return
        problem = "does not belong to this SpeechModel; "
        if label:
            problem = f"lacks the label {label}; set it if this is the workspace of the SpeechModel, otherwise "
        super().__init__(f"{kind} {name} exists and {problem}rename the SpeechModel or remove that object")


class ManagedTwice(Exception):
    """Something else changes an object of ours back again and again."""

    reason = Reason.MANAGED_TWICE

    def __init__(self, kind: str, name: str, times: int) -> None:
        super().__init__(
            f"{kind} {name} was changed back {times} times in an hour by something else, so it is left unchanged for up to an "
            "hour; let only one operator manage the namespace (watchNamespaces of the chart), or stop the other program that "
            "writes this object, and then set the annotation speechops.dev/retry to a new value"
        )


class NoAnswer(Exception):
    """The API server could not be reached, or its answer broke off. The call may have had its effect."""

    reason = Reason.API_ERROR


def no_answer(call: str, error: BaseException) -> NoAnswer:
    """Return the error for a call that aiohttp, or its time limit, ended."""
    forget(error)
    return NoAnswer(f"no answer to {call}: {str(error) or type(error).__name__}")


def forget(error: BaseException) -> None:
    """Drop the tracebacks of an error of aiohttp and of those that led to it.

    aiohttp keeps its error in the stream, and the frames of the traceback keep the stream: a cycle, which would hold the answer, the
    step and its objects until Python searches for cycles.
    """
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__


def refusal(message: str) -> Reason | None:
    """Return the reason in the API server's message about a rejected object, if it is one of a quota, a LimitRange or a
    standard.
    """
    if "exceeded quota" in message:
        return Reason.QUOTA_EXCEEDED
    if _RESOURCES_REFUSED.search(message):
        return Reason.RESOURCES_REFUSED
    return Reason.POD_SECURITY_DENIED if "violates PodSecurity" in message else None


def cluster_error(status: int, body: bytes) -> ClusterError:
    """Return the error for an answer, with the API server's message."""
    text = body.decode(errors="replace").strip()
    try:
        answer = json.loads(body)
        message, reason = str(answer.get("message") or text), answer.get("reason")
    except (ValueError, AttributeError):
        message, reason = text or f"HTTP status {status}", None
    if reason == "AlreadyExists":
        return AlreadyExists(status, message)
    if status == 409:
        return Conflict(status, message)
    if status in (403, 422) or (status == 400 and "denied the request" in message):
        return Refused(status, message)
    return ClusterError(status, message)
