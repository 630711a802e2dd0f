"""The CustomResourceDefinition, generated from the types; `make crds` writes it where it is needed (charts/generate.py)."""

from typing import Any

from pydantic import BaseModel

from speechmodel_api.spec import NAME_LENGTH, NAME_PATTERN, SpeechModelSpec
from speechmodel_api.status import SpeechModelStatus

GROUP = "speechops.dev"
VERSION = "v1alpha1"
KIND = "SpeechModel"
PLURAL = "speechmodels"

COLUMNS = [
    ("Phase", "string", ".status.phase"),
    ("Epoch", "string", ".status.progress"),
    ("WER", "number", ".status.model.wer"),
    ("Version", "string", ".status.serving.version"),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Age", "date", ".metadata.creationTimestamp"),
]
WIDE = [("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'), ("URL", "string", ".status.url")]


def crd() -> dict[str, Any]:
    """The manifest. The schema of `spec` and `status` is structural, as the API server demands."""
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


def schema() -> dict[str, Any]:
    """The OpenAPI v3 schema of a SpeechModel."""
    return {
        "type": "object",
        "description": "A speech recogniser: trained, converted, measured, published and served.",
        "required": ["spec"],
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches('{NAME_PATTERN}') && size(self.metadata.name) <= {NAME_LENGTH}",
                "message": f"metadata.name: at most {NAME_LENGTH} characters, lower case letters, digits and '-', a letter first",
            }
        ],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(SpeechModelSpec),
            "status": structural(SpeechModelStatus),
        },
    }


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """pydantic's JSON Schema 2020-12 as a structural schema: references inlined, Optional folded, titles dropped."""
    raw = model.model_json_schema(by_alias=True)
    definitions = raw.pop("$defs", {})
    folded: dict[str, Any] = _fold(raw, definitions)
    return folded


def _fold(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_fold(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = _resolve(dict(node), definitions)
    if (options := node.pop("anyOf", None)) is not None:
        (only,) = (
            o for o in options if o.get("type") != "null"
        )  # unions of shapes are not structural: none may be declared
        if node.get("default", ...) is None:
            del node["default"]
        node = _resolve({**only, **node}, definitions)
    for word in ("exclusiveMinimum", "exclusiveMaximum"):  # OpenAPI v3.0 wants a bound and a flag
        if not isinstance(node.get(word, True), bool):
            node[word.replace("exclusiveM", "m")] = node[word]
            node[word] = True
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("default") == []:
        del node["default"]
    if isinstance(node.get("default"), dict):
        node["default"] = {}  # the properties' own defaults do the rest
    for word in ("title", "propertyNames"):
        node.pop(word, None)
    if node.get("additionalProperties") is True:
        del node["additionalProperties"]
    return {key: _fold_member(key, value, definitions) for key, value in node.items()}


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
