"""The calls of a step against a real API server, and the Job that it creates, are in the trace of the step."""

from dataclasses import replace

import pytest
from speechmodel_api.tracing import end_tracing, set_up_tracing, span
from support.collector import collector

from .conftest import IMAGES, Operator

pytestmark = pytest.mark.slow


def test_the_calls_and_the_job_of_a_step_are_in_its_trace(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.publish()
    operator.step()
    with collector() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        operator.images = replace(IMAGES, tracing=(("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint),))
        set_up_tracing("test")
        operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}})
        for _ in range(3):  # one of them creates the claim, and one the Job
            with span("reconcile"):
                assert operator.step() == ""
        end_tracing()
        received.until("reconcile")
    steps = {step.span: step for step in received.spans if step.name == "reconcile"}
    calls = [call for call in received.spans if call.name != "reconcile"]
    assert {call.name for call in calls} == {"GET", "POST", "PATCH"}
    assert all((call.trace, call.kind) == (steps[call.parent].trace, "CLIENT") for call in calls)
    (created,) = (call for call in calls if call.name == "POST" and call.attributes["url.path"].endswith("/jobs"))
    assert created.attributes["http.response.status_code"] == 201
    (job,) = operator.kubectl.find("jobs", f"speechops.dev/model={operator.name}")
    environment = {e["name"]: e.get("value") for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["TRACEPARENT"].split("-")[1:3] == [created.trace, created.parent]
    server = operator.kubectl.get("deployment", operator.name)
    assert server
    environment = {e["name"]: e.get("value") for e in server["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == received.endpoint
    assert "TRACEPARENT" not in environment, "it would roll the servers out in every step"
