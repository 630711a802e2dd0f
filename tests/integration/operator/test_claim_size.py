"""The workspace claim grows where its StorageClass allows it, and says why where it does not."""

import pytest

from .conftest import Operator

pytestmark = pytest.mark.slow


def claim_of(size: str, *, expandable: bool, operator: Operator) -> None:
    """Create the model's claim, bound, as the provisioner of a StorageClass leaves it."""
    storage_class = f"expandable-{str(expandable).lower()}"
    operator.kubectl.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": storage_class},
            "provisioner": "example.com/disk",
            "allowVolumeExpansion": expandable,
        }
    )
    operator.publish()
    template = {"storage": size, "storageClassName": storage_class}
    operator.kubectl.patch(operator.name, {"training": {"storage": {"volumeClaimTemplate": template}}, "suspend": True})
    operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}})
    assert operator.step() == ""


def bind(operator: Operator) -> None:
    """Bind the claim, which no provisioner does here."""
    claim = f"{operator.name}-workspace"
    status = '{"status": {"phase": "Bound", "capacity": {"storage": "10Gi"}}}'
    operator.kubectl("patch", "pvc", claim, "--type=merge", "-p", '{"spec": {"volumeName": "pv"}}')
    operator.kubectl("patch", "pvc", claim, "--subresource=status", "--type=merge", "-p", status)


def ask_for(operator: Operator, size: str) -> str:
    """Edit the size, and return the problem that a step reports."""
    template = {"storage": size}
    operator.kubectl.patch(operator.name, {"training": {"storage": {"volumeClaimTemplate": template}}})
    return operator.step()


def asked(operator: Operator) -> str:
    claim = operator.kubectl.get("pvc", f"{operator.name}-workspace")
    assert claim
    return str(claim["spec"]["resources"]["requests"]["storage"])


def test_a_claim_grows_once_it_is_bound_and_never_shrinks(operator: Operator) -> None:
    claim_of("10Gi", expandable=True, operator=operator)
    assert ask_for(operator, "20Gi") == ""
    assert asked(operator) == "10Gi", "the size of a claim that is not bound cannot change"
    bind(operator)
    assert operator.step() == ""
    assert asked(operator) == "20Gi"
    refused = ask_for(operator, "5Gi")
    assert f"the claim {operator.name}-workspace has 20Gi and cannot shrink to 5Gi; set" in refused
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    reasons = {c["type"]: c["reason"] for c in model["status"]["conditions"]}
    assert reasons["Stalled"] == "ClaimSizeRefused"
    assert ask_for(operator, "20Gi") == ""


def test_a_class_without_expansion_is_named_as_the_reason(operator: Operator) -> None:
    claim_of("10Gi", expandable=False, operator=operator)
    bind(operator)
    refused = ask_for(operator, "20Gi")
    assert f"the claim {operator.name}-workspace cannot grow from 10Gi to 20Gi:" in refused
    assert "the storageclass that provisions the pvc must support resize" in refused
    assert "allowVolumeExpansion" in refused
    assert asked(operator) == "10Gi"
    assert ask_for(operator, "10Gi") == ""
