"""The value that a field must have instead of one that pydantic refused, in words for a sentence that begins with "must be" or
"must have".
"""

from pydantic_core import ErrorDetails

_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "a smaller integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "path_type": "a path",
}
"""By pydantic's type of the error."""
_BOUNDS = {
    "greater_than_equal": "at least {ge:.12g}",
    "greater_than": "more than {gt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "less_than": "less than {lt:.12g}",
}
"""By pydantic's type of the error. The bound is in its context."""
_LENGTHS = {
    "string_too_long": ("at most", "max_length", "character"),
    "string_too_short": ("at least", "min_length", "character"),
    "too_long": ("at most", "max_length", "entry"),
    "too_short": ("at least", "min_length", "entry"),
}
"""By pydantic's type of the error. The limit is in its context."""
_PLURALS = {"character": "characters", "entry": "entries"}
LONGEST_VALUE = 100
"""Characters of a value that are quoted."""


def wanted_type(error: ErrorDetails) -> str | None:
    """Return the type that a value must have, None if its type is not what is wrong."""
    return _TYPES.get(error["type"])


def wanted_bound(error: ErrorDetails) -> str | None:
    """Return the bound that a number breaks, None if it breaks none."""
    bound = _BOUNDS.get(error["type"])
    return bound and bound.format_map(error["ctx"])


def wanted_length(error: ErrorDetails) -> str | None:
    """Return the length that a text or a list must have, and the one it has. None if its length is not what is wrong."""
    if (length := _LENGTHS.get(error["type"])) is None:
        return None
    bound, limit, unit = length
    count: int = error["ctx"][limit]
    return f"{bound} {count} {unit if count == 1 else _PLURALS[unit]}, not {len(error['input'])}"


def quoted(value: object) -> str:
    """Return a value as Python writes it, cut after LONGEST_VALUE characters."""
    shown = repr(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[: LONGEST_VALUE - 1]}…"
