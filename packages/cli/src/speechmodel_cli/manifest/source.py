"""YAML as kubectl reads it, with the line of every value.

kubectl reads YAML 1.1 with sigs.k8s.io/yaml (go-yaml v2, resolve.go), PyYAML reads it by the letter: `1e-4` is a number there and
a string here, `1:30` a string there and 90 here. So scalars are resolved here, by go-yaml's rules. What both have in common is
that `no`, `yes`, `on`, `off`, `y` and `n` are booleans.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from speechmodel_cli.manifest.problems import Location, Problem

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"

TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MERGE = "<<"


@dataclass
class Source:
    """One YAML document."""

    value: Value
    line: int
    """Where it begins."""
    lines: dict[Location, int] = field(default_factory=dict)
    """Of every value."""
    written: dict[Location, str] = field(default_factory=dict)
    """Scalars without quotes as they stand in the file."""
    problems: list[Problem] = field(default_factory=list)
    """What YAML lets pass and a manifest must not have: duplicate keys, cycles."""

    def line_of(self, location: Location) -> int:
        """The line of a value, or of the nearest one around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, self.line)


def read_documents(text: str) -> Iterator[Source]:
    """Every document that is not empty. Raises yaml.YAMLError where the text is no YAML."""
    for node in yaml.compose_all(text, Loader=yaml.BaseLoader):
        source = Source(None, node.start_mark.line + 1)
        source.value = _read(node, (), source, ())
        if source.value is not None:
            yield source


def resolve(text: str) -> Value:
    """What a scalar without quotes means."""
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return int(re.sub(r"^([-+]?)0([0-7])", r"\g<1>0o\2", digits), 0)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return int(number) if number.is_integer() else number
    return text


def _read(node: yaml.Node, at: Location, source: Source, above: tuple[yaml.Node, ...]) -> Value:
    source.lines.setdefault(at, node.start_mark.line + 1)
    if node in above:
        source.problems.append(Problem(at, node.start_mark.line + 1, "refers to itself"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, at, source, (*above, node))
    if isinstance(node, yaml.SequenceNode):
        return [_read(item, (*at, index), source, (*above, node)) for index, item in enumerate(node.value)]
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    source.written[at] = text
    return resolve(text)


def _read_mapping(node: yaml.MappingNode, at: Location, source: Source, above: tuple[yaml.Node, ...]) -> Value:
    found: dict[str, Value] = {}
    merged: dict[str, Value] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name == _MERGE and key.style is None:
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                content = _read(other, at, source, above)
                merged = {**(content if isinstance(content, dict) else {}), **merged}
        elif name in found:
            first = source.lines[(*at, name)]
            source.problems.append(Problem((*at, name), line, f"is given twice, in line {first} already; remove one"))
        else:
            source.lines[(*at, name)] = line
            found[name] = _read(value, (*at, name), source, above)
    return {**merged, **found}
