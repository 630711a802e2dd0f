"""Check a manifest against the API types, suggest the nearest known name and explain the traps of YAML.

The types ignore unknown fields, because an older operator must read what a newer CRD allows. A manifest is written by a person,
so here unknown fields are problems, as they are for `kubectl apply`.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from speechmodel_api.base import ApiModel
from speechmodel_api.crd import schema
from speechmodel_api.schema import AUTO
from speechmodel_api.spec import SpeechModelSpec

from speechmodel_cli.manifest.problems import Location, Problem, dotted
from speechmodel_cli.manifest.source import FALSE, NULL, TRUE, Source, Value, resolve

Schema: TypeAlias = dict[str, Any]
_WRONG_TYPES = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
}
"""pydantic's types of errors, and what a value must be instead."""
_RULES = {
    "language": "use a BCP 47 tag such as es or es-CL",
    "path": "use a path below the claim, without . or .. and without a slash at its beginning",
    "intents": "write a name such as TurnOn or lights/on",
    "namePattern": "write {id} where the id is in the file names, without a format such as :d",
}
"""Patterns in words, by the name of the field. That of `intents` is for the names in it."""
_BRANCH = re.compile(r"(literal|tuple|constrained-str)\[")
"""pydantic's names of the types of a union, which are parts of a location. The unions are Auto or a list."""
_MEANT = {"ljspeech": "AudioFolder", "huggingface": "AudioFolder"}
"""Values whose nearest name is another thing, or none."""


class _Metadata(ApiModel):
    """The fields of metadata, also those that only the API server writes. The name is checked elsewhere."""

    name: Any = None
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: Any = None
    creation_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    deletion_timestamp: Any = None
    generate_name: Any = None
    generation: Any = None
    managed_fields: Any = None
    resource_version: Any = None
    self_link: Any = None
    uid: Any = None


class _Document(ApiModel):
    """A whole manifest. Its version and kind are checked elsewhere."""

    api_version: Any = None
    kind: Any = None
    metadata: _Metadata = _Metadata()
    spec: SpeechModelSpec
    status: dict[str, Any] = {}


_METADATA: Schema = {field.alias or name: {} for name, field in _Metadata.model_fields.items()}


def validate_spec(source: Source) -> tuple[SpeechModelSpec | None, tuple[Problem, ...]]:
    """Return the spec and its problems: one for each field, and the spec is None when there is any."""
    text = json.dumps(without_nulls(source.value))
    empty = (*_empty_mappings(source), *_unknown_nulls(source))
    try:
        # as JSON, where strict takes a list for a tuple and a string for an enum
        document = _Document.model_validate_json(text, strict=True, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [_problem(details, source) for details in error.errors(include_url=False) if _counts(details)]
        return None, (*problems, *empty)
    return (None if empty else document.spec), empty


def without_nulls(value: Value) -> Value:
    """Return the value as the API server prunes it: a field that is null is absent."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _counts(error: ErrorDetails) -> bool:
    """Return False for an error of the type of a union that the value is not: a text is meant to be Auto, a list is
    one of entries.
    """
    branches = [index for index, part in enumerate(error["loc"]) if _is_branch(part)]
    if not branches:
        return True
    is_list = len(error["loc"]) > branches[0] + 1 or isinstance(error["input"], list)
    return is_list != str(error["loc"][branches[0]]).startswith("literal")


def _is_branch(part: str | int) -> bool:
    return isinstance(part, str) and _BRANCH.match(part) is not None


def _problem(error: ErrorDetails, source: Source) -> Problem:
    at: Location = tuple(part for part in error["loc"] if part != "[key]" and not _is_branch(part))
    message = _explain(error, at, source.written.get(at))
    if error["type"] == "missing":
        at = at[:-1]
    return Problem(at, source.line_of(at), message)


def _explain(error: ErrorDetails, at: Location, written: str | None) -> str:
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return f"unknown field{_suggestion(str(at[-1]), at[:-1])}"
        case "missing":
            return f"the field {at[-1]} is missing"
        case "literal_error" if _is_branch(error["loc"][-1]):
            near = _did_you_mean(value, [AUTO], cutoff=0.6) if isinstance(value, str) else ""
            return f"must be {AUTO} or a list, not {_kind(value)}{near}"
        case "enum" if isinstance(value, str):
            options = (_node(at) or {}).get("enum", [])
            if (meant := _MEANT.get(value.casefold())) in options:
                return f"{value!r} is not one of {', '.join(options)}; use {meant}"
            return f"{value!r} is not one of {', '.join(options)}{_did_you_mean(value, options, cutoff=0.6)}"
        case "string_pattern_mismatch":
            of = at[-2:-1] if error["loc"][-1:] == ("[key]",) else at[-1:]
            rule = next((f"; {rule}" for field, rule in _RULES.items() if field in of), "")
            return f"{value!r} does not match {limits['pattern']}{rule}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']:.12g}, not {value}"
        case "greater_than":
            return f"must be more than {limits['gt']:.12g}, not {value}"
        case "less_than_equal":
            return f"must be at most {limits['le']:.12g}, not {value}"
        case "less_than":
            return f"must be less than {limits['lt']:.12g}, not {value}"
        case "string_too_short":
            return f"{value!r} is shorter than {_characters(limits['min_length'])}"
        case "string_too_long":
            return f"{value!r} is longer than {_characters(limits['max_length'])}"
        case "too_long":
            return f"has {len(value)} entries, and at most {limits['max_length']} are allowed"
        case "too_short":
            return f"has {len(value)} entries, and at least {limits['min_length']} is needed"
        case "value_error":
            return error["msg"].removeprefix("Value error, ").removeprefix(f"{at[-1]}: ")
        case "enum":
            return _wrong_type("a string", value, written)
        case "model_type" if at[-1] == "hyperparameters" and str(value).casefold() == AUTO.casefold():
            return (
                f"must be a mapping, not {value!r}; remove hyperparameters, and defaults are used for all its settings"
            )
        case _ if kind in _WRONG_TYPES:
            return _wrong_type(_WRONG_TYPES[kind], value, written)
        case _:
            return error["msg"]


def _suggestion(name: str, at: Location) -> str:
    known = (_node(at) or {}).get("properties", {})
    if near := _did_you_mean(name, known, cutoff=0.7):
        return near
    elsewhere = [dotted(place) for place in _places(_manifest_schema(), ()) if str(place[-1]).lower() == name.lower()]
    if elsewhere:
        return f"; there is {' and '.join(elsewhere[:2])}"
    return f"; known here: {', '.join(sorted(known))}"


def _did_you_mean(name: str, options: Iterable[str], *, cutoff: float) -> str:
    by_folded = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=cutoff)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""


def _places(node: Schema, at: Location) -> Iterator[Location]:
    for name, child in node.get("properties", {}).items():
        if at or name == "spec":
            yield (*at, name)
            yield from _places(child, (*at, name))
    if "items" in node:
        yield from _places(node["items"], (*at[:-1], f"{at[-1]}[]") if at else at)


def _node(at: Location) -> Schema | None:
    """Return the schema of a place; None where anything is allowed."""
    node: Schema | None = _manifest_schema()
    for part in at:
        if node is None:
            return None
        node = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    return node


@cache
def _manifest_schema() -> Schema:
    """Return the schema of a manifest with the fields of metadata."""
    made = schema(described=False)
    return {**made, "properties": {**made["properties"], "metadata": {"properties": _METADATA}}}


def _characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def _wrong_type(wanted: str, value: Value, written: str | None) -> str:
    must = f"must be {wanted}"
    if wanted == "a string" and written is not None and not isinstance(value, dict | list):
        if written in TRUE | FALSE:
            return f'{must}: YAML reads {written} as the boolean {str(value).lower()}; write "{written}"'
        return f'{must}: YAML reads {written} as a number; write "{written}"'
    if isinstance(value, str) and wanted in ("an integer", "a number", "true or false"):
        meant = resolve(value)
        if wanted == "true or false" and isinstance(meant, bool):
            return f'{must}: "{value}" in quotes is a string; write {str(meant).lower()}'
        if wanted != "true or false" and isinstance(meant, int | float) and not isinstance(meant, bool):
            return f'{must}: "{value}" in quotes is a string; write {meant:.12g}'
        return f"{must}, not {value!r}"
    return f"{must}, not {_kind(value)}"


def _kind(value: Value) -> str:
    match value:
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"the boolean {str(value).lower()}"
        case _:
            return repr(value)


def _unknown_nulls(source: Source) -> Iterator[Problem]:
    """Find unknown fields without a value, such as the 5 of `{learningRate: 1,5}`. As null they are pruned before the types
    see them.
    """
    for at, text in source.written.items():
        known = (_node(at[:-1]) or {}).get("properties") if at and at[0] == "spec" else None
        if text in NULL and known and at[-1] not in known:
            yield Problem(at, source.line_of(at), f"unknown field{_suggestion(str(at[-1]), at[:-1])}")


def _empty_mappings(source: Source) -> Iterator[Problem]:
    """Find fields such as `serving:` without a value. They are null and so absent, which is rarely intended."""
    for at, text in source.written.items():
        if text == "" and at and at[0] == "spec" and (node := _node(at)) and node.get("type") == "object":
            advice = f"write `{at[-1]}: {{}}` for all defaults, or remove it"
            yield Problem(at, source.line_of(at), f"has no value, so it is treated as absent; {advice}")
