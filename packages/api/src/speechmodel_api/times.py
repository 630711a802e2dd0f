"""Points in time as Kubernetes writes them: RFC 3339, UTC, whole seconds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema


def format_time(time: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with whole seconds, such as 2026-01-31T23:59:59Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time as an aware datetime."""
    return datetime.fromisoformat(text)


def whole_seconds(time: datetime) -> datetime:
    """Return an aware time in UTC without its fraction of a second, as it is after a round trip through the API server."""
    if time.tzinfo is UTC and not time.microsecond:  # as most are, which were read before
        return time
    return time.astimezone(UTC).replace(microsecond=0)


Time = Annotated[
    AwareDatetime,
    AfterValidator(whole_seconds),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 32}),
]
"""An aware datetime in Python, RFC 3339 with whole seconds on the wire."""
