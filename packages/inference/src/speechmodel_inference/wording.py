"""A value that pydantic refused, in words of a person who sent it: the end of a sentence that begins with the field."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from speechmodel_api.wanted_values import wanted_bound, wanted_type

LONGEST_VALUE = 100
"""Characters of a value that are quoted."""
_OF_JSON = {"a mapping": "an object"}
"""Types that JSON calls otherwise."""
_LENGTHS = {
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
}
"""The lengths that a text or a list may have."""
_FORMS = {
    "listen": "address:port, such as :8080 or 127.0.0.1:8080",
    "wyoming_listen": "address:port, such as :10300",
    "cors_origins": "an origin such as https://home.example, without a slash at its end",
    "root_path": "a path such as /speech, without a slash at its end",
    "clip": "the id of a clip",
    "take": "the id of a take",
}
"""Patterns in words, by the name of the field."""


def problem(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without a period, such as "must be at least 1, not '0'"."""
    kind, limits = error["type"], error.get("ctx", {})
    names = [str(part) for part in error["loc"]]
    if wanted := wanted_type(error) or wanted_bound(error):
        return f"must be {_OF_JSON.get(wanted, wanted)}, not {_quoted(error['input'])}"
    if kind in _LENGTHS:
        return f"must have {_LENGTHS[kind].format_map(limits)}"
    match kind:
        case "missing":
            return "is missing"
        case "enum" | "literal_error":
            return f"must be {limits['expected']}, not {_quoted(error['input'])}"
        case "json_invalid" | "json_type":
            return "is not valid JSON"
        case "union_tag_invalid":
            return f"has the type {_quoted(limits['tag'])}, which is not known here; use {_tags(limits)}"
        case "union_tag_not_found":
            return "has no field 'type' with a text"
        case "string_pattern_mismatch":
            form = next((_FORMS[name] for name in names if name in _FORMS), f"a text that matches {limits['pattern']}")
            return f"must be {form}, not {_quoted(error['input'])}"
        case "value_error":
            return str(limits["error"])
        case _:
            # the types of our own errors have words of their own, and others of pydantic do not occur
            return error["msg"]


def first_problem(error: ValidationError, *, behind: int = 0) -> tuple[str, str]:
    """Return the path of the first field that was refused, with dots, and what is wrong with it.

    The path of the whole is empty. It is left out up to the part `behind`, as the tag of a union is.
    """
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"][behind:]), problem(first)


def _tags(limits: Mapping[str, Any]) -> str:
    return str(limits["expected_tags"])


def _quoted(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[: LONGEST_VALUE - 3]}..."
