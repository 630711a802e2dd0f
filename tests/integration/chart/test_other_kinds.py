"""The manifests of kinds that other projects define are accepted by an API server that has their definitions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_operator.resources.accessories import accessories
from support import built
from support.api_server import api_server
from support.definitions import defined, definitions
from support.helm_chart import Helm, Object
from support.kube import Kubectl
from support.places import ROOT
from support.world import OWNER, World

pytestmark = pytest.mark.slow

KINDS = frozenset({"HTTPRoute", "Kustomization", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"})
MONITORING: Object = {
    "monitoring": {
        "serviceMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
    }
}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """The administrator's kubectl, on an API server that knows these kinds."""
    programs = built.programs("etcd", "kube-apiserver", "kubectl")
    with api_server(programs, tmp_path_factory.mktemp("api-server")) as found, defined(found, *KINDS):
        yield found


def accept(kubectl: Kubectl, manifests: list[Object]) -> set[str]:
    """Let the API server validate those of these kinds, where an unknown field is an error. Return their kinds."""
    wanted = [found for found in manifests if found["kind"] in KINDS]
    for manifest in wanted:
        manifest["metadata"].pop("namespace", None)  # nothing is created
        kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(manifest))
    return {found["kind"] for found in wanted}


def test_each_kind_is_defined() -> None:
    assert set(definitions()) == KINDS


def test_the_monitors_and_the_rules_of_the_chart_are_accepted(kubectl: Kubectl, helm: Helm) -> None:
    of_all_namespaces = accept(kubectl, helm.manifests(MONITORING))
    of_some = accept(kubectl, helm.manifests(MONITORING | {"watchNamespaces": ["a", "b"]}))
    assert of_all_namespaces == of_some == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    "route",
    [
        {"parentRefs": [{"name": "public"}]},
        {
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inner"}],
            "hostnames": ["espejo.example.com", "luz.example.com"],
        },
    ],
    ids=["short", "long"],
)
def test_the_route_of_a_server_is_accepted(kubectl: Kubectl, route: Object) -> None:
    spec = SpeechModelSpec.model_validate(World().spec | {"serving": {"route": route}})
    made = [dict(found) for found in accessories(OWNER, spec).values()]
    assert accept(kubectl, made) == {"HTTPRoute"}


def documents() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.yaml"))


def test_the_examples_of_the_documents_are_accepted(kubectl: Kubectl) -> None:
    manifests = [found for path in documents() for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    assert accept(kubectl, [found for found in manifests if found]) == {"Kustomization", "ScaledObject"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_field_that_a_kind_does_not_know_is_rejected(kubectl: Kubectl, kind: str) -> None:
    definition = definitions()[kind]["spec"]
    version = next(each["name"] for each in definition["versions"] if each["served"])
    manifest = {"apiVersion": f"{definition['group']}/{version}", "kind": kind, "metadata": {"name": "a"}}
    with pytest.raises(AssertionError, match=r'unknown field "spec\.portz"'):
        accept(kubectl, [manifest | {"spec": {"portz": 1}}])
