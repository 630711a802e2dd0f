"""YAML as kubectl reads it. The table is go-yaml v2's: resolve.go and its tests."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_cli.manifest.source import Source, read_documents, resolve


def read(text: str) -> Source:
    (source,) = read_documents(text)
    return source


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-4", 0.0001),
        ("1e3", 1000),
        ("75", 75),
        ("75.0", 75),
        ("+12", 12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("010", 8),
        ("0o10", 8),
        ("0b101", 5),
        (".5", 0.5),
        ("1.", 1),
        ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"),
        ("no", False),
        ("NO", False),
        ("off", False),
        ("n", False),
        ("y", True),
        ("Yes", True),
        ("on", True),
        ("nO", "nO"),
        ("~", None),
        ("null", None),
        ("", None),
        ("es", "es"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_scalars_mean_what_kubectl_reads(text: str, meant: Any) -> None:
    found = resolve(text)
    assert found == meant
    assert type(found) is type(meant)


def test_quotes_make_strings() -> None:
    assert read("a: '1e-4'\nb: \"no\"\nc: |-\n  75\n").value == {"a": "1e-4", "b": "no", "c": "75"}


def test_every_value_has_its_line() -> None:
    source = read("# comment\nspec:\n  a: 1\n  list:\n    - x\n    - b: 2\n")
    assert source.lines[("spec", "a")] == 3
    assert source.lines[("spec", "list", 1, "b")] == 6
    assert source.line_of(("spec", "list", 1, "missing")) == 6


def test_a_key_that_is_given_twice_is_a_problem() -> None:
    source = read("a: 1\nb: 2\na: 3\n")
    (problem,) = source.problems
    assert problem.line == 3
    assert "given twice, in line 1 already" in str(problem)


def test_anchors_and_merges_are_followed() -> None:
    text = "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n"
    assert read(text).value == {"base": {"a": 1, "b": 2}, "use": {"a": 1, "b": 3}}


def test_a_document_that_refers_to_itself_is_a_problem_and_no_endless_loop() -> None:
    assert [str(problem) for problem in read("a: &a\n  b: *a\n").problems] == ["a.b: refers to itself"]


def test_empty_documents_are_skipped() -> None:
    assert [source.value for source in read_documents("---\n---\na: 1\n---\n")] == [{"a": 1}]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"))
"""Without the line breaks that YAML has and JSON has not."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON.filter(lambda value: value is not None))
def test_json_is_yaml_and_means_the_same(value: Any) -> None:
    try:
        (source,) = read_documents(json.dumps(value, ensure_ascii=False))
    except yaml.YAMLError:
        return  # characters that YAML does not allow
    assert source.value == _folded(value)
    assert not source.problems


def _folded(value: Any) -> Any:
    """A float without a fraction is an integer, as in Go's JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    return [_folded(item) for item in value] if isinstance(value, list) else value
