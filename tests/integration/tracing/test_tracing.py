"""Traces arrive at a collector, joined from the operator's step to the program of its Job, and nothing is loaded without one."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from speechmodel_api import tracing
from speechmodel_api.tracing import end_tracing, set_up_tracing, span, traceparent
from speechmodel_operator.resources import jobs
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import Manifest
from speechmodel_operator.supervisor import Supervisor
from speechmodel_plan.observed import Trouble
from speechmodel_plan.plan import StageRun
from speechmodel_plan.reconcile import Gone
from support.collector import PATIENT, Collector, collector
from support.world import OWNER, World

pytestmark = pytest.mark.slow

PROGRAM = """
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.publish import PurgeInput, PurgeOutput
from speechmodel_stagekit.errors import BadData
from speechmodel_stagekit.program import run_stage
def stage(given):
    {body}
run_stage(PurgeInput, stage)
"""
OFF = """
import sys
import {modules}
from speechmodel_api.tracing import end_tracing, provider, set_up_tracing, span, traceparent
set_up_tracing("test")
with span("nothing", {{"a": 1}}) as found:
    found.describe({{"b": 2}})
    found.fail("nothing")
    assert traceparent() is None
end_tracing()
assert provider() is None
print([name for name in sys.modules if name.startswith({parts})])
"""


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def on(received: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """This process sends traces."""
    for name, value in (received.variables | {"OTEL_SERVICE_NAME": "test"}).items():
        monkeypatch.setenv(name, value)
    set_up_tracing("ignored")
    yield received
    end_tracing()


def run_program(body: str, environment: dict[str, str]) -> int:
    """Run a stage program and return its exit code."""
    document = '{"target": {"bucket": "models"}, "base": "a/b"}'
    given = os.environ | {"STAGE_INPUT": document} | environment
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.run(command, env=given, capture_output=True, check=False).returncode


def stage_run() -> StageRun:
    """Return the first run that a model starts."""
    world = World()
    world.step()
    started = world.step().start
    assert started
    return started


def variables(manifest: Manifest, container: int = 0) -> dict[str, str]:
    environment = manifest["spec"]["template"]["spec"]["containers"][container]["env"]
    return {variable["name"]: variable["value"] for variable in environment if "value" in variable}


def test_the_program_of_a_job_continues_the_step_that_started_it(on: Collector) -> None:
    images = Images("p", "t", "c", "i", "IfNotPresent", tracing=(("OTEL_EXPORTER_OTLP_ENDPOINT", on.endpoint),))
    world, run = World(), stage_run()
    with span("reconcile"):
        manifest = jobs.stage_job(images, OWNER, world.observe().spec, run, {}, traceparent())
    given = {name: value for name, value in variables(manifest).items() if name.startswith(("OTEL_", "TRACEPARENT"))}
    assert run_program("return PurgeOutput(objects=3)", {"OTEL_SERVICE_NAME": ""} | given) == 0
    program = on.until("purge")
    end_tracing()
    step = on.until("reconcile")
    assert (program.trace, program.parent) == (step.trace, step.span)
    assert not program.failed
    assert program.attributes == {"process.exit.code": 0}
    assert program.resource["service.name"] == "speechmodel-stage"
    assert program.resource["speechmodel.model"] == "espejo"
    assert program.resource["k8s.namespace.name"] == "speech"
    assert program.resource["k8s.job.name"] == run.name
    assert step.resource["service.name"] == "test", "OTEL_SERVICE_NAME takes precedence"


def test_a_program_that_fails_is_a_span_that_failed_and_needs_no_parent(received: Collector) -> None:
    environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{received.endpoint}/v1/traces"} | PATIENT
    assert run_program("raise BadData(Reason.MODEL_UNUSABLE, 'it is broken')", environment) == 65
    program = received.until("purge")
    assert (program.failed, program.parent, program.attributes["process.exit.code"]) == (True, "", 65)


async def test_a_step_of_the_operator_is_a_span_of_its_model(on: Collector) -> None:
    class Engine:
        async def observe(self) -> None:
            raise Gone

        async def apply(self, plan: object) -> None: ...

        async def report(self, report: object) -> None: ...

        async def report_failure(self, failure: Trouble) -> None: ...

    supervisor = Supervisor(lambda owner: Engine())  # type: ignore[arg-type, return-value]
    supervisor.notice(OWNER)
    while supervisor._models:
        await supervisor._models[OWNER.uid].task  # type: ignore[misc]
    end_tracing()
    step = on.until("reconcile")
    assert step.attributes == {"k8s.namespace.name": "speech", "speechmodel.model": "espejo"}


@pytest.mark.parametrize(
    ("modules", "parts"),
    [
        ("speechmodel_operator.__main__, speechmodel_stagekit.program", ("opentelemetry",)),
        # FastAPI itself imports the API
        ("speechmodel_inference.app, speechmodel_inference.run", ("opentelemetry.sdk", "opentelemetry.exporter")),
    ],
)
@pytest.mark.parametrize("disabled", [True, False])
def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded(
    modules: str, parts: tuple[str, ...], disabled: bool
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    if disabled:
        environment |= {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    program = OFF.format(modules=modules, parts=parts)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_an_endpoint_pods_have_no_variable_of_it() -> None:
    manifest = jobs.stage_job(
        Images("p", "t", "c", "i", "IfNotPresent"), OWNER, World().observe().spec, stage_run(), {}
    )
    assert not any(name.startswith(("OTEL_", "TRACEPARENT")) for name in variables(manifest))


def test_a_collector_that_does_not_answer_does_not_hold_the_end_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_TIMEOUT", "600"
        )  # the exporter gives up after 10 s, perhaps before the test looks
        set_up_tracing("test")
        with span("lost"):
            pass
        end_tracing()
        assert any(thread.name == "end of tracing" for thread in threading.enumerate()), "it is still being sent"


def test_the_end_of_a_program_waits_for_the_collector_as_long_as_the_variable_says(
    on: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.0)
    with span("last"):
        pass
    end_tracing()
    assert [each.name for each in on.spans] == ["last"]


def test_where_nobody_listens_a_program_ends_as_without_traces(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "STAGE_RESULT": str(tmp_path / "result")}
    assert run_program("return PurgeOutput(objects=3)", environment) == 0
    assert (tmp_path / "result").read_text(encoding="utf-8") == '{"output":{"objects":3}}'
