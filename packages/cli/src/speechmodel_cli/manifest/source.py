"""YAML as kubectl reads it, with the line of every value.

kubectl reads YAML 1.1 with sigs.k8s.io/yaml (go-yaml v2, resolve.go), and PyYAML follows the letter of YAML 1.1. To kubectl
`1e-4` is a number and `1:30` a string; to PyYAML `1e-4` is a string and `1:30` is 90. Therefore scalars are resolved here, by
the rules of go-yaml. For both, `no`, `yes`, `on`, `off`, `y` and `n` are booleans.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import yaml
from speechmodel_api.field_problems import Location

from speechmodel_cli.manifest.problems import Problem

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"

TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_HALF_A_PAIR = "has half of a surrogate pair, such as \\ud83d alone; write the character itself"
_MERGE = "<<"
_ITEMS = "items"
MOST_VALUES = 100_000
"""Values of a document with its aliases written out. The API server takes objects of 1.5 MB."""


@dataclass
class Source:
    """One YAML document."""

    value: Value
    line: int
    """Line where it begins."""
    lines: dict[Location, int] = field(default_factory=dict)
    """Line of every value."""
    written: dict[Location, str] = field(default_factory=dict)
    """Scalars without quotes, as written in the file."""
    problems: list[Problem] = field(default_factory=list)
    """Duplicate keys and cycles, which YAML allows and a manifest must not have."""
    values: int = 0
    """Number of values that were read so far."""

    def line_of(self, location: Location) -> int:
        """Return the line of a value, or of the nearest value around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, self.line)

    def items(self) -> "list[Source]":
        """Return the objects in the list `items`, each as a document of its own."""
        items = self.value.get(_ITEMS) if isinstance(self.value, dict) else None
        if not isinstance(items, list):
            return []
        found = [Source(item, self.line_of((_ITEMS, index))) for index, item in enumerate(items)]
        for location, line in self.lines.items():
            if _in_item(location):
                found[int(location[1])].lines[location[2:]] = line
        for location, text in self.written.items():
            if _in_item(location):
                found[int(location[1])].written[location[2:]] = text
        for problem in self.problems:
            if _in_item(problem.location):
                found[int(problem.location[1])].problems.append(replace(problem, location=problem.location[2:]))
        return found

    def around_items(self) -> "list[Problem]":
        """Return the problems that are in none of the objects of the list `items`."""
        return [problem for problem in self.problems if not _in_item(problem.location)]


def _in_item(location: Location) -> bool:
    return len(location) > 1 and location[0] == _ITEMS


class DocumentTooLarge(Exception):
    """A document has too many values, or values inside of too many others."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def read_documents(text: str) -> Iterator[Source]:
    """Yield every document that is not empty.

    Raises yaml.YAMLError when the text is not valid YAML, and DocumentTooLarge.
    """
    line = 1
    try:
        for node in yaml.compose_all(text, Loader=yaml.BaseLoader):
            line = node.start_mark.line + 1
            source = Source(None, line)
            source.value = _read(node, (), source, ())
            if source.value is not None:
                yield source
    except RecursionError:
        raise DocumentTooLarge(line, "nests lists or mappings too deeply; flatten it") from None


def resolve(text: str) -> Value:
    """Return the value of a scalar without quotes."""
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        try:
            return int(re.sub(r"^([-+]?)0([0-7])", r"\g<1>0o\2", digits), 0)
        except ValueError:  # more digits than Python converts
            return float(digits)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return int(number) if number.is_integer() else number
    return text


def _read(node: yaml.Node, at: Location, source: Source, above: tuple[yaml.Node, ...]) -> Value:
    source.lines.setdefault(at, node.start_mark.line + 1)
    source.values += 1
    if source.values > MOST_VALUES:
        problem = f"has more than {MOST_VALUES} values when its aliases are written out; use fewer aliases, or several documents"
        raise DocumentTooLarge(source.line, problem)
    if node in above:
        source.problems.append(Problem(at, node.start_mark.line + 1, "refers to itself"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, at, source, (*above, node))
    if isinstance(node, yaml.SequenceNode):
        return [_read(item, (*at, index), source, (*above, node)) for index, item in enumerate(node.value)]
    text = str(node.value)
    if not _is_text(text):
        source.problems.append(Problem(at, node.start_mark.line + 1, _HALF_A_PAIR))
        return text.encode(errors="replace").decode()
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    source.written[at] = text
    return resolve(text)


def _is_text(text: str) -> bool:
    """Return False for a text with half of a surrogate pair, which an escape can give."""
    try:
        text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return False
    return True


def _read_mapping(node: yaml.MappingNode, at: Location, source: Source, above: tuple[yaml.Node, ...]) -> Value:
    found: dict[str, Value] = {}
    merged: dict[str, Value] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            source.problems.append(Problem(at, line, "has a list or a mapping as a key; write a name before the colon"))
            continue
        name = str(key.value)
        if name == _MERGE and key.style is None:
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                content = _read(other, at, source, above)
                merged = {**(content if isinstance(content, dict) else {}), **merged}
        elif key.style is None and isinstance(meant := resolve(name), bool):
            problem = f'YAML reads the name {name} as the boolean {str(meant).lower()}; write "{name}"'
            source.problems.append(Problem((*at, name), line, problem))
        elif not _is_text(name):
            source.problems.append(Problem(at, line, _HALF_A_PAIR))
        elif name in found:
            first = source.lines[(*at, name)]
            source.problems.append(Problem((*at, name), line, f"is given twice, in line {first} already; remove one"))
        else:
            source.lines[(*at, name)] = line
            found[name] = _read(value, (*at, name), source, above)
    return {**merged, **found}
