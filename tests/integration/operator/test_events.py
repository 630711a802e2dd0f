"""Events about a pod that waits, as a real API server keeps them, read with the permissions of the chart."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.kube import Object

from .conftest import Operator

pytestmark = pytest.mark.slow


def minutes_ago(minutes: int) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def server_pod(operator: Operator) -> Object:
    """Create a pod of the server that has had a node for five minutes and has no volumes, as the kubelet leaves it."""
    deployment = operator.kubectl.get("deployment", operator.name)
    assert deployment
    template, name = deployment["spec"]["template"], f"{operator.name}-x"
    metadata = {"name": name, "labels": template["metadata"]["labels"]}
    spec = template["spec"] | {"nodeName": "node-1"}
    operator.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    conditions = [
        {"type": kind, "status": holds, "lastTransitionTime": minutes_ago(5)}
        for kind, holds in (("PodScheduled", "True"), ("PodReadyToStartContainers", "False"))
    ]
    status = json.dumps({"status": {"phase": "Pending", "conditions": conditions}})
    operator.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", status)
    pod = operator.kubectl.get("pod", name)
    assert pod
    return pod


def report(operator: Operator, pod: Object, name: str, message: str, minutes: int) -> None:
    """Create an Event about a pod, as the kubelet does."""
    about = {field: pod["metadata"][field] for field in ("name", "namespace", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{operator.name}-{name}"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **about},
        "type": "Warning",
        "reason": "FailedMount",
        "message": message,
        "lastTimestamp": minutes_ago(minutes),
    }
    operator.kubectl.apply(event)


def promoted(operator: Operator) -> Any:
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    return next(found for found in model["status"]["conditions"] if found["type"] == "Promoted")


def test_the_secret_that_a_server_cannot_mount_is_named(operator: Operator) -> None:
    operator.publish(apiKeysSecretRef={"name": "keys"})
    assert operator.step() == ""
    pod = server_pod(operator)
    assert operator.step() == ""
    assert promoted(operator)["reason"] == "VolumePending"

    report(operator, pod, "a", 'MountVolume.SetUp failed for volume "api-keys" : secret "keys" not found', 2)
    report(operator, pod, "b", "Unable to attach or mount volumes: unmounted volumes=[api-keys]", 1)
    for step in (operator.react, operator.step):
        assert step() == ""
        assert promoted(operator)["reason"] == "CredentialsMissing"
        assert 'secret "keys" not found' in promoted(operator)["message"]
