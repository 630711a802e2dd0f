"""The CustomResourceDefinition, generated from the types. `make generate` writes it to files."""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from speechmodel_api.base import ApiModel
from speechmodel_api.schema import cel
from speechmodel_api.spec import NAME_LENGTH, NAME_PATTERN, NAME_RULE, SpeechModelSpec
from speechmodel_api.status import SpeechModelStatus

GROUP = "speechops.dev"
VERSION = "v1alpha1"
KIND = "SpeechModel"
PLURAL = "speechmodels"

COLUMNS = [
    ("Phase", "string", ".status.phase"),
    ("Epoch", "string", ".status.progress"),
    ("WER", "number", ".status.model.wer"),
    ("WER-Unseen", "number", ".status.model.werUnseenSpeakers.rate"),
    ("Version", "string", ".status.model.version"),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Age", "date", ".metadata.creationTimestamp"),
]
"""Columns of `kubectl get`: name, type and path."""
WIDE = [
    ("Serving", "string", ".status.serving.version"),
    ("Latest", "string", ".status.latestVersion"),
    # at most one of them is there: a path cannot choose between two conditions, and Ready says Ready while an old version is served
    ("Stalled", "string", '.status.conditions[?(@.type=="Stalled")].reason'),
    ("Reconciling", "string", '.status.conditions[?(@.type=="Reconciling")].reason'),
    ("URL", "string", ".status.url"),
    ("Workers", "string", ".status.workersReady"),
    ("Speakers-Guessed", "boolean", ".status.model.werUnseenSpeakers.speakersGuessed"),
]
"""Columns that `kubectl get --output wide` adds."""


def crd() -> dict[str, Any]:
    """Return the manifest of the CustomResourceDefinition."""
    columns: list[dict[str, Any]] = [{"name": n, "type": t, "jsonPath": p} for n, t, p in COLUMNS]
    columns += [{"name": n, "type": t, "jsonPath": p, "priority": 1} for n, t, p in WIDE]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": "speechmodel",
                "shortNames": ["sm"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema(*, described: bool = True) -> dict[str, Any]:
    """Return the OpenAPI v3 schema of a SpeechModel, structural as the API server requires.

    With `described`, fields have descriptions; generating them takes most of a second.
    """
    return {
        "type": "object",
        "description": "SpeechModel describes a speech recogniser. The operator trains it on recordings, converts it to "
        "a DeepSpeech 0.9.3 model file, measures its error rates, publishes it to S3 and serves it.",
        "required": ["spec"],
        **cel(
            f"self.metadata.name.matches('{NAME_PATTERN}') && size(self.metadata.name) <= {NAME_LENGTH}",
            f"metadata.name {NAME_RULE}",
        ),
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"Versioned schema of this object, which is {GROUP}/{VERSION}. The API server rejects "
                "versions that it does not serve.",
            },
            "kind": {
                "type": "string",
                "description": f"Type of this object, which is {KIND}. It is in CamelCase and cannot be changed.",
            },
            "metadata": {"type": "object"},  # the API server describes it, and rejects a description of ours
            "spec": structural(SpeechModelSpec, described=described),
            "status": structural(SpeechModelStatus, described=described),
        },
    }


def structural(model: type[BaseModel], *, described: bool = True) -> dict[str, Any]:
    """Return the structural schema of a type, without references, unions or titles."""
    generator = _Described if described else GenerateJsonSchema
    raw = model.model_json_schema(by_alias=True, schema_generator=generator)
    definitions = raw.pop("$defs", {})
    folded: dict[str, Any] = _fold(raw, definitions)
    return folded


class _Described(GenerateJsonSchema):
    """Describes fields by the docstrings below them. pydantic can do so too, but when a class is made: every program that
    imports the types would read their source.
    """

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of a type, with descriptions of its fields."""
        model, found = schema["cls"], super().model_schema(schema)
        for base in (each for each in reversed(model.__mro__) if issubclass(each, ApiModel)):
            for name, text in _docstrings(base).items():
                found["properties"][model.model_fields[name].alias]["description"] = text
        return found


def _docstrings(model: type) -> dict[str, str]:
    """Return the docstrings below the fields that a class declares, by the names of the fields."""
    (definition,) = ast.parse(dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _fold(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_fold(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = _resolve(dict(node), definitions)
    if "type" not in node and (options := node.pop("anyOf", None)) is not None:
        (only,) = (o for o in options if o.get("type") != "null")  # a structural schema has no other unions
        if node.get("default", ...) is None:
            del node["default"]
        node = _resolve({**only, **node}, definitions)
    for word in ("exclusiveMinimum", "exclusiveMaximum"):  # OpenAPI v3.0 has a bound and a flag
        if not isinstance(node.get(word, True), bool):
            node[word.replace("exclusiveM", "m")] = node[word]
            node[word] = True
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("default") == []:
        del node["default"]
    if isinstance(node.get("default"), dict):
        node["default"] = {}  # the API server then fills in the defaults of the properties
    patterns = node.pop("patternProperties", {})  # names with a pattern, which a structural schema cannot have
    if patterns:
        (node["additionalProperties"],) = patterns.values()
    if names := node.pop("propertyNames", None):
        node |= _rule_of_names(names.get("minLength", 0), names["maxLength"], *patterns)
    node.pop("title", None)
    if node.get("additionalProperties") is True:
        del node["additionalProperties"]
    return {key: _fold_member(key, value, definitions) for key, value in node.items()}


def _rule_of_names(shortest: int, longest: int, pattern: str = "") -> dict[str, Any]:
    """Return the CEL rule for the names in a map, whose message quotes a name that breaks it."""
    conditions = [f"size(name) <= {longest}"]
    must = f"must have at most {longest} characters"
    if shortest:
        conditions.insert(0, f"size(name) >= {shortest}")
        must = f"must have {shortest} to {longest} characters"
    if pattern:
        conditions.append(f"name.matches('{pattern}')")
        must += f" and match {pattern}"
    right = " && ".join(conditions)
    message = f"'the name \"' + self.filter(name, !({right}))[0] + '\" {must}'"
    return {"x-kubernetes-validations": [{"rule": f"self.all(name, {right})", "messageExpression": message}]}


def _fold_member(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "properties":
        return {name: _fold(prop, definitions) for name, prop in value.items()}
    if key in ("items", "additionalProperties"):
        return _fold(value, definitions)
    if key == "description":
        return " ".join(value.split())
    return value


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if reference := node.pop("$ref", None):
        return {**definitions[reference.rsplit("/", 1)[1]], **node}
    return node
