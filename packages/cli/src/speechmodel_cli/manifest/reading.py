"""From a file to the SpeechModels in it, or to everything that is wrong with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError
from speechmodel_api.crd import GROUP, KIND, VERSION
from speechmodel_api.spec import NAME_LENGTH, NAME_PATTERN, SpeechModelSpec

from speechmodel_cli.manifest.problems import ManifestInvalid, Problem
from speechmodel_cli.manifest.schema import schema_problems, without_nulls
from speechmodel_cli.manifest.source import Source, read_documents

API_VERSION = f"{GROUP}/{VERSION}"
NAME_RULE = f"at most {NAME_LENGTH} characters, lower case letters, digits and '-', a letter first"


@dataclass(frozen=True)
class Manifest:
    """A SpeechModel as a user wrote it."""

    name: str
    namespace: str
    spec: SpeechModelSpec


def read_manifests(path: Path) -> tuple[Manifest, ...]:
    """Every SpeechModel in a file that may hold other resources as well. Raises ManifestInvalid with all problems at once."""
    sources = [source for source in _documents(path) if _is_ours(source)]
    if not sources:
        raise ManifestInvalid(path, (Problem((), 1, f"holds no document of kind {KIND}"),))
    problems = tuple(problem for source in sources for problem in _problems(source))
    if problems:
        raise ManifestInvalid(path, problems)
    return tuple(_manifest(source) for source in sources)


def _documents(path: Path) -> list[Source]:
    try:
        return list(read_documents(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ManifestInvalid(path, (Problem((), 1, f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise ManifestInvalid(path, (Problem((), 1, f"is not UTF-8: {error.reason}"),)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"is no YAML: {error.problem or error.context}"
        raise ManifestInvalid(path, (Problem((), mark.line + 1 if mark else 1, message),)) from error
    except yaml.YAMLError as error:
        raise ManifestInvalid(path, (Problem((), 1, f"is no YAML: {error}"),)) from error


def _is_ours(source: Source) -> bool:
    if not isinstance(source.value, dict):
        return False
    kind, version = str(source.value.get("kind", "")), str(source.value.get("apiVersion", ""))
    return kind.lower() in (KIND.lower(), f"{KIND.lower()}s") or version.startswith(f"{GROUP}/")


def _problems(source: Source) -> Iterator[Problem]:
    yield from source.problems
    yield from _identity_problems(source)
    yield from schema_problems(source)
    yield from _rule_problems(source)


def _identity_problems(source: Source) -> Iterator[Problem]:
    assert isinstance(source.value, dict)
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if source.value.get(field) != wanted:
            yield Problem((field,), source.line_of((field,)), f"must be {wanted}")
    metadata = source.value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name is None:
        yield Problem(("metadata", "name"), source.line_of(("metadata",)), "the field name is missing")
    elif not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name) or len(name) > NAME_LENGTH:
        yield Problem(("metadata", "name"), source.line_of(("metadata", "name")), NAME_RULE)


def _rule_problems(source: Source) -> Iterator[Problem]:
    """What CEL rules say on a cluster, the types say here."""
    value = without_nulls(source.value)
    spec = value.get("spec") if isinstance(value, dict) else None
    if not isinstance(spec, dict):
        return
    try:
        SpeechModelSpec.model_validate(spec)
    except ValidationError as error:
        for found in error.errors():
            if found["type"] == "value_error":
                location = ("spec", *found["loc"])
                message = found["msg"].removeprefix("Value error, ").removeprefix(f"{location[-1]}: ")
                yield Problem(location, source.line_of(location), message)


def _manifest(source: Source) -> Manifest:
    value = without_nulls(source.value)
    assert isinstance(value, dict)
    metadata, spec = value["metadata"], value["spec"]
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    namespace = metadata.get("namespace", "default")
    return Manifest(str(metadata["name"]), str(namespace), SpeechModelSpec.model_validate(spec))
