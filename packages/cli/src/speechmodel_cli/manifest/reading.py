"""Read the SpeechModels in a file, or report every problem of the file."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from speechmodel_api.crd import GROUP, KIND, VERSION
from speechmodel_api.spec import NAME_LENGTH, NAME_PATTERN, NAME_RULE, SpeechModelSpec

from speechmodel_cli.manifest.phrases import phrase_problem
from speechmodel_cli.manifest.problems import ManifestInvalid, Problem
from speechmodel_cli.manifest.source import DocumentTooLarge, Source, Value, read_documents
from speechmodel_cli.manifest.validation import validate_spec

API_VERSION = f"{GROUP}/{VERSION}"
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Manifest:
    """A SpeechModel as a user wrote it."""

    name: str
    namespace: str
    spec: SpeechModelSpec


def read_manifests(path: Path) -> tuple[Manifest, ...]:
    """Return every SpeechModel in a file that may hold other resources as well, also in a List. The file `-` is the
    standard input.

    Raises ManifestInvalid with all problems at once.
    """
    documents = _documents(path)
    objects = [one for source in documents for one in (source.items() if _is_list(source) else [source])]
    sources = [source for source in objects if _is_ours(source)]
    if not sources:
        raise ManifestInvalid(path, (Problem((), 1, f"holds no document of kind {KIND}"),))
    problems = [problem for source in documents if _is_list(source) for problem in source.around_items()]
    manifests = tuple(manifest for source in sources if (manifest := _read(source, problems)))
    problems += _repeated(sources)
    if problems:
        raise ManifestInvalid(path, tuple(problems))
    return manifests


def _documents(path: Path) -> list[Source]:
    try:
        content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
        return list(read_documents(content.decode()))
    except OSError as error:
        raise ManifestInvalid(path, (Problem((), 1, f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise ManifestInvalid(path, (Problem((), 1, f"is not UTF-8 ({error.reason}); save it as UTF-8"),)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        advice = "; indent with spaces instead of tabs" if "'\\t'" in (error.problem or "") else ""
        message = f"is not valid YAML: {error.problem or error.context}{advice}"
        raise ManifestInvalid(path, (Problem((), mark.line + 1 if mark else 1, message),)) from error
    except yaml.reader.ReaderError as error:
        message = f"is not valid YAML: it has the character U+{error.character:04X}, which is not allowed; remove it"
        raise ManifestInvalid(path, (Problem((), 1, message),)) from error
    except DocumentTooLarge as error:
        raise ManifestInvalid(path, (Problem((), error.line, str(error)),)) from error


def _is_list(source: Source) -> bool:
    """Return True for a List, as `kubectl get -o yaml` prints several objects."""
    return isinstance(source.value, dict) and source.value.get("kind") in ("List", f"{KIND}List")


def _repeated(sources: Sequence[Source]) -> Iterator[Problem]:
    """Find names that the file gives twice in one namespace, or without one. The second would replace the first in a cluster."""
    at = ("metadata", "name")
    first: dict[tuple[str, str], Source] = {}
    for source in sources:
        metadata = source.value.get("metadata") if isinstance(source.value, dict) else None
        if not isinstance(metadata, dict) or not isinstance(name := metadata.get("name"), str):
            continue
        earlier = first.setdefault((str(metadata.get("namespace")), name), source)
        if earlier is not source:
            problem = f"the SpeechModel on line {earlier.line_of(at)} already has this name; rename one of them"
            yield Problem(at, source.line_of(at), problem)


def _is_ours(source: Source) -> bool:
    if not isinstance(source.value, dict):
        return False
    kind, version = str(source.value.get("kind", "")), str(source.value.get("apiVersion", ""))
    return kind.lower() in (KIND.lower(), f"{KIND.lower()}s") or version.startswith(f"{GROUP}/")


def _read(source: Source, problems: list[Problem]) -> Manifest | None:
    """Return the manifest, and add its problems to `problems`."""
    assert isinstance(source.value, dict)
    spec, of_spec = validate_spec(source)
    problems += (*source.problems, *_identity_problems(source, source.value), *of_spec)
    if spec and (found := phrase_problem(spec)):
        place, problem = found
        at = ("spec", *place)
        problems.append(Problem(at, source.line_of(at), problem))
    metadata = source.value.get("metadata")
    if spec is None or not isinstance(metadata, dict):
        return None
    return Manifest(str(metadata.get("name")), str(metadata.get("namespace") or "default"), spec)


def _identity_problems(source: Source, document: dict[str, Value]) -> Iterator[Problem]:
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != wanted:
            yield Problem((field,), source.line_of((field,)), f"must be {wanted}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name is None:
        yield Problem(("metadata", "name"), source.line_of(("metadata",)), "the field name is missing")
    elif not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name) or len(name) > NAME_LENGTH:
        yield Problem(("metadata", "name"), source.line_of(("metadata", "name")), NAME_RULE)
