"""Sentences about the fields of a manifest that the types reject, as `speechmodel validate` and the operator report them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from speechmodel_api.crd import schema
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import AUTO
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.wanted_values import quoted, wanted_bound, wanted_length, wanted_type

Location: TypeAlias = tuple[str | int, ...]
"""Field names and list indices from the manifest's root."""
Schema: TypeAlias = dict[str, Any]
_RULES = {
    "language": "use a BCP 47 tag such as es or es-CL",
    "path": "use a path below the claim, without . or .. and without a slash at its beginning",
    "intents": "write a name such as TurnOn or lights/on",
    "bucket": "write the name of the bucket alone, such as models",
    "prefix": "write it without a slash at either end, such as speech/models",
    "mountPath": "write an absolute path without . or .., such as /mnt/plugin",
    "subPath": "use a path in the volume, without . or .. and without a slash at its beginning",
    "namePattern": "write {id} where the id is in the file names, without a format such as :d",
}
"""Patterns in words, by the name of the field. That of `intents` is for the names in it."""
_BRANCH = re.compile(r"(literal|tuple|constrained-str)\[")
"""pydantic's names of the types of a union, which are parts of a location. The unions are Auto or a list."""
_MEANT = {"ljspeech": "AudioFolder", "huggingface": "AudioFolder"}
"""What a value means whose nearest known name is another thing."""


@dataclass(frozen=True)
class FieldProblem:
    """A field that is wrong, and why."""

    location: Location
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.location)}: {self.message}"


class InvalidSpec(Exception):
    """The types reject a spec that the API server accepted. The message names each wrong field."""

    reason = Reason.INVALID_SPEC


def read_spec(given: Mapping[str, Any]) -> SpeechModelSpec:
    """Return the spec of an object from the API server. Fields that only a newer release has are ignored. Raises InvalidSpec."""
    try:
        return SpeechModelSpec.model_validate(given)
    except ValidationError as error:
        found = (problem_of({**each, "loc": ("spec", *each["loc"])}) for each in error.errors(include_url=False))
        raise InvalidSpec("; ".join(str(problem) for problem in found if problem)) from error


def problem_of(error: ErrorDetails) -> FieldProblem | None:
    """Return a problem in words, from an error whose location begins at the manifest's root.

    None for an error of the type of a union that the value is not: a text is meant to be Auto, a list is one of entries.
    """
    if not _counts(error):
        return None
    at: Location = tuple(part for part in error["loc"] if part != "[key]" and not _is_branch(part))
    return FieldProblem(at[:-1] if error["type"] == "missing" else at, _explain(error, at))


def _counts(error: ErrorDetails) -> bool:
    branches = [index for index, part in enumerate(error["loc"]) if _is_branch(part)]
    if not branches:
        return True
    is_list = len(error["loc"]) > branches[0] + 1 or isinstance(error["input"], list)
    return is_list != str(error["loc"][branches[0]]).startswith("literal")


def _is_branch(part: str | int) -> bool:
    return isinstance(part, str) and _BRANCH.match(part) is not None


def _explain(error: ErrorDetails, at: Location) -> str:
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "missing":
            return f"the field {at[-1]} is missing"
        case "string_pattern_mismatch" | "string_too_long" if at[-1:] == ("bucket",) and "://" in value:
            return _not_an_address(value)
        case "literal_error" if _is_branch(error["loc"][-1]):
            near = did_you_mean(value, [AUTO], cutoff=0.6) if isinstance(value, str) else ""
            return f"must be {AUTO} or a list, not {described(value)}{near}"
        case "enum" if isinstance(value, str):
            options = (node_at(manifest_schema(), at) or {}).get("enum", [])
            if (meant := _MEANT.get(value.casefold())) in options:
                return f"{quoted(value)} is not one of {', '.join(options)}; use {meant}"
            return f"{quoted(value)} is not one of {', '.join(options)}{did_you_mean(value, options, cutoff=0.6)}"
        case "string_pattern_mismatch":
            of = at[-2:-1] if error["loc"][-1:] == ("[key]",) else at[-1:]
            rule = next((f"; {rule}" for field, rule in _RULES.items() if field in of), "")
            return f"{quoted(value)} does not match {limits['pattern']}{rule}"
        case "value_error":
            return error["msg"].removeprefix("Value error, ").removeprefix(f"{at[-1]}: ")
        case "enum":
            return f"must be a string, not {described(value)}"
        case "model_type" if at[-1] == "hyperparameters" and str(value).casefold() == AUTO.casefold():
            return f"must be a mapping, not {quoted(value)}; remove hyperparameters, and defaults are used for all its settings"
        case _ if length := wanted_length(error):
            return f"must have {length}"
        case _ if bound := wanted_bound(error):
            return f"must be {bound}, not {quoted(value)}"
        case _ if wanted := wanted_type(error):
            return f"must be {wanted}, not {described(value)}"
        case _:
            return error["msg"]


def _not_an_address(value: str) -> str:
    """Return a sentence for an address where the name of a bucket belongs."""
    scheme, _, rest = value.partition("://")
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if scheme.lower() != "s3":
        return f"must be the name of the bucket alone, not {quoted(value)}; the address of the service is endpoint, and a folder is prefix"
    if not bucket:
        return f"must be the name of a bucket, not {quoted(value)}"
    parts = f"`bucket: {bucket}`" + (f" and `prefix: {prefix}`" if prefix else "")
    return f"must be the name of the bucket alone, not {quoted(value)}; write {parts}"


def dotted(location: Location) -> str:
    """Return a location as `spec.training.podTemplate.tolerations[0].key`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def did_you_mean(name: str, options: Iterable[str], *, cutoff: float) -> str:
    """Return the question whether the nearest of the options was meant; empty if none is near."""
    by_folded = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=cutoff)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""


def described(value: object) -> str:
    """Return a value as a sentence names it."""
    match value:
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"the boolean {str(value).lower()}"
        case _:
            return quoted(value)


def node_at(node: Schema | None, at: Location) -> Schema | None:
    """Return the schema of a place; None where anything is allowed."""
    for part in at:
        if node is None:
            return None
        node = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    return node


@cache
def manifest_schema() -> Schema:
    """Return the schema of a manifest, without descriptions."""
    return schema(described=False)
