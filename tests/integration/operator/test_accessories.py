"""The objects beside the Deployment and Service of a server: each comes and goes with the field that asks for it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.definitions import defined

from .conftest import Operator

pytestmark = pytest.mark.slow

EXPOSED = {"exposure": {"ingress": True, "gatewayAPI": True}}


def deployment(operator: Operator) -> dict[str, Any]:
    found = operator.kubectl.get("deployment", operator.name)
    assert found
    return found


@pytest.mark.parametrize("operator", [EXPOSED], indirect=True)
def test_each_field_creates_its_object_and_its_removal_deletes_it(operator: Operator) -> None:
    operator.publish(replicas=2, ingress={"host": "espejo.example.com", "annotations": {"a/b": "c"}})
    assert operator.step() == ""
    assert operator.kinds() == {"PodDisruptionBudget", "Ingress"}
    ingress = operator.kubectl.get("ingress", operator.name)
    assert ingress and ingress["metadata"]["annotations"]["a/b"] == "c"
    assert ingress["metadata"]["ownerReferences"][0]["name"] == operator.name
    operator.edit({"replicas": 1, "ingress": None, "autoscaling": {"maxReplicas": 5}})
    assert operator.step() == ""
    assert operator.kinds() == {"HorizontalPodAutoscaler"}
    operator.edit(None)
    assert operator.step() == ""
    assert operator.kinds() == set()
    assert operator.kubectl.get("deployment", operator.name) is None


def test_what_somebody_deleted_or_edited_comes_back(operator: Operator) -> None:
    operator.publish(replicas=2)
    operator.step()
    operator.kubectl("delete", "poddisruptionbudget", operator.name)
    operator.step()
    assert operator.kinds() == {"PodDisruptionBudget"}


def test_what_somebody_deleted_comes_back_after_an_event_only_while_the_spec_is_not_in_effect(
    operator: Operator,
) -> None:
    def budgets_after(step: Callable[[], str]) -> set[str]:
        operator.kubectl("delete", "poddisruptionbudget", operator.name)
        assert step() == ""
        return operator.kinds()

    operator.publish(replicas=2)
    operator.step()
    operator.step()  # the status says now that the Deployment is rolled out
    assert budgets_after(operator.react) == {"PodDisruptionBudget"}, "the roll-out is not complete"
    roll_out(operator)
    operator.react()
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model and model["status"]["phase"] == "Ready"
    assert budgets_after(operator.react) == set(), "nothing is read for it"
    assert operator.step() == ""
    assert operator.kinds() == {"PodDisruptionBudget"}
    operator.edit({"settings": {"waiting": 7}})
    assert budgets_after(operator.react) == {"PodDisruptionBudget"}, "a step that writes reads first"


def roll_out(operator: Operator) -> None:
    """Do what the controller of Deployments does once every pod is ready."""
    found = deployment(operator)
    counts = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), found["spec"]["replicas"]
    )
    status = json.dumps({"status": {"observedGeneration": found["metadata"]["generation"], **counts}})
    operator.kubectl("patch", "deployment", operator.name, "--subresource=status", "--type=merge", "-p", status)


def test_the_number_that_a_scaler_set_stays_and_nothing_is_written_twice(operator: Operator) -> None:
    operator.publish(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    operator.step()
    assert deployment(operator)["spec"]["replicas"] == 2
    operator.kubectl("scale", "deployment", operator.name, "--replicas=4")
    operator.step()
    before = deployment(operator)
    assert before["spec"]["replicas"] == 4
    operator.edit({"settings": {"waiting": 7}})
    operator.step()
    after = deployment(operator)
    assert after["spec"]["replicas"] == 4
    environment = {e["name"]: e.get("value") for e in after["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["SPEECHMODEL_WAITING"] == "7"
    operator.step()
    assert deployment(operator)["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_an_external_scaler_may_stop_every_server(operator: Operator) -> None:
    operator.publish(autoscaling={"scaler": "External", "minReplicas": 0, "maxReplicas": 5})
    operator.step()
    assert deployment(operator)["spec"]["replicas"] == 1
    assert operator.kinds() == set()
    operator.kubectl("scale", "deployment", operator.name, "--replicas=0")
    operator.edit({"settings": {"waiting": 7}})
    operator.step()
    assert deployment(operator)["spec"]["replicas"] == 0


def test_without_the_permission_the_remedy_is_named_and_the_server_still_runs(operator: Operator) -> None:
    operator.publish(ingress={"host": "espejo.example.com"})
    assert "install the operator with exposure.ingress, or remove spec.serving.ingress" in operator.step()
    assert deployment(operator)
    operator.edit({"ingress": None})
    assert operator.step() == ""


@pytest.mark.parametrize("operator", [EXPOSED], indirect=True)
def test_a_cluster_without_the_gateway_api_is_told(operator: Operator) -> None:
    operator.publish(route={"parentRefs": [{"name": "public"}]})
    assert "the cluster has no kind HTTPRoute; install it, or remove spec.serving.route" in operator.step()
    assert deployment(operator)


@pytest.mark.parametrize("operator", [EXPOSED], indirect=True)
def test_a_route_comes_and_goes_with_its_field_where_the_gateway_api_is(operator: Operator) -> None:
    def routes() -> list[dict[str, Any]]:
        return operator.kubectl.find("httproutes", f"speechops.dev/model={operator.name}")

    with defined(operator.kubectl, "HTTPRoute"):
        operator.publish(route={"parentRefs": [{"name": "public"}], "hostnames": ["espejo.example.com"]})
        assert operator.step() == ""
        (route,) = routes()
        assert route["spec"]["hostnames"] == ["espejo.example.com"]
        assert route["metadata"]["ownerReferences"][0]["name"] == operator.name
        assert operator.step() == ""
        assert routes() == [route], "the defaults that the API server adds are left"
        operator.edit({"route": None})
        assert operator.step() == ""
        assert routes() == []


@pytest.mark.parametrize("operator", [EXPOSED], indirect=True)
def test_an_ingress_of_somebody_else_is_not_taken(operator: Operator) -> None:
    backend = {"service": {"name": "other", "port": {"number": 80}}}
    operator.kubectl.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": operator.name},
            "spec": {"defaultBackend": backend},
        }
    )
    operator.publish(ingress={"host": "espejo.example.com"})
    assert f"Ingress {operator.name} exists and does not belong to this SpeechModel" in operator.step()
    found = operator.kubectl.get("ingress", operator.name)
    assert found and found["spec"]["defaultBackend"] == backend


def webhook_without_a_server(group: str, resource: str) -> dict[str, Any]:
    """Return a configuration by which the API server asks a webhook that does not answer."""
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}
    webhook = {
        "name": f"{resource}.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/validate"},
        "rules": [rule],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind, version = "ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "down"}, "webhooks": [webhook]}


@pytest.mark.parametrize("operator", [EXPOSED], indirect=True)
def test_a_webhook_that_is_down_delays_its_object_and_nothing_else(operator: Operator) -> None:
    def refused_step() -> str:
        # the API server asks a new webhook after a moment, and until then the Ingress is created
        operator.kubectl("delete", "ingress", operator.name, "--ignore-not-found")
        return operator.step()

    operator.publish(replicas=2, ingress={"host": "espejo.example.com"})
    webhook = webhook_without_a_server("networking.k8s.io", "ingresses")
    operator.kubectl.apply(webhook)
    try:
        refused = operator.kubectl.until(refused_step, "the webhook is asked")
        assert "failed calling webhook" in refused
        assert operator.kinds() == {"PodDisruptionBudget"}
        assert deployment(operator)["spec"]["replicas"] == 2
        model = operator.kubectl.get("speechmodel", operator.name)
        assert model
        conditions = {c["type"]: c for c in model["status"]["conditions"]}
        assert conditions["Ready"]["observedGeneration"] == model["metadata"]["generation"]
        assert conditions["Promoted"]["reason"] == "RollingOut", "the server has no problem"
        assert "failed calling webhook" in conditions["Reconciling"]["message"]
    finally:
        operator.kubectl("delete", webhook["kind"], "down")
    operator.kubectl.until(lambda: operator.step() == "", "the webhook is not asked any more")
    assert operator.kinds() == {"PodDisruptionBudget", "Ingress"}


def test_a_webhook_for_jobs_that_is_down_delays_no_edit_of_the_server(operator: Operator) -> None:
    def asked() -> bool:
        return operator.kubectl("create", "job", "a", "--image=a", "--dry-run=server", check=False) == ""

    operator.publish(replicas=1)
    assert operator.step() == ""
    webhook = webhook_without_a_server("batch", "jobs")
    operator.kubectl.apply(webhook)
    try:
        operator.kubectl.until(asked, "the webhook is asked")
        operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}, "serving": {"replicas": 3}})
        assert "failed calling webhook" in operator.step()
        assert deployment(operator)["spec"]["replicas"] == 3
        model = operator.kubectl.get("speechmodel", operator.name)
        assert model
        conditions = {c["type"]: c for c in model["status"]["conditions"]}
        assert conditions["Reconciling"]["observedGeneration"] == model["metadata"]["generation"]
        assert conditions["Reconciling"]["reason"] == "ApiError"
        assert operator.kubectl.find("jobs", f"speechops.dev/model={operator.name}") == []
    finally:
        operator.kubectl("delete", webhook["kind"], "down")
    operator.kubectl.until(lambda: operator.step() == "", "the webhook is not asked any more")
    assert len(operator.kubectl.find("jobs", f"speechops.dev/model={operator.name}")) == 1
