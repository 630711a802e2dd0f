"""SpeechModels that are applied where the operator works: it changes nothing that a tool which applies them would see."""

import copy
from typing import Any

import pytest
import yaml
from support.kube import Kubectl
from support.target import Target

from .test_api_server import GOOD

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kubectl(target: Target, operator: Kubectl) -> Kubectl:
    """kubectl on the cluster where the chart installed the CRD."""
    del operator
    return Kubectl(target.kubectl, target.kubeconfig, target.context, "default")


def test_kubectl_diff_after_apply_is_empty_and_a_second_manager_does_not_conflict(kubectl: Kubectl) -> None:
    """The operator writes the status and its finalizer only, so no tool that applies the manifest disagrees with it."""
    manifest = copy.deepcopy(GOOD) | {"metadata": {"name": "applied"}}
    manifest["spec"]["suspend"] = True
    manifest["spec"]["publish"]["deletionPolicy"] = "Delete"
    text = yaml.safe_dump(manifest)
    try:
        kubectl("apply", "-f", "-", stdin=text)
        kubectl.until(lambda: _reported(kubectl, 1), "the operator has written the status")
        # the operator may write the status between the two calls of kubectl
        kubectl.until(lambda: not kubectl.differs("-f", "-", stdin=text), "nothing differs")
        server_side = ("--server-side", "--field-manager=argocd-controller", "-f", "-")
        kubectl("apply", *server_side, stdin=text)
        manifest["metadata"]["labels"] = {"argocd.argoproj.io/instance": "models"}
        kubectl("apply", *server_side, stdin=yaml.safe_dump(manifest))
        again = yaml.safe_dump(manifest)
        kubectl.until(lambda: not kubectl.differs(*server_side, stdin=again), "nothing differs")
        conditions = _reported(kubectl, 1)
        assert conditions is not None
        assert {each["type"]: each["observedGeneration"] for each in conditions}["Ready"] == 1
        assert {each["type"] for each in conditions} >= {"Ready", "Reconciling"}
    finally:
        kubectl("patch", "sm", "applied", "--type=merge", "-p", '{"spec":{"publish":{"deletionPolicy":"Retain"}}}')
        kubectl("delete", "sm", "applied", "--wait=false")


def _reported(kubectl: Kubectl, generation: int) -> list[dict[str, Any]] | None:
    """Return the conditions once the operator has written them for this generation."""
    status = (kubectl.get("speechmodel", "applied") or {}).get("status", {})
    found: list[dict[str, Any]] | None = status.get("conditions")
    return found if status.get("observedGeneration") == generation else None
