"""A canary against a real API server, with the permissions of the chart. Every step is one of a new operator."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from support.kube import Object

from .conftest import Operator

pytestmark = pytest.mark.slow

CANARY = {"percent": 50, "minutes": 10, "maxErrorRate": 0.05}


class Metrics(ThreadingHTTPServer):
    """The metrics of a server of the canary."""

    requests, failed = 0, 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Metrics

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        series = 'speechmodel_transcriptions_total{outcome="%s"} %d\n'
        good = self.server.requests - self.server.failed
        text = (
            "process_start_time_seconds 1.7e+09\n"
            + series % ("answered", good)
            + series % ("failed", self.server.failed)
        )
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parameter
        pass


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with Metrics() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def status(operator: Operator) -> Object:
    found = operator.kubectl.get("speechmodel", operator.name)
    assert found
    text: Object = found["status"]
    return text


def condition(operator: Operator, name: str) -> Object:
    found: Object = next(c for c in status(operator)["conditions"] if c["type"] == name)
    return found


def deployment(operator: Operator, suffix: str = "") -> Any:
    return operator.kubectl.get("deployment", operator.name + suffix)


def publish_two(operator: Operator) -> None:
    """A first version that is served, and a second one that is published."""
    serving = {"replicas": 2, "canary": CANARY}
    world = operator.publish(**serving)
    operator.step()
    operator.kubectl.patch(operator.name, {"training": {"maxEpochs": 20}})
    world.edit(training__maxEpochs=20)
    world.to_rest()
    operator.write(world.status.model_copy(update={"canary": None}))


def run_servers(operator: Operator, metrics: Metrics, number: int) -> None:
    """Do what the controllers and the kubelet of a cluster do: the pods of the canary run and are ready."""
    template = deployment(operator, "-canary")["spec"]["template"]
    for index in range(number):
        name = f"{operator.name}-canary-{index}"
        ports = [{"name": "http", "containerPort": metrics.server_port}]
        container = {"name": "server", "image": "inference:1", "ports": ports}
        labels = template["metadata"]["labels"]
        spec = {"automountServiceAccountToken": False, "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        operator.kubectl.apply(pod)
        ready = [{"type": "Ready", "status": "True"}]
        patch_status(operator, "pod", name, {"phase": "Running", "podIP": "127.0.0.1", "conditions": ready})
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), number)
    generation = deployment(operator, "-canary")["metadata"]["generation"]
    patch_status(operator, "deployment", f"{operator.name}-canary", counts | {"observedGeneration": generation})


def patch_status(operator: Operator, kind: str, name: str, found: Object) -> None:
    patch = json.dumps({"status": found})
    operator.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


def test_a_canary_that_fails_is_counted_reported_and_removed(operator: Operator, metrics: Metrics) -> None:
    publish_two(operator)
    assert operator.step() == ""
    canary, served = deployment(operator, "-canary"), deployment(operator)
    assert canary["spec"]["replicas"] == 2
    service = operator.kubectl.get("service", operator.name)
    assert service
    for each in (canary, served):
        assert service["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    assert (
        not served["spec"]["selector"]["matchLabels"].items()
        <= canary["spec"]["template"]["metadata"]["labels"].items()
    )

    metrics.requests = 40
    run_servers(operator, metrics, 2)
    assert operator.step() == ""
    version = status(operator)["latestVersion"]
    message = f"canary {version}: 0 of 10 minutes, 0 of 80 requests failed, on 2 of 4 servers"
    assert condition(operator, "Promoted")["message"] == message
    before = deployment(operator, "-canary")["metadata"]["resourceVersion"]
    metrics.failed = 20
    assert operator.step() == ""
    assert condition(operator, "Promoted")["reason"] == "CanaryFailed"
    assert deployment(operator, "-canary")["metadata"]["resourceVersion"] == before, "the decision is written first"
    assert operator.step() == ""
    assert deployment(operator, "-canary") is None
    assert "40 of 80 requests failed (50.00%)" in condition(operator, "Stalled")["message"]
    assert deployment(operator)["metadata"]["resourceVersion"] == served["metadata"]["resourceVersion"]
    operator.step()
    assert deployment(operator, "-canary") is None


def test_a_canary_that_keeps_the_rate_is_promoted(operator: Operator, metrics: Metrics) -> None:
    publish_two(operator)
    operator.step()
    metrics.requests, metrics.failed = 100, 4
    run_servers(operator, metrics, 2)
    operator.step()
    begun = (datetime.now(UTC) - timedelta(minutes=11)).isoformat()
    patch_status(operator, "speechmodel", operator.name, {"canary": {"startedAt": begun}})
    operator.step()
    assert status(operator)["canary"]["state"] == "Passed"
    operator.step()
    assert deployment(operator, "-canary") is None
    version = deployment(operator)["spec"]["template"]["metadata"]["labels"]["speechops.dev/version"]
    assert version == status(operator)["latestVersion"] == status(operator)["model"]["version"]
    assert (
        "8 of 200 requests failed in a canary of 10 minutes" in status(operator)["history"][0]["promotion"]["message"]
    )


def test_a_deployment_of_somebody_else_is_not_taken_and_what_is_served_stays(operator: Operator) -> None:
    name = f"{operator.name}-canary"
    operator.kubectl("create", "deployment", name, "--image=other")
    publish_two(operator)
    assert f"Deployment {name} exists and does not belong to this SpeechModel" in operator.step()
    found = operator.kubectl.get("deployment", name)
    assert found and found["spec"]["template"]["spec"]["containers"][0]["image"] == "other"
    assert condition(operator, "Stalled")["reason"] == "NameConflict"
    assert condition(operator, "Promoted")["reason"] == "CanaryRunning"


def test_a_canary_that_the_status_does_not_mention_is_removed_too(operator: Operator) -> None:
    publish_two(operator)
    operator.step()
    patch_status(operator, "speechmodel", operator.name, {"canary": None})  # the operator ended before it wrote this
    assert deployment(operator, "-canary") and "canary" not in status(operator)
    operator.edit({"canary": None})
    operator.step()
    assert deployment(operator, "-canary") is None


@pytest.mark.parametrize("edit", [{"canary": None}, None], ids=["the canary", "all servers"])
def test_servers_without_their_labels_are_removed_too(operator: Operator, edit: Object | None) -> None:
    publish_two(operator)
    operator.step()
    operator.step()
    for suffix in ("", "-canary"):
        operator.kubectl("label", "deployment", operator.name + suffix, "speechops.dev/model-")
    operator.edit({"canary": None} if edit else None)
    assert operator.react() == ""
    assert deployment(operator, "-canary") is None
    assert (deployment(operator) is None) == (edit is None)


def test_removing_the_field_or_the_server_removes_the_canary(operator: Operator) -> None:
    publish_two(operator)
    operator.step()
    assert deployment(operator, "-canary")
    operator.edit(None)
    operator.step()
    assert deployment(operator, "-canary") is None
    assert deployment(operator) is None
    assert "canary" not in status(operator)
