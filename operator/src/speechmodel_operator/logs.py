"""The operator's log, whose lines of JSON name the SpeechModel that a task works on."""

import sys
from contextvars import ContextVar

from speechmodel_api.log_format import LogFormat, set_up_logging

_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


def describe(**fields: str) -> None:
    """Add fields to every line that the current task writes."""
    _about.set(fields)


def set_up(level: str, log_format: LogFormat) -> None:
    """Log to stderr."""
    set_up_logging(level, sys.stderr, log_format, lambda: _about.get() or {})
