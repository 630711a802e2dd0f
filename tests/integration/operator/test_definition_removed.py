"""The CustomResourceDefinition is removed and installed again, while the operator runs."""

from pathlib import Path

import pytest
from speechmodel_api.crd import crd
from support import built
from support.api_server import api_server
from support.helm_chart import Helm
from support.kube import DEFINITION, Kubectl
from support.world import World

from .test_modes import Process

pytestmark = pytest.mark.slow


def install(kubectl: Kubectl) -> None:
    """Install the definition and create a model."""
    kubectl.apply(crd())
    kubectl.until_established()
    manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": "m"}}
    kubectl.apply(manifest | {"spec": World().spec | {"suspend": True}})


def phase(kubectl: Kubectl) -> str:
    return kubectl("get", "speechmodel", "m", "-o", "jsonpath={.status.phase}", check=False)


def test_models_that_are_created_afterwards_are_taken_up(helm: Helm, tmp_path: Path) -> None:
    with api_server(built.programs("etcd", "kube-apiserver", "kubectl"), tmp_path) as kubectl:
        install(kubectl)
        operator = Process(helm, {}, Path(kubectl.kubeconfig), tmp_path / "operator.log")
        try:
            kubectl.until(lambda: phase(kubectl) == "Suspended", "the model is taken up")
            kubectl("delete", "crd", DEFINITION)
            operator.until_logged("the cluster has no kind SpeechModel; install its CustomResourceDefinition")
            install(kubectl)
            kubectl.until(lambda: phase(kubectl) == "Suspended", "the new model is taken up")
            assert operator.process.poll() is None, "it was not restarted"
        finally:
            operator.process.kill()
            operator.process.wait()
