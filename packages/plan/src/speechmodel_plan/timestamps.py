"""RFC 3339 in UTC with whole seconds, as Kubernetes writes time."""

from datetime import UTC, datetime


def timestamp(time: datetime) -> str:
    """2026-01-31T23:59:59Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Any RFC 3339 time."""
    return datetime.fromisoformat(text)
