"""A release's whole life on a real cluster, in the one namespace that it is given."""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml
from kubecluster.layout import PRIVATE_REGISTRY
from speechmodel_api.crd import crd
from speechmodel_operator.resources.policies import policies
from speechmodel_operator.settings import PolicyOwner, PolicySettings
from support import recordings
from support.helm_chart import Helm, Object, operator_pod, rules
from support.kube import DEFINITION, Kubectl
from support.places import CHART
from support.spaces import OPERATOR_NAMESPACE, Space, build_images
from support.target import Target

pytestmark = pytest.mark.cluster

RELEASE = "speech"
OPERATOR = f"{RELEASE}-speechmodel-operator"
UNLIMITED = ("--timeout", "24h")
"""The test itself notices when nothing moves."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Release:
    """The operator, installed for its own namespace only."""

    helm: Helm
    kubectl: Kubectl
    values: Object

    def __call__(self, verb: str, *argv: str, chart: Path = CHART) -> str:
        """helm install or upgrade, until all is ready."""
        command = (verb, RELEASE, str(chart), "--wait", *UNLIMITED, *argv)
        return self.helm(*command, values=self.values, moved=self.kubectl.state)

    def test(self) -> subprocess.CompletedProcess[str]:
        """helm test."""
        return self.helm.run("test", RELEASE, "--logs", *UNLIMITED, moved=self.kubectl.state)


@pytest.fixture(scope="module")
def kubectl(target: Target) -> Iterator[Kubectl]:
    """kubectl on a namespace that takes restricted pods only."""
    found = Kubectl(target.kubectl, target.kubeconfig, target.context, "chart-install")
    found.apply(namespace(found.namespace))
    yield found
    found("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="module")
def helm(target: Target, kubectl: Kubectl) -> Helm:
    """helm on that namespace."""
    context = ("--kube-context", target.context) if target.context else ()
    return Helm(target.helm, ("--kubeconfig", target.kubeconfig, *context, "--namespace", kubectl.namespace))


@pytest.fixture(scope="module")
def definition(kubectl: Kubectl) -> Iterator[None]:
    """The CustomResourceDefinition may be there and another release's: lent to ours, and given back after."""
    before = kubectl.get("crd", DEFINITION)
    if before is None:
        yield
        kubectl("delete", "crd", DEFINITION)
        return
    annotations = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": kubectl.namespace}
    own(kubectl, {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": annotations})
    yield
    kept = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace", "helm.sh/resource-policy")
    annotations = {key: value for key, value in before["metadata"].get("annotations", {}).items() if key in kept}
    own(kubectl, {"labels": before["metadata"].get("labels", {}), "annotations": annotations})


def own(kubectl: Kubectl, metadata: Object) -> None:
    """Write the definition as helm would, also if another manager did so before: helm refuses to change what another manager set."""
    wanted = crd()
    wanted["metadata"] |= metadata
    manager = ("--server-side", "--force-conflicts", "--field-manager=helm")
    kubectl("apply", *manager, "-f", "-", stdin=yaml.safe_dump(wanted))


@pytest.fixture(scope="module")
def release(target: Target, kubectl: Kubectl, helm: Helm, definition: None) -> Iterator[Release]:
    """Installed once for all tests of this file."""
    if target.layout:
        build_images(target.layout)
    values = {
        "watchNamespaces": [kubectl.namespace],
        "images": {"registry": target.registry, "tag": target.tag},
        "logLevel": "DEBUG",
    }
    made = Release(helm, kubectl, values)
    made("install")
    yield made
    kubectl("delete", "speechmodels", "--all", "--timeout=60s", check=False)
    helm.run("uninstall", RELEASE, "--wait")


def namespace(name: str) -> Object:
    """Its manifest."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def may(kubectl: Kubectl, account: str, verb: str, resource: str, namespace: str | None = None) -> bool:
    """kubectl auth can-i; without a namespace: in all."""
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    return kubectl("auth", "can-i", verb, resource, "--as", account, *where, check=False).strip() == "yes"


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["chart-install"]}], ids=["cluster-wide", "one namespace"])
def test_the_api_server_takes_every_manifest(kubectl: Kubectl, helm: Helm, values: Object) -> None:
    rendered = helm.render("dry-run", "--no-hooks", values=values)
    kubectl(
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        stdin=rendered,
    )


def test_the_pod_security_standard_restricted_admits_the_operator(kubectl: Kubectl, helm: Helm) -> None:
    template = operator_pod(helm.manifests())
    spec = template["spec"] | {"serviceAccountName": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec}
    kubectl.until(lambda: kubectl.get("serviceaccount", "default"), "the default ServiceAccount exists")
    kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    del pod["spec"]["securityContext"]
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


def test_helm_test_proves_the_installation(release: Release) -> None:
    done = release.test()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "schema: ok\npermissions: ok\nhealth: ok" in done.stdout


def test_helm_test_names_what_an_old_definition_lacks_and_an_upgrade_fixes_it(release: Release, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    older = crd()
    older["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    spec = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["serving"]["properties"]["service"]["properties"]["name"]
    (chart / "templates" / "crd.yaml").write_text(yaml.safe_dump(older), encoding="utf-8")
    release("upgrade", chart=chart)
    release.kubectl.until(
        lambda: "lacks spec.serving.service.name" in release.test().stdout, "helm test names the field"
    )
    release("upgrade")
    release.kubectl.until(lambda: release.test().returncode == 0, "helm test succeeds")


def test_helm_test_names_a_missing_permission(release: Release) -> None:
    role = release.kubectl.get("role", OPERATOR)
    assert role
    # only this verb: the operator may always watch Jobs, so that nothing is forbidden to it meanwhile
    fewer = [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb != "create"]} if "jobs" in rule["resources"] else rule
        for rule in role["rules"]
    ]
    assert fewer != role["rules"]
    set_rules(release.kubectl, fewer)
    done = release.test()
    set_rules(release.kubectl, role["rules"])
    assert done.returncode != 0
    assert "may not create jobs in chart-install" in done.stdout
    assert release.test().returncode == 0


def set_rules(kubectl: Kubectl, rules: list[Object]) -> None:
    """Rules of the operator's Role."""
    kubectl("patch", "role", OPERATOR, "--type=merge", "-p", json.dumps({"rules": rules}))


def test_the_account_may_do_in_its_namespace_what_the_role_says_and_nothing_elsewhere(release: Release) -> None:
    account = f"system:serviceaccount:{release.kubectl.namespace}:{OPERATOR}"
    assert may(release.kubectl, account, "create", "jobs", release.kubectl.namespace)
    assert not may(release.kubectl, account, "get", "secrets", release.kubectl.namespace)
    assert not may(release.kubectl, account, "create", "pods", release.kubectl.namespace)
    for group, resource in rules(release.helm.manifests(release.values)):
        name = f"{resource}.{group}" if group else resource
        assert not may(release.kubectl, account, "get", name, "default")
        assert not may(release.kubectl, account, "list", name, "default")
    assert not may(release.kubectl, account, "list", "namespaces")
    assert not may(release.kubectl, account, "get", "customresourcedefinitions")


def test_the_commands_of_the_notes_work_as_they_are_printed(release: Release, target: Target, tmp_path: Path) -> None:
    commands = re.findall(r"^(?:kubectl|helm) (?:.*<<'EOF'\n(?s:.*?)\nEOF|.*)$", notes(release), re.MULTILINE)
    assert len(commands) == 8
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(release.kubectl("config", "view", "--minify", "--flatten"), encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, program in (("kubectl", target.kubectl), ("helm", target.helm)):
        (programs / name).symlink_to(program)
    environment = os.environ | {
        "KUBECONFIG": str(kubeconfig),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": target.access_key,
        "AWS_SECRET_ACCESS_KEY": target.secret_key,
    }
    for command in commands:
        done = subprocess.run(["bash", "-c", command], env=environment, text=True, capture_output=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def notes(release: Release) -> str:
    """The notes that helm printed at the end."""
    return release.helm("get", "notes", RELEASE)


def test_with_roles_in_one_namespace_the_operator_does_its_work(release: Release) -> None:
    model = yaml.safe_load(notes(release).split("<<'EOF'\n")[1].split("\nEOF")[0])
    release.kubectl.apply(model | {"metadata": {"name": "second"}})

    def phase() -> bool:
        found = release.kubectl.get("speechmodel", "second") or {}
        return bool(found.get("status", {}).get("phase"))

    release.kubectl.until(phase, "the operator writes a status")
    log = release.kubectl("logs", f"deployment/{OPERATOR}")
    assert "watching chart-install" in log
    assert "forbidden" not in log.lower()


@pytest.fixture
def no_other_operator(target: Target) -> Iterator[None]:
    """Pause the operator of the end-to-end tests, which watches every namespace."""
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, OPERATOR_NAMESPACE)
    other = "speechmodel-operator"
    if kubectl.get("deployment", other) is None:
        yield
        return
    kubectl("scale", f"deployment/{other}", "--replicas=0")
    kubectl.until(lambda: not kubectl.find("pods", f"app.kubernetes.io/name={other}"), "the other operator is gone")
    yield
    kubectl("scale", f"deployment/{other}", "--replicas=1")


def test_images_of_a_private_registry_are_pulled_for_the_operator_and_for_every_pod(
    release: Release, target: Target, no_other_operator: None, tmp_path: Path
) -> None:
    if target.layout is None:
        pytest.skip("needs the registry with a password of the test cluster")
    kubectl = release.kubectl
    build_images(target.layout)
    where = (f"--docker-server={PRIVATE_REGISTRY}", "--docker-username=test", "--docker-password=test")
    kubectl("create", "secret", "docker-registry", "regcred", *where)
    private = {"imageRegistry": PRIVATE_REGISTRY, "imagePullSecrets": ["regcred"]}
    release.values["global"] = private
    release.values["images"]["pullPolicy"] = "Always"  # a copy from the public registry proves nothing
    release("upgrade")

    space = Space(kubectl, target, bucket=f"private-{uuid.uuid4().hex[:6]}")
    space.s3.create_bucket(Bucket=space.bucket)
    space.secret("private-s3")
    space.dataset(recordings.small(tmp_path), claim="private-recordings")
    manifest = space.manifest("private")
    spec: Object = manifest["spec"]
    spec["dataset"]["source"]["persistentVolumeClaim"]["claimName"] = "private-recordings"
    spec["publish"]["s3"]["secretRef"]["name"] = "private-s3"
    model = space.apply(manifest | {"spec": spec | {"serving": {}}})
    images = set[str]()
    began = set[str]()

    def ready() -> bool:
        """Take note of the containers that have begun, and so of the images that were pulled."""
        for pod in kubectl.find("pods", "speechops.dev/model=private"):
            status = pod["status"]
            for found in (*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])):
                if "waiting" not in found["state"]:
                    began.add(f"{pod['metadata']['labels']['speechops.dev/stage']}/{found['name']}")
            every = (*pod["spec"]["containers"], *pod["spec"].get("initContainers", []))
            images.update(container["image"] for container in every)
        return model.condition("Ready").get("status") == "True"

    kubectl.until(ready, "the model is Ready with the private images")
    stages = {name.partition("/")[0] for name in began}
    assert stages >= {"prepare", "train", "convert", "evaluate", "publish", "server"}
    assert "server/fetch" in began
    assert [image for image in images if not image.startswith(f"{PRIVATE_REGISTRY}/")] == []
    kubectl("delete", "speechmodel", "private")
    del release.values["global"], release.values["images"]["pullPolicy"]
    release("upgrade")


def policies_of_pods(kubectl: Kubectl) -> list[Object]:
    """Return the NetworkPolicies that the operator of the release wrote."""
    return kubectl.find("networkpolicies", f"speechops.dev/operator={OPERATOR}")


def test_uninstalled_it_leaves_the_definition_and_the_models(release: Release) -> None:
    release.kubectl("patch", "speechmodel", "second", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    role = release.kubectl.get("role", f"{OPERATOR}-net")
    policies = policies_of_pods(release.kubectl)
    assert role and len(policies) == 5
    assert {policy["metadata"]["ownerReferences"][0]["uid"] for policy in policies} == {role["metadata"]["uid"]}
    release.helm("uninstall", RELEASE, "--wait")
    release.kubectl.until(lambda: not policies_of_pods(release.kubectl), "the policies go with the release")
    assert release.kubectl.get("crd", DEFINITION)
    assert release.kubectl.get("speechmodel", "second")
    for kind in ("deployment", "service", "serviceaccount", "role", "rolebinding"):
        assert release.kubectl.get(kind, OPERATOR) is None
    release("install")
    assert release.test().returncode == 0


def test_cluster_wide_people_with_view_see_models_and_people_with_edit_change_them(
    kubectl: Kubectl, helm: Helm, definition: None
) -> None:
    values = {"crds": {"enabled": False}, "images": {"operator": {"repository": "never/started"}}}
    helm("install", "wide", str(CHART), values=values)  # for its roles only: no image, no second operator at work
    try:
        for role in ("view", "edit", "admin"):
            kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")

        def can(user: str, verb: str) -> bool:
            return may(kubectl, user, verb, DEFINITION, kubectl.namespace)

        for user, verb in (("view", "list"), ("admin", "delete"), ("edit", "create"), ("edit", "get")):
            # a controller aggregates them one after another
            kubectl.until(partial(can, user, verb), "the roles are aggregated")
        assert not can("view", "patch")
        assert not may(kubectl, "edit", "create", DEFINITION, "default")
        account = f"system:serviceaccount:{kubectl.namespace}:wide-speechmodel-operator"
        assert may(kubectl, account, "create", "jobs")
        # a policy as the operator writes it
        anchor = kubectl.get("clusterrole", "wide-speechmodel-operator-net")
        assert anchor
        settings = PolicySettings(
            name="wide",
            namespace=kubectl.namespace,
            operatorLabels={"a": "b"},
            owner=PolicyOwner(kind="ClusterRole", name=anchor["metadata"]["name"]),
        )
        kubectl.apply(*policies(settings, kubectl.namespace, anchor["metadata"]["uid"]))
        assert len(kubectl.find("networkpolicies", "speechops.dev/operator=wide")) == 5
        off = values | {"networkPolicy": {"enabled": False}}
        helm("upgrade", "wide", str(CHART), values=off)
        kubectl.until(
            lambda: not kubectl.find("networkpolicies", "speechops.dev/operator=wide"),
            "the policies go with their role",
        )
        assert not may(kubectl, account, "get", "secrets")
        assert not may(kubectl, account, "get", "nodes")
    finally:
        helm("uninstall", "wide", "--wait")
