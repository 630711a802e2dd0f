"""A value that pydantic refused, in words of a person who sent it: the end of a sentence that begins with the field."""

import logging
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType
from speechmodel_api.wanted_values import quoted, wanted_bound, wanted_length, wanted_type

log = logging.getLogger(__name__)

_OF_JSON = {"a mapping": "an object"}
"""Types that JSON calls otherwise."""
_FORMS = {
    "listen": "address:port, such as :8080 or 127.0.0.1:8080",
    "wyoming_listen": "address:port, such as :10300",
    "cors_origins": "an origin such as https://home.example, without a slash at its end",
    "root_path": "a path such as /speech, without a slash at its end",
    "clip": "the id of a clip",
    "take": "the id of a take",
}
"""Patterns in words, by the name of the field."""
_OF_PYDANTIC = frozenset(get_args(ErrorType))


def problem(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without a period, such as "must be at least 1, not '0'"."""
    kind, limits = error["type"], error.get("ctx", {})
    names = [str(part) for part in error["loc"]]
    if wanted := wanted_type(error) or wanted_bound(error):
        return f"must be {_OF_JSON.get(wanted, wanted)}, not {quoted(error['input'])}"
    if length := wanted_length(error):
        return f"must have {length}"
    match kind:
        case "missing":
            return "is missing"
        case "enum" | "literal_error":
            return f"must be {limits['expected']}, not {quoted(error['input'])}"
        case "json_invalid" | "json_type":
            return "is not valid JSON"
        case "union_tag_invalid":
            return f"has the type {quoted(limits['tag'])}, which is not known here; use {_tags(limits)}"
        case "union_tag_not_found":
            return "has no field 'type' with a string"
        case "string_pattern_mismatch":
            form = next(
                (_FORMS[name] for name in names if name in _FORMS), f"a string that matches {limits['pattern']}"
            )
            return f"must be {form}, not {quoted(error['input'])}"
        case "value_error":
            return str(limits["error"])
        case _:
            if kind in _OF_PYDANTIC:
                log.warning("%s: %s has pydantic's words (%s)", ".".join(names), kind, error["msg"])
            return error["msg"]  # our own errors have words of their own


def first_problem(error: ValidationError, *, behind: int = 0) -> tuple[str, str]:
    """Return the path of the first field that was refused, with dots, and what is wrong with it.

    The path of the whole is empty. It is left out up to the part `behind`, as the tag of a union is.
    """
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"][behind:]), problem(first)


def _tags(limits: Mapping[str, Any]) -> str:
    return str(limits["expected_tags"])
