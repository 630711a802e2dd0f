"""A manifest against the generated CRD: the API server's answers, with the nearest known name and YAML's traps explained."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator, ValidationError
from speechmodel_api.crd import schema

from speechmodel_cli.manifest.problems import Location, Problem, dotted
from speechmodel_cli.manifest.source import FALSE, TRUE, Source, Value, resolve

Schema = dict[str, Any]
OPEN = "x-kubernetes-preserve-unknown-fields"
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}
_FREE = ("metadata", "status")
"""Not the user's, or checked elsewhere."""


def schema_problems(source: Source) -> Iterator[Problem]:
    """Everything that the schema says against the document."""
    closed = _closed(schema())
    for name in _FREE:
        closed["properties"][name] = {"type": "object"}
    said: set[tuple[Location, str]] = set()
    for error in Draft4Validator(closed).iter_errors(without_nulls(source.value)):
        for location, message in _explain(error, closed, source):
            if (location, message) not in said:
                said.add((location, message))
                yield Problem(location, source.line_of(location), message)
    yield from _empty(source, closed)


def without_nulls(value: Value) -> Value:
    """As the API server prunes them: a field that is null is absent."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _closed(node: Schema) -> Schema:
    """The schema with unknown fields as errors, as `kubectl apply` has them."""
    node = dict(node)
    if "properties" in node:
        node["properties"] = {name: _closed(child) for name, child in node["properties"].items()}
        if not node.get(OPEN):
            node["additionalProperties"] = False
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _closed(node["additionalProperties"])
    if "items" in node:
        node["items"] = _closed(node["items"])
    return node


def _explain(error: ValidationError, root: Schema, source: Source) -> Iterator[tuple[Location, str]]:
    at: Location = tuple(error.absolute_path)
    limit: Any = error.validator_value
    value: Any = error.instance
    rules = error.schema if isinstance(error.schema, dict) else {}
    match error.validator:
        case "additionalProperties":
            known = rules["properties"]
            for name in value:
                if name not in known:
                    yield (*at, name), f"unknown field{_suggestion(name, known, root)}"
        case "required":
            for name in limit:
                if name not in value:
                    yield at, f"the field {name} is missing"
        case "type":
            yield at, _wrong_type(str(limit), value, source.written.get(at))
        case "enum":
            yield at, f"{value!r} is not one of {', '.join(map(str, limit))}{_nearest(value, limit)}"
        case "pattern":
            yield at, f"{value!r} does not match {limit}"
        case "minimum":
            words = "more than" if rules.get("exclusiveMinimum") else "at least"
            yield at, f"must be {words} {limit}, not {value}"
        case "maximum":
            words = "less than" if rules.get("exclusiveMaximum") else "at most"
            yield at, f"must be {words} {limit}, not {value}"
        case "minLength":
            yield at, f"{value!r} is shorter than {limit} character{'' if limit == 1 else 's'}"
        case "maxLength":
            yield at, f"{value!r} is longer than {limit} character{'' if limit == 1 else 's'}"
        case "maxItems" | "maxProperties":
            yield at, f"has {len(value)} entries, and at most {limit} are allowed"
        case _:
            yield at, error.message


def _suggestion(name: str, known: Mapping[str, Schema], root: Schema) -> str:
    by_folded = {candidate.lower(): candidate for candidate in known}
    if near := difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.7):
        return f"; did you mean {by_folded[near[0]]}?"
    elsewhere = [dotted(place) for place in _places(root, ()) if str(place[-1]).lower() == name.lower()]
    if elsewhere:
        return f"; there is {' and '.join(elsewhere[:2])}"
    return f"; known here: {', '.join(sorted(known))}"


def _places(node: Schema, at: Location) -> Iterator[Location]:
    for name, child in node.get("properties", {}).items():
        if at or name == "spec":
            yield (*at, name)
            yield from _places(child, (*at, name))
    if "items" in node:
        yield from _places(node["items"], (*at[:-1], f"{at[-1]}[]") if at else at)


def _nearest(value: object, options: list[str]) -> str:
    by_folded = {str(option).lower(): option for option in options}
    near = difflib.get_close_matches(str(value).lower(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""


def _wrong_type(wanted: str, value: Value, written: str | None) -> str:
    must = f"must be {_TYPES[wanted]}"
    if wanted == "string" and written is not None and not isinstance(value, dict | list):
        if written in TRUE | FALSE:
            return f'{must}: YAML reads {written} as the boolean {str(value).lower()}; write "{written}"'
        return f'{must}: YAML reads {written} as a number; write "{written}"'
    if isinstance(value, str) and wanted in ("integer", "number", "boolean"):
        meant = resolve(value)
        if wanted == "boolean" and isinstance(meant, bool):
            return f'{must}: "{value}" in quotes is a string; write {str(meant).lower()}'
        if wanted != "boolean" and isinstance(meant, int | float) and not isinstance(meant, bool):
            return f'{must}: "{value}" in quotes is a string; write {meant:.12g}'
        return f"{must}, not {value!r}"
    return f"{must}, not {_kind(value)}"


def _kind(value: Value) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"the boolean {str(value).lower()}"
        case _:
            return repr(value)


def _empty(source: Source, root: Schema) -> Iterator[Problem]:
    """`serving:` with nothing behind it is null, so absent, and hardly what was meant."""
    for at, text in source.written.items():
        if text == "" and at and at[0] == "spec" and (node := _node(root, at)) and node.get("type") == "object":
            advice = f"write `{at[-1]}: {{}}` for all defaults, or remove it"
            yield Problem(at, source.line_of(at), f"nothing stands behind it, which means that it is absent; {advice}")


def _node(root: Schema, at: Location) -> Schema | None:
    node: Schema | None = root
    for part in at:
        if node is None:
            return None
        node = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    return node
