"""`kubectl explain` and docs/reasons.md read like a reference: sentences, and none that is a bare noun."""

import json
import re
from collections.abc import Iterator
from typing import Any

from speechmodel_api.crd import schema
from speechmodel_api.reasons import Reason

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yield a schema and everything below it that `kubectl explain` shows, by path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".removeprefix("."))
    if "properties" in node.get("items", {}):
        yield from nodes(node["items"], f"{path}[]")


# The API server describes metadata, and rejects a definition that does so itself.
NODES = {path: node for path, node in nodes(schema()) if path != "metadata"}
DESCRIPTIONS = {path: node.get("description", "") for path, node in NODES.items()}


def test_every_field_is_described_in_more_than_four_words() -> None:
    assert len(DESCRIPTIONS) >= 157
    assert {path: text for path, text in DESCRIPTIONS.items() if len(text.split()) <= 4} == {}


def test_a_description_is_made_of_sentences() -> None:
    sentences = re.compile(r"(?!(What|Of|Whether|Who|Which)\b)[A-Z0-9].*\.", re.DOTALL)
    assert {path: text for path, text in DESCRIPTIONS.items() if not sentences.fullmatch(text)} == {}


def test_a_description_names_the_default_of_its_field() -> None:
    defaults = {path: node["default"] for path, node in NODES.items() if node.get("default")}
    assert defaults["spec.decoding.beamWidth"] == 500
    assert {
        path: default for path, default in defaults.items() if json.dumps(default).strip('"') not in DESCRIPTIONS[path]
    } == {}


def test_a_description_names_the_values_of_its_field() -> None:
    missing = {
        (path, value)
        for path, node in NODES.items()
        for value in node.get("enum", ())
        if value not in DESCRIPTIONS[path] and path != "status.phase"
    }
    assert missing == set()


def test_no_field_has_a_word_that_a_structural_schema_cannot_have() -> None:
    words = {"$ref", "anyOf", "patternProperties", "propertyNames"}
    found = {path: words & set(node) for path, node in NODES.items() if words & set(node)}
    assert found == {"spec.training": {"anyOf"}}, "it may have alternatives, but only as bounds of values"
    assert not any("type" in each for option in NODES["spec.training"]["anyOf"] for _, each in nodes(option))
    assert NODES["spec.decoding.intents"]["additionalProperties"]["minItems"] == 1


def test_the_message_of_a_rule_is_a_demand() -> None:
    rules = [rule for node in NODES.values() for rule in node.get("x-kubernetes-validations", ())]
    messages = [rule.get("message") or rule["messageExpression"] for rule in rules]
    assert len(messages) >= 8
    assert [message for message in messages if not re.search(r"\b(must|set)\b", message)] == []


def test_a_reason_says_in_sentences_what_it_means_and_what_to_do() -> None:
    assert [reason for reason in Reason if not reason.__doc__] == []
    texts = [text for reason in Reason for text in (reason.__doc__, reason.remedy) if text]
    assert [text for text in texts if not re.fullmatch(r"[A-Z`][^|]*\.", text)] == []
