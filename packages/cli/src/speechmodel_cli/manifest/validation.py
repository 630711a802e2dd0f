"""Check a manifest against the API types, suggest the nearest known name and explain the traps of YAML.

The types ignore unknown fields, because an older operator must read what a newer CRD allows. A manifest is written by a person,
so here unknown fields are problems, as they are for `kubectl apply`.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from speechmodel_api.base import ApiModel
from speechmodel_api.field_problems import (
    Location,
    Schema,
    did_you_mean,
    dotted,
    manifest_schema,
    node_at,
    problem_of,
)
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.wanted_values import wanted_type

from speechmodel_cli.manifest.problems import Problem
from speechmodel_cli.manifest.source import FALSE, NULL, TRUE, Source, Value, resolve


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


_OF_DEEPSPEECH = {
    "n_hidden": "spec.training.hyperparameters.hiddenUnits",
    "train_batch_size": "spec.training.hyperparameters.batchSize",
    "dropout_rate": "spec.training.hyperparameters.dropout",
    "random_seed": "spec.training.hyperparameters.seed",
    "augment": "spec.training.augmentation",
    "es_epochs": "spec.training.earlyStop.patience",
    "es_min_delta": "spec.training.earlyStop.minDelta",
    "plateau_epochs": "spec.training.reduceOnPlateau.patience",
    "plateau_reduction": "spec.training.reduceOnPlateau.factor",
    "reduce_lr_on_plateau": "spec.training.reduceOnPlateau",
    "drop_source_layers": "spec.training.initFrom.dropLayers",
    "load_checkpoint_dir": "spec.training.initFrom",
    "checkpoint_secs": "spec.training.checkpoints.everySeconds",
    "max_to_keep": "spec.training.checkpoints.keep",
    "export_tflite": "spec.publish.tflite",
    "lm_alpha": "spec.decoding.scorer.alpha",
    "lm_beta": "spec.decoding.scorer.beta",
}
"""Fields by the flags of DeepSpeech and Coqui whose names are not similar."""
_METADATA: Schema = {field.alias or name: {} for name, field in _Metadata.model_fields.items()}


def validate_spec(source: Source) -> tuple[SpeechModelSpec | None, tuple[Problem, ...]]:
    """Return the spec and its problems: one for each field, and the spec is None when there is any."""
    text = json.dumps(without_nulls(source.value))
    empty = (*_empty_mappings(source), *_unknown_nulls(source))
    try:
        # as JSON, where strict takes a list for a tuple and a string for an enum
        document = _Document.model_validate_json(text, strict=True, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        return None, (*_problems(error, source), *empty)
    return (None if empty else document.spec), empty


def without_nulls(value: Value) -> Value:
    """Return the value as the API server prunes it: a field that is null is absent."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _problems(error: ValidationError, source: Source) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        if (found := problem_of(details)) is not None:
            at = found.location
            yield Problem(at, source.line_of(at), _explain(details, at, source) or found.message)


def _explain(error: ErrorDetails, at: Location, source: Source) -> str | None:
    """Return a sentence where a person's manifest needs another one than an object of the API server, else None."""
    if error["type"] == "extra_forbidden":
        return f"unknown field{_suggestion(str(at[-1]), at[:-1])}"
    wanted, value = wanted_type(error), error["input"]
    if error["type"] == "enum" and not isinstance(value, str):
        wanted = "a string"
    return _trap_of_yaml(wanted, value, source.written.get(at)) if wanted else None


def _suggestion(name: str, at: Location) -> str:
    flag = name.lstrip("-").replace("-", "_").lower()
    if field := _OF_DEEPSPEECH.get(flag):
        return f"; {flag} of DeepSpeech is {field} here"
    known = (_node(at) or {}).get("properties", {})
    if near := did_you_mean(name, known, cutoff=0.7):
        return near
    elsewhere = [dotted(place) for place in _places(_manifest_schema(), ()) if str(place[-1]).lower() == name.lower()]
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


def _node(at: Location) -> Schema | None:
    return node_at(_manifest_schema(), at)


@cache
def _manifest_schema() -> Schema:
    """Return the schema of a manifest with the fields of metadata."""
    made = manifest_schema()
    return {**made, "properties": {**made["properties"], "metadata": {"properties": _METADATA}}}


def _trap_of_yaml(wanted: str, value: Value, written: str | None) -> str | None:
    """Return a sentence about a value that YAML reads as another type than its author meant."""
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
    return None


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
