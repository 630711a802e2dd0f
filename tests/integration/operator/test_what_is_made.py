"""Everything that the operator can create, and what a SpeechModel makes it create, by the table in docs/security.md."""

import json
import re
from typing import Any

import pytest
from support.helm_chart import Helm
from support.kube import Kubectl
from support.places import ROOT

from .conftest import Operator

pytestmark = pytest.mark.slow

EVERYTHING: dict[str, Any] = {"replicaCount": 2, "exposure": {"ingress": True, "gatewayAPI": True}}
TABLE = re.compile(r"^\| kind \|.*\n\|[-|]*\n((?:\|.*\n)+)", re.MULTILINE)
NOT_A_MODELS = {"Lease"}
OF_THE_API_SERVER = {"IPAddress"}
"""What it makes itself for a Service."""
UNLESS_INSTALLED = {"HTTPRoute", "NetworkPolicy"}
"""Kinds that need the Gateway API, and those that another part of the operator writes (test_policies.py)."""


def listed() -> set[str]:
    """Return the kinds of the table."""
    (table,) = TABLE.findall((ROOT / "docs/security.md").read_text(encoding="utf-8"))
    return set(re.findall(r"^\| ([A-Za-z]+) \|", table, re.MULTILINE))


def plural(kind: str) -> str:
    """Return the name of the resource of a kind."""
    return re.sub(r"y$", "ie", kind.lower()) + ("es" if kind.endswith("ss") else "s")


def objects(kubectl: Kubectl) -> dict[str, tuple[str, str]]:
    """Return kind and namespace of each object in the cluster, by uid."""
    kinds = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    found = json.loads(kubectl("get", ",".join(kinds), "--all-namespaces", "-o", "json"))["items"]
    stored = [each for each in found if "uid" in each["metadata"]]  # a ComponentStatus is none
    return {
        each["metadata"]["uid"]: (each["kind"], each["metadata"].get("namespace", ""))
        for each in stored
        if each["kind"] not in OF_THE_API_SERVER
    }


def test_the_roles_of_the_operator_let_it_create_the_listed_kinds_and_no_others(helm: Helm) -> None:
    manifests = helm.manifests(EVERYTHING)
    bound = {each["roleRef"]["name"] for each in manifests if each["kind"] in ("RoleBinding", "ClusterRoleBinding")}
    roles = [
        each for each in manifests if each["kind"] in ("Role", "ClusterRole") and each["metadata"]["name"] in bound
    ]
    allowed = [rule for role in roles for rule in role["rules"] if {"create", "*"} & set(rule["verbs"])]
    assert {resource for rule in allowed for resource in rule["resources"]} == set(map(plural, listed()))


@pytest.mark.parametrize("operator", [EVERYTHING], indirect=True)
def test_a_model_makes_objects_of_the_listed_kinds_in_its_own_namespace_alone(operator: Operator) -> None:
    before = objects(operator.kubectl)
    operator.publish(replicas=2, ingress={"host": "espejo.example.com"})
    assert operator.step() == ""
    operator.edit({"autoscaling": {"minReplicas": 2, "maxReplicas": 5}})
    operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}})
    assert [operator.step() for _ in range(3)] == ["", "", ""]
    made = {each for uid, each in objects(operator.kubectl).items() if uid not in before}
    assert {namespace for _, namespace in made} == {"default"}
    assert {kind for kind, _ in made} == listed() - NOT_A_MODELS - UNLESS_INSTALLED | {"SpeechModel"}
