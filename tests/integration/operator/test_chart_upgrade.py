"""helm upgrade of the first release to this one, on a real API server.

tests/fixtures/chart has the chart of the first release (commit 1774049).
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support import built
from support.api_server import api_server
from support.helm_chart import NAME, NAMESPACE, Helm, Object
from support.kube import DEFINITION, Kubectl
from support.places import CHART, ROOT
from support.world import SPEC

pytestmark = pytest.mark.slow

FIRST = ROOT / "tests" / "fixtures" / "chart" / "speechmodel-operator-0.1.0.tgz"


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """An API server without SpeechModels, with the namespace of the release."""
    programs = built.programs("etcd", "kube-apiserver", "kubectl")
    with api_server(programs, tmp_path_factory.mktemp("api-server")) as found:
        found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield found


def test_the_first_release_is_upgraded_and_its_models_stay(bare: Kubectl, helm: Helm) -> None:
    on = Helm(helm.program, ("--kubeconfig", bare.kubeconfig, "--namespace", NAMESPACE))
    there = replace(bare, namespace=NAMESPACE)

    def operator() -> Object:
        found = there.get("deployment", NAME)
        assert found
        spec: Object = found["spec"]
        return spec

    on("install", NAME, str(FIRST))
    manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": "m"}, "spec": SPEC}
    bare.until_established()
    bare.apply(manifest)
    before, selector = bare.get("speechmodel", "m"), operator()["selector"]
    assert before

    on("upgrade", NAME, str(CHART))
    after = bare.get("speechmodel", "m")
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert operator()["selector"] == selector, "a selector cannot change"
    environment = {entry["name"] for entry in operator()["template"]["spec"]["containers"][0]["env"]}
    assert "SPEECHMODEL_NAMESPACE_SELECTOR" in environment
    bare.until(
        lambda: "autoscaling" in bare("explain", "speechmodel.spec.serving", check=False), "the new fields are served"
    )

    on("upgrade", NAME, str(CHART), "--set", "replicaCount=2")
    assert operator()["replicas"] == 2
    on("upgrade", NAME, str(CHART), "--reset-values")
    assert operator()["replicas"] == 1


def test_several_releases_share_a_cluster_under_names_of_their_own(bare: Kubectl, helm: Helm) -> None:
    longest = "r" * 53

    def release(namespace: str) -> Helm:
        return Helm(helm.program, ("--kubeconfig", bare.kubeconfig, "--namespace", namespace))

    def names(kind: str) -> set[str]:
        found = bare("get", kind, "-A", "-l", f"app.kubernetes.io/name={NAME}", "-o", "name").split()
        return {name.partition("/")[2] for name in found}

    bare("create", "namespace", "other")
    release(NAMESPACE)("install", NAME, str(CHART))
    second = ("--set", "crds.enabled=false,watchNamespaceSelector.matchLabels.team=b,replicaCount=2")
    same_name = release("other").run("install", NAME, str(CHART), *second)
    assert f'ClusterRole "{NAME}-net" in namespace "" exists' in same_name.stderr
    no_crds = release("other").run("install", longest, str(CHART))
    assert "CustomResourceDefinition" in no_crds.stderr
    notes = release("other")("install", longest, str(CHART), *second)
    assert "in the namespaces with the labels team=b.\nNo other release may manage SpeechModels there" in notes
    release(NAMESPACE)("install", "third", str(CHART), "--set", "crds.enabled=false,fullnameOverride=third")
    first, third = ({name, f"{name}-net", f"{name}-view", f"{name}-edit"} for name in (NAME, "third"))
    full = f"{longest}-{NAME}"[:58].rstrip("-")
    assert names("clusterroles") == first | third | {full, f"{full}-net", f"{full}-view", f"{full}-edit"}
    release("other")("uninstall", longest)
    release(NAMESPACE)("uninstall", "third")
    assert names("clusterroles") == names("clusterrolebindings") | {f"{NAME}-view", f"{NAME}-edit"} == first
    assert names("deployments.apps") == {NAME}
    assert bare.get("crd", DEFINITION)
