"""The operator may do what its code does, and nothing that would let a SpeechModel reach further."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from speechmodel_inference.errors import ClusterFailed, Conflict
from speechmodel_inference.own_model import MANAGER, OwnModel, OwnModelClient
from speechmodel_inference.retraining import retrain
from support.helm_chart import NAME, NAMESPACE, Helm, Object, rules
from support.kube import Kubectl
from support.world import World

from .conftest import ACCOUNT, Install, Operator

pytestmark = pytest.mark.slow

EXPOSED = {"exposure": {"ingress": True, "gatewayAPI": True}}
NEVER = [
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("watch", "", "secrets"),
    ("create", "", "secrets"),
    ("get", "", "configmaps"),
    ("create", "", "pods"),
    ("delete", "", "pods"),
    ("create", "", "pods/exec"),
    ("create", "", "pods/attach"),
    ("create", "", "pods/portforward"),
    ("patch", "", "pods/ephemeralcontainers"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "serviceaccounts"),
    ("impersonate", "", "users"),
    ("get", "", "nodes"),
    ("get", "", "nodes/proxy"),
    ("patch", "", "namespaces"),
    ("delete", "", "persistentvolumeclaims"),
    ("delete", "", "persistentvolumes"),
    ("delete", "networking.k8s.io", "networkpolicies"),
    ("get", "rbac.authorization.k8s.io", "clusterroles"),
    ("patch", "rbac.authorization.k8s.io", "clusterroles"),
    ("update", "batch", "jobs"),
    ("create", "batch", "cronjobs"),
    ("create", "apps", "daemonsets"),
    ("create", "apps", "statefulsets"),
    ("create", "speechops.dev", "speechmodels"),
    ("delete", "speechops.dev", "speechmodels"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles"),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    ("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("delete", "", "events"),
    ("*", "*", "*"),
]
"""Verb, group and resource of what would be dangerous, or what the code does not need."""


def may(kubectl: Kubectl, verb: str, group: str, resource: str, namespace: str) -> bool:
    """Return the API server's answer to a SubjectAccessReview about the operator's account; without a namespace: in all."""
    resource, _, subresource = resource.partition("/")
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{ACCOUNT.split(':')[2]}", "system:authenticated"]
    attributes = {"namespace": namespace, "verb": verb, "group": group}
    return kubectl.may(ACCOUNT, groups, resource=resource, subresource=subresource, **attributes)


def needed(helm: Helm, values: Object) -> Iterator[tuple[str, str, str]]:
    for (group, resource), verbs in rules(helm.manifests(values)).items():
        for verb in verbs:
            yield verb, group, resource


@pytest.mark.parametrize("values", [{}, EXPOSED], ids=["default", "exposed"])
def test_what_the_chart_grants_is_granted_and_nothing_dangerous_is(
    helm: Helm, kubectl: Kubectl, install: Install, values: Object
) -> None:
    install(values)
    assert [call for call in needed(helm, values) if not may(kubectl, *call, "default")] == []
    assert [call for call in NEVER if may(kubectl, *call, "default")] == []
    assert [call for call in NEVER if may(kubectl, *call, "")] == []
    exposed = values == EXPOSED
    assert may(kubectl, "create", "networking.k8s.io", "ingresses", "default") == exposed
    assert may(kubectl, "create", "gateway.networking.k8s.io", "httproutes", "default") == exposed


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["default"]}], ids=["default", "listed"])
def test_of_the_roles_the_operator_may_read_the_one_that_owns_its_policies(
    kubectl: Kubectl, install: Install, values: Object
) -> None:
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    policies = {"group": "networking.k8s.io", "resource": "networkpolicies", "namespace": "default"}
    where = {"resource": "roles", "namespace": "default"} if values else {"resource": "clusterroles"}

    def reads(name: str) -> bool:
        return kubectl.may(ACCOUNT, groups, verb="get", group="rbac.authorization.k8s.io", name=name, **where)

    install(values)
    assert reads(f"{NAME}-net")
    assert not reads(NAME) and not reads("cluster-admin")
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete")
    assert [verb for verb in verbs if kubectl.may(ACCOUNT, groups, verb=verb, **policies)] == [
        "list",
        "create",
        "patch",
    ]


def test_without_policies_the_operator_may_not_write_any(kubectl: Kubectl, install: Install) -> None:
    install({"networkPolicy": {"enabled": False}})
    verbs = ("list", "create", "patch")
    assert [verb for verb in verbs if may(kubectl, verb, "networking.k8s.io", "networkpolicies", "default")] == []


def test_with_namespaces_given_every_other_namespace_is_closed(helm: Helm, kubectl: Kubectl, install: Install) -> None:
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    values = {"watchNamespaces": ["team-a"]}
    install(values)
    calls = list(needed(helm, values))
    assert [call for call in calls if not may(kubectl, *call, "team-a")] == []
    assert [call for call in calls if may(kubectl, *call, "default") or may(kubectl, *call, "")] == []


def test_of_the_leases_the_operator_may_use_its_own_alone(kubectl: Kubectl, install: Install) -> None:
    install({"replicaCount": 2})
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    leases = {"group": "coordination.k8s.io", "resource": "leases"}

    def its(verb: str, name: str = "", namespace: str = NAMESPACE) -> bool:
        return kubectl.may(ACCOUNT, groups, verb=verb, name=name, namespace=namespace, **leases)

    assert its("get", NAME) and its("patch", NAME) and its("create")
    assert [verb for verb in ("get", "patch") if its(verb, "kube-scheduler")] == []
    assert [verb for verb in ("list", "watch", "update", "delete") if its(verb, NAME)] == []
    assert not its("create", namespace="default")


def test_a_server_may_start_its_own_training_and_nothing_else(
    kubectl: Kubectl, install: Install, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install({"retrain": {"models": [{"namespace": "default", "name": operator.name}]}})
    operator.publish(takes={"retrain": {}}, apiKeysSecretRef={"name": "keys"})
    assert operator.step() == ""
    deployment = kubectl.get("deployment", operator.name)
    assert deployment
    kubectl.apply(kubectl.get("speechmodel", operator.name) | {"metadata": {"name": "neighbour"}})  # type: ignore[operator]
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    write_account(tmp_path, kubectl, account)
    server = urlsplit(yaml.safe_load(Path(kubectl.kubeconfig).read_text())["clusters"][0]["cluster"]["server"])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))

    client = OwnModelClient(tmp_path, operator.name)
    before = client.read()
    assert retrain(client).metadata.generation == before.metadata.generation + 1
    assert client.set_revision("late", before.metadata.resource_version) is None
    model = kubectl.get("speechmodel", operator.name)
    assert model
    assert model["spec"]["dataset"]["revision"].startswith("20")
    assert MANAGER in {entry["manager"] for entry in model["metadata"]["managedFields"]}
    with pytest.raises(Conflict) as refused:
        retrain(client)
    assert refused.value.code == "already_training"
    with pytest.raises(ClusterFailed) as forbidden:
        retrain(OwnModelClient(tmp_path, "neighbour"))
    assert forbidden.value.code == "retrain_forbidden"

    user = f"system:serviceaccount:default:{account}"
    groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]

    def its(verb: str, resource: str, group: str = "speechops.dev", **where: str) -> bool:
        return kubectl.may(user, groups, verb=verb, group=group, resource=resource, **where)

    own = {"namespace": "default", "name": operator.name}
    assert its("get", "speechmodels", **own)
    assert its("patch", "speechmodels", **own)
    others = ("update", "delete", "list", "watch", "create")
    assert [verb for verb in others if its(verb, "speechmodels", **own)] == []
    assert not its("patch", "speechmodels", subresource="status", **own)
    assert not its("patch", "speechmodels", namespace="default")
    assert not its("patch", "speechmodels", namespace="team-a", name=operator.name)
    assert [call for call in NEVER if its(call[0], call[2], call[1], namespace="default")] == []


def test_a_manifest_that_sets_the_revision_is_recognised(operator: Operator) -> None:
    """As the API server records who set a field, which differs between the two ways to apply."""
    kubectl = operator.kubectl
    operator.publish()

    def owner() -> str | None:
        found = kubectl("get", "speechmodel", operator.name, "-o", "json", "--show-managed-fields")
        return OwnModel.model_validate_json(found).revision_owner

    assert owner() is None  # it was applied without the field, which has a default
    kubectl.patch(operator.name, {"dataset": {"revision": "by hand"}})
    assert owner() is None
    spec = World().spec
    manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": operator.name}}
    given = manifest | {"spec": spec | {"dataset": spec["dataset"] | {"revision": "7"}}}
    kubectl.apply(given)
    assert owner() == "kubectl apply"
    kubectl.apply(manifest | {"spec": spec})
    assert owner() is None
    flags = ("--server-side", "--force-conflicts", "--field-manager=kustomize-controller")
    kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump(given))
    assert owner() == "kustomize-controller"


def write_account(folder: Path, kubectl: Kubectl, account: str) -> None:
    """Write the files by which a pod of the account calls the API server, which signs its certificate itself."""
    (folder / "token").write_text(kubectl("create", "token", account), encoding="utf-8")
    (folder / "namespace").write_text("default", encoding="utf-8")
    shutil.copy(Path(kubectl.kubeconfig).with_name("apiserver.crt"), folder / "ca.crt")


def test_every_call_of_the_code_is_allowed(operator: Operator) -> None:
    """A model goes from its first step to its deletion, as the ServiceAccount, without an error."""
    kubectl = operator.kubectl
    operator.publish(replicas=2, autoscaling={"minReplicas": 2, "maxReplicas": 3})
    assert operator.step() == ""
    kubectl.patch(operator.name, {"publish": {"deletionPolicy": "Delete"}, "dataset": {"revision": "2"}})
    assert operator.step() == ""  # a finalizer, a claim and Events
    assert operator.step() == ""  # a Job
    model: dict[str, Any] | None = kubectl.get("speechmodel", operator.name)
    assert model and model["metadata"]["finalizers"] == ["speechops.dev/cleanup"]
    (job,) = kubectl.find("jobs", f"speechops.dev/model={operator.name}")
    assert kubectl.get("persistentvolumeclaim", f"{operator.name}-workspace")
    assert kubectl.find("events")
    kubectl.patch(operator.name, {"suspend": True})
    assert operator.step() == ""
    assert kubectl.get("job", job["metadata"]["name"]) is None
    kubectl.patch(operator.name, {"training": {"storage": {"retentionPolicy": "Delete"}}})
    assert operator.step() == ""  # the claim gets an owner
    claim = kubectl.get("persistentvolumeclaim", f"{operator.name}-workspace")
    assert claim and claim["metadata"]["ownerReferences"]
    kubectl("delete", "speechmodel", operator.name, "--wait=false")
    assert operator.step() == ""
    assert kubectl.get("deployment", operator.name) is None
    assert kubectl.find("jobs", "speechops.dev/stage=purge")


def test_secrets_of_a_namespace_stay_unread_even_for_the_pods_that_use_them(operator: Operator) -> None:
    operator.kubectl("create", "secret", "generic", "s3", "--from-literal=AWS_SECRET_ACCESS_KEY=not-for-anyone")
    operator.publish()
    assert operator.step() == ""
    selector = f"speechops.dev/model={operator.name}"
    made = operator.kubectl("get", "deployments,jobs,services,events,speechmodels", "-o", "yaml")
    assert selector.split("=")[1] in made
    assert "not-for-anyone" not in made
    assert not replace(operator.kubectl, kubeconfig=str(operator.kubeconfig))("get", "secret", "s3", check=False)
