"""The values that the chart accepts, and its messages for the others."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.helm_chart import Helm, Object, operator_pod
from support.places import CHART

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DIGEST = "sha256:" + "a" * 64

# values, part of the message
BAD: list[tuple[Object, str]] = [
    ({"replicaCount": 0}, "at '/replicaCount': minimum: got 0, want 1"),
    ({"watchNamespaceSelector": {"speech": "yes"}}, "additional properties 'speech' not allowed"),
    (
        {"watchNamespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "missing property 'values'",
    ),
    (
        {"watchNamespaceSelector": {"matchLabels": {"a": "b"}}, "watchNamespaces": ["c"]},
        "watchNamespaces is set too; set one of them",
    ),
    ({"tracing": {"endpoint": "collector:4318"}}, "at '/tracing/endpoint': 'collector:4318' does not match pattern"),
    ({"tracing": {"ratio": 2}}, "at '/tracing/ratio': maximum: got 2, want 1"),
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ({"env": [{"name": "A"}]}, "additional properties 'env' not allowed"),
    ({"crds": {"keep": False}}, "at '/crds': additional properties 'keep' not allowed"),
    ({"crds": {"enabled": "yes"}}, "at '/crds/enabled': got string, want boolean"),
    ({"watchNamespaces": "a,b"}, "at '/watchNamespaces': got string, want array"),
    ({"watchNamespaces": ["Team_A"]}, "at '/watchNamespaces/0': 'Team_A' does not match pattern"),
    ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
    ({"images": {"opertor": {}}}, "at '/images': additional properties 'opertor' not allowed"),
    ({"images": {"pullPolicy": "Sometimes"}}, "at '/images/pullPolicy': value must be one of"),
    ({"images": {"operator": {"digest": "abc"}}}, "at '/images/operator/digest': 'abc' does not match pattern"),
    (
        {"images": {"training": {"digest": DIGEST, "tag": "1-cuda"}}},
        "images.training.tag: images.training.digest is set too",
    ),
    ({"images": {"tag": 1.0}}, "at '/images/tag': got number, want string"),
    ({"images": {"operator": {"repository": "Speech/Op"}}}, "at '/images/operator/repository'"),
    ({"global": {"imagePullSecrets": ["Not A Name"]}}, "at '/global/imagePullSecrets/0'"),
    ({"global": {"imageRegistry": "https://reg"}}, "at '/global/imageRegistry'"),
    ({"caBundle": {"configMapName": "My_CAs"}}, "at '/caBundle/configMapName': 'My_CAs' does not match pattern"),
    ({"caBundle": {"configMapName": "cas", "key": ""}}, "at '/caBundle/key': '' does not match pattern"),
    ({"caBundle": {"name": "cas"}}, "at '/caBundle': additional properties 'name' not allowed"),
    ({"exposure": {"gateway": True}}, "at '/exposure': additional properties 'gateway' not allowed"),
    ({"retrain": {"models": ["espejo"]}}, "at '/retrain/models/0': got string, want object"),
    ({"retrain": {"models": [{"name": "espejo"}]}}, "at '/retrain/models/0': missing property 'namespace'"),
    ({"extraEnv": [{"name": "SPEECHMODEL_NAMESPACES"}]}, "at '/extraEnv/0/name': 'not' failed"),
    ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "at '/podDisruptionBudget/maxUnavailable'"),
    ({"imagePullSecrets": ["regcred"]}, "at '/imagePullSecrets/0': got string, want object"),
    ({"logLevel": "debug"}, "at '/logLevel': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
    ({"progressSeconds": 0}, "at '/progressSeconds': minimum: got 0, want 1"),
    ({"serverUpgradesAtOnce": 0}, "at '/serverUpgradesAtOnce': minimum: got 0, want 1"),
    ({"serviceAccount": {"create": False}}, "at '/serviceAccount/name'"),
    ({"resources": {"limits": {"memory": "512 MB"}}}, "at '/resources/limits/memory'"),
    ({"nodeSelector": {"gpu": True}}, "at '/nodeSelector/gpu': got boolean, want string"),
    ({"tolerations": [{"operator": "Equals"}]}, "at '/tolerations/0/operator': value must be one of"),
    ({"crds": None}, "at '': missing property 'crds'"),  # a section whose lines are all commented out
    ({"crds": {"enabled": None}}, "at '/crds': missing property 'enabled'"),
    ({"rbac": {"create": None}}, "at '/rbac': missing property 'create'"),
    ({"networkPolicy": {"enabled": None}}, "at '/networkPolicy': missing property 'enabled'"),
    ({"images": {"training": {"repository": None}}}, "at '/images/training': missing property 'repository'"),
    ({"logLevel": None}, "at '': missing property 'logLevel'"),
    ({"tracing": {"ratio": None}}, "at '/tracing': missing property 'ratio'"),
    ({"podDisruptionBudget": {"maxUnavailable": None}}, "at '/podDisruptionBudget': missing property 'maxUnavailable'"),
    ({"affinity": {"nodeAffinities": {}}}, "at '/affinity': additional properties 'nodeAffinities' not allowed"),
]


@pytest.mark.parametrize("values, message", BAD, ids=[json.dumps(v) for v, _ in BAD])
def test_wrong_values_are_refused_with_the_place_and_the_reason(helm: Helm, values: Object, message: str) -> None:
    assert message in helm.refusal(values)


def test_an_empty_list_or_map_may_be_written_as_nothing(helm: Helm) -> None:
    empty = [name for name, value in yaml.safe_load(VALUES).items() if value in ([], {})]
    assert {"watchNamespaces", "watchNamespaceSelector", "podLabels", "extraEnv"} < set(empty)
    assert helm.manifests(dict.fromkeys(empty)) == helm.manifests()
    assert "all namespaces" in helm("install", "x", str(CHART), "--dry-run=client", values=dict.fromkeys(empty))


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    done = helm.run("template", "x", str(CHART), "--kube-version", "1.29.15")
    assert "chart requires kubeVersion: >=1.30.0-0" in done.stderr


def test_what_helm_gives_to_the_parts_of_a_bigger_chart_is_taken(helm: Helm) -> None:
    assert helm.manifests({"global": {"storageClass": "fast"}})


def test_every_value_has_its_sentence() -> None:
    described = {path for path, sentence in sentences() if re.match(r"[A-Z].*[.]$", sentence)}
    assert {path for path, _ in sentences()} == described, "a sentence begins with a capital and ends with a full stop"
    wordless = [
        path
        for path in leaves(yaml.safe_load(VALUES))
        if not any(path == parent or path.startswith(f"{parent}.") for parent in described)
    ]
    assert wordless == []


def test_the_schema_describes_a_value_with_the_same_sentence() -> None:
    schemas = dict(described_properties(SCHEMA))
    for path, sentence in sentences():
        if path in schemas:  # the four images share one definition
            assert schemas[path] == sentence


def test_the_schema_describes_every_property() -> None:
    found = dict(described_properties(SCHEMA)) | dict(described_properties(SCHEMA["definitions"]["image"]))
    assert {"images.tag", "resources.limits", "digest"} < found.keys()
    assert [path for path, sentence in found.items() if not re.fullmatch(r"[A-Z].*[.]", sentence)] == []


def described_properties(schema: Object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the description of every property of a schema."""
    for name, child in {**schema.get("properties", {}), **schema.get("items", {}).get("properties", {})}.items():
        yield prefix + name, child.get("description", "")
        yield from described_properties(child, f"{prefix}{name}.")


def sentences() -> Iterator[tuple[str, str]]:
    """Yield the path of every value that has a comment `# -- ...` above it, and the comment."""
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in VALUES.splitlines():
        if found := re.match(r"^ *# (.*)", line):
            comment.append(found[1])
        elif found := re.match(r"^( *)([A-Za-z]+):", line):
            parents = [*(p for p in parents if p[0] < len(found[1])), (len(found[1]), found[2])]
            if comment:
                yield ".".join(name for _, name in parents), " ".join(comment).removeprefix("-- ")
            comment = []


def leaves(values: Object, prefix: str = "") -> Iterator[str]:
    """Yield the path of every value that does not hold other values."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    assert list(unlike(yaml.safe_load(VALUES), SCHEMA)) == []


def unlike(values: Any, schema: Object, path: str = "") -> Iterator[str]:
    """Yield the names that only one of them has. Values that are empty by default go to Kubernetes unchanged."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("additionalProperties") is False and values:
        known = set(schema["properties"]) - {"claims"}
        for name in known ^ set(values):
            yield path + name
        for name in known & set(values):
            yield from unlike(values[name], schema["properties"][name], f"{path}{name}.")


def test_an_image_is_named_by_registry_tag_and_digest(helm: Helm) -> None:
    images = {
        "registry": "mirror.example.com:5000/speech",
        "tag": "1.2.3",
        "training": {"tag": "1.2.3-cuda"},
        "inference": {"registry": "other.example.com", "repository": "me/server"},
        "operator": {"digest": DIGEST},
    }
    (container,) = operator_pod(helm.manifests({"images": images}))["spec"]["containers"]
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    assert container["image"] == f"mirror.example.com:5000/speech/speechops/operator@{DIGEST}"
    assert settings["SPEECHMODEL_IMAGE_PIPELINE"] == "mirror.example.com:5000/speech/speechops/pipeline:1.2.3"
    assert settings["SPEECHMODEL_IMAGE_TRAINING"] == "mirror.example.com:5000/speech/speechops/training:1.2.3-cuda"
    assert settings["SPEECHMODEL_IMAGE_COQUI"] == "mirror.example.com:5000/speech/speechops/coqui:1.2.3"
    assert settings["SPEECHMODEL_IMAGE_INFERENCE"] == "other.example.com/me/server:1.2.3"


def test_without_a_tag_it_is_the_charts_app_version(helm: Helm) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    (container,) = operator_pod(helm.manifests())["spec"]["containers"]
    assert container["image"] == f"docker.io/speechops/operator:{version}"
