"""The format of logs: text for people, or one JSON object a line for programs that collect logs."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

FIELDS_VARIABLE = "SPEECHMODEL_LOG_FIELDS"
"""Environment variable of stage programs and servers: a JSON object. With it, logs are JSON, and each line has its fields."""
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message", "taskName"}


class LogFormat(StrEnum):
    """The format of a log."""

    TEXT = "text"
    JSON = "json"


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object: time, level, logger, message, the given fields, and those of `extra`."""

    def __init__(self, fields: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logging(
    level: str | int, stream: TextIO, log_format: LogFormat, fields: Callable[[], Mapping[str, Any]] = dict
) -> None:
    """Log to a stream. `fields` gives what every line of JSON has."""
    handler = logging.StreamHandler(stream)
    json_formatter = JsonFormatter(fields)
    handler.setFormatter(json_formatter if log_format is LogFormat.JSON else logging.Formatter(TEXT_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def set_up_program_logging(level: str | int, stream: TextIO) -> None:
    """Log as FIELDS_VARIABLE says: JSON with its fields, or text without it."""
    given = os.environ.get(FIELDS_VARIABLE)
    fields = json.loads(given) if given else {}
    set_up_logging(level, stream, LogFormat.JSON if given else LogFormat.TEXT, lambda: fields)
