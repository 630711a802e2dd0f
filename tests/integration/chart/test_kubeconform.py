"""The manifests of the chart and of the operator are valid for Kubernetes, by its own schemas."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubecluster.layout import TOOL
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import ModelStatus
from speechmodel_operator.resources import jobs, serving
from speechmodel_operator.resources.accessories import accessories
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import CaBundle
from speechmodel_operator.resources.policies import policies
from speechmodel_operator.settings import PolicyOwner, PolicySettings
from support import built
from support.helm_chart import Helm, Object
from support.places import ROOT
from support.world import OWNER, World

pytestmark = pytest.mark.slow

IMAGES = replace(
    Images("pipeline:1", "training:1", "coqui:1", "inference:1", "IfNotPresent", ("regcred",)),
    ca_bundle=CaBundle("cas", "ca.crt"),
)
NOT_OF_KUBERNETES = (
    "CustomResourceDefinition,ServiceMonitor,PodMonitor,PrometheusRule,HTTPRoute,ScaledObject,Kustomization"
)
"""Kinds that test_definition.py and test_other_kinds.py check."""
EVERYTHING: Object = {
    "global": {"imagePullSecrets": ["regcred"]},
    "exposure": {"ingress": True, "gatewayAPI": True},
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
    "retrain": {"models": [{"namespace": "speech", "name": "espejo"}, {"namespace": "speech", "name": "luz"}]},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
}


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One JSON schema for each kind, from the API description in the Kubernetes module that the test cluster is built from.

    A field that it does not know is an error, as with `kubectl apply --validate=strict`.
    """
    module = TOOL / "go" / "kube"
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    found = subprocess.run(command, cwd=module, capture_output=True, text=True, check=True).stdout.strip()
    if not found:
        pytest.skip("the module k8s.io/kubernetes is not downloaded; the build of the test cluster does that")
    definitions = json.loads((Path(found) / "api" / "openapi-spec" / "swagger.json").read_bytes())["definitions"]
    for definition in definitions.values():
        if "properties" in definition:
            definition["additionalProperties"] = False
        if definition.get("format") == "int-or-string":
            del definition["type"]
    folder = tmp_path_factory.mktemp("schemas")
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            file = folder / f"{'-'.join(filter(None, (kind['kind'].lower(), kind['group'], kind['version'])))}.json"
            schema = {"$ref": f"#/definitions/{name}", "definitions": _reachable(name, definitions)}
            file.write_text(json.dumps(schema), encoding="utf-8")
    return folder


def _reachable(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a definition and those that it refers to."""
    found: dict[str, Any] = {}
    left = [name]
    while left:
        if (name := left.pop()) not in found:
            found[name] = definitions[name]
            left += [part.split('"')[0] for part in json.dumps(found[name]).split("#/definitions/")[1:]]
    return found


def check(schemas: Path, manifests: list[Object]) -> list[str]:
    """Return what kubeconform says of manifests that are not valid."""
    location = f"{schemas}/{{{{ .ResourceKind }}}}-{{{{ .Group }}}}-{{{{ .ResourceAPIVersion }}}}.json"
    core = f"{schemas}/{{{{ .ResourceKind }}}}-{{{{ .ResourceAPIVersion }}}}.json"
    command = [str(built.programs("kubeconform") / "kubeconform"), "-output=json", f"-skip={NOT_OF_KUBERNETES}"]
    command += ["-schema-location", location, "-schema-location", core, "-"]
    done = subprocess.run(command, input=yaml.safe_dump_all(manifests), capture_output=True, text=True)
    found = json.loads(done.stdout)["resources"] or []
    return [f"{each['kind']} {each['name']}: {each['msg']}" for each in found]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["a"]}, EVERYTHING], ids=["default", "one", "everything"])
def test_the_manifests_of_the_chart_are_valid(helm: Helm, schemas: Path, values: Object) -> None:
    assert check(schemas, helm.manifests(values)) == []


def test_the_manifests_of_the_operator_are_valid(schemas: Path) -> None:
    world = World()
    world.to_ready()
    seen = world.observe()
    made = [jobs.stage_job(IMAGES, OWNER, seen.spec, run, {}) for run in world.stage_runs.values()]
    given = {
        "topologySpread": [{"topologyKey": "zone"}],
        "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
        "ingress": {"host": "a.example.com", "ingressClassName": "nginx", "tls": {"secretName": "cert"}},
        "takes": {"retrain": {}},
        "apiKeysSecretRef": {"name": "keys"},
    }
    served = world.status.model
    assert served
    for serving_spec in (given, {"replicas": 3}):
        spec = SpeechModelSpec.model_validate(world.spec | {"serving": serving_spec})
        made += [_deployment(spec, served), serving.service(OWNER, spec), *accessories(OWNER, spec).values()]
    peers: tuple[Object, ...] = ({"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {}, "podSelector": {}})
    names: Object = {"name": "speech", "namespace": "ops", "operatorLabels": {"a": "b"}, "collectorPorts": (4318,)}
    owner = PolicyOwner(kind="ClusterRole", name="speech-net")
    for more in ({}, {"serverFrom": peers, "metricsFrom": peers, "wyomingFrom": peers, "owner": owner}):
        made += policies(PolicySettings.model_validate(names | more), "speech", "uid-1")
    assert check(schemas, made) == []


def _deployment(spec: SpeechModelSpec, served: ModelStatus) -> Object:
    return serving.with_replicas(serving.deployment(IMAGES, OWNER, spec, served), spec, 2)


def test_the_examples_of_the_documents_are_valid(schemas: Path) -> None:
    for path in sorted((ROOT / "docs").rglob("*.yaml")):
        manifests = [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]
        assert check(schemas, manifests) == [], path


def test_a_field_that_kubernetes_does_not_know_is_found(schemas: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"portz": []}}
    assert "portz" in "".join(check(schemas, [service]))
