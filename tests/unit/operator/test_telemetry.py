"""The metrics of the operator, and its log as JSON."""

import asyncio
import io
import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import cast

import aiohttp
import pytest
from speechmodel_api.log_format import FIELDS_VARIABLE, JsonFormatter, LogFormat
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import Phase, SpeechModelStatus
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.endpoints import endpoints
from speechmodel_operator.resources.pod import log_env
from speechmodel_operator.settings import Settings
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry
from speechmodel_plan.observed import Trouble
from support.ports import free_ports
from support.world import OWNER, World

from .test_engine import New
from .test_resources import IMAGES


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_runs_are_counted_once_by_stage_and_outcome() -> None:
    telemetry, world = Telemetry(), World()
    world.until(StageName.TRAIN)
    before = world.status
    world.now += timedelta(seconds=90)
    world.fail(1)
    world.step()
    telemetry.reported(OWNER, before, world.status)
    telemetry.reported(OWNER, world.status, world.status)
    assert value(telemetry, "speechmodel_stage_seconds_count", stage="train", outcome="retried") == 1
    assert value(telemetry, "speechmodel_stage_seconds_sum", stage="train", outcome="retried") >= 90  # type: ignore[operator]
    assert value(telemetry, "speechmodel_stage_seconds_count", stage="prepare", outcome="succeeded") is None


def test_a_run_that_another_one_follows_at_once_is_counted_once() -> None:
    telemetry, world = Telemetry(), World()
    world.until(StageName.TRAIN)
    before = world.status
    world.fail(137, result=None)
    world.step()
    assert world.report and world.started[-1] == "train-2"
    telemetry.reported(OWNER, before, world.status, world.report.recorded)
    assert value(telemetry, "speechmodel_stage_seconds_count", stage="train", outcome="retried") == 1
    before = world.status
    world.finish()
    world.step()
    telemetry.reported(OWNER, before, world.status, world.report.recorded)
    counts = [
        value(telemetry, "speechmodel_stage_seconds_count", stage="train", outcome=outcome)
        for outcome in ("retried", "succeeded")
    ]
    assert counts == [1, 1]


def test_models_are_counted_by_phase_with_their_error_rate_until_they_are_gone() -> None:
    telemetry, world = Telemetry(), World()
    world.to_ready()
    telemetry.reported(OWNER, SpeechModelStatus(), world.status)
    assert world.status.model
    assert value(telemetry, "speechmodel_models", phase="Ready") == 1
    assert value(telemetry, "speechmodel_models", phase="Training") == 0
    place = {"namespace": "speech", "model": "espejo"}
    assert value(telemetry, "speechmodel_wer", **place, version=world.status.model.version) == 0.1
    assert value(telemetry, "speechmodel_condition", **place, type="Ready", reason="Ready", severity="normal") == 1
    telemetry.forget(OWNER)
    assert value(telemetry, "speechmodel_models", phase="Ready") == 0
    assert value(telemetry, "speechmodel_condition", **place, type="Ready", reason="Ready", severity="normal") is None


def test_a_model_that_is_created_again_has_its_series_once() -> None:
    telemetry, world, new = Telemetry(), World(), replace(OWNER, uid="uid-2")
    world.to_ready()
    telemetry.reported(OWNER, SpeechModelStatus(), world.status)
    telemetry.reported(new, SpeechModelStatus(), SpeechModelStatus(phase=Phase.PREPARING))
    phases = {phase: value(telemetry, "speechmodel_models", phase=phase) for phase in ("Ready", "Preparing")}
    assert phases == {"Ready": 0, "Preparing": 1}
    telemetry.forget(OWNER)  # the task of the one before ends late
    assert value(telemetry, "speechmodel_models", phase="Preparing") == 1
    telemetry.forget(new)
    assert value(telemetry, "speechmodel_models", phase="Preparing") == 0


async def test_a_step_that_fails_is_in_the_metrics_of_its_model() -> None:
    server, telemetry = New(), Telemetry()
    engine = ClusterEngine(
        cast(Api, server), IMAGES, OWNER, progress_interval=timedelta(seconds=60), telemetry=telemetry
    )
    await engine.report_failure(Trouble("ReconcileError", "the spec is one of a newer release"))
    place = {"namespace": OWNER.namespace, "model": OWNER.name}
    ready = place | {"type": "Ready", "reason": "ReconcileError", "severity": "warning"}
    assert value(telemetry, "speechmodel_condition", **ready) == 0


def test_a_stage_that_waits_for_a_person_has_a_series_with_its_reason() -> None:
    telemetry, world = Telemetry(), World()
    world.until(StageName.PREPARE)
    world.fail(65, "NoClips", "there are no clips")
    world.step()
    telemetry.reported(OWNER, SpeechModelStatus(), world.status)
    labels = {"namespace": "speech", "model": "espejo", "stage": "prepare", "reason": "NoClips"}
    assert value(telemetry, "speechmodel_stage_failed", **labels) == 1
    stalled = {"namespace": "speech", "model": "espejo", "type": "Stalled", "reason": "NoClips"}
    stalled |= {"severity": "warning"}  # as of every reason that this release does not know
    assert value(telemetry, "speechmodel_condition", **stalled) == 1


async def test_the_metrics_are_served_all_or_by_name() -> None:
    telemetry = Telemetry()
    telemetry.called("GET", 429)
    (port,) = free_ports(1)
    settings, supervisor = (
        Settings(liveness_port=0, metrics_port=port),
        Supervisor(lambda _: pytest.fail("no model is there")),
    )
    async with (
        endpoints(settings, supervisor, telemetry, asyncio.Event()),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        texts = [
            await (await client.get(path)).text()
            for path in ("/metrics", "/metrics?name[]=speechmodel_api_calls_total&name[]=speechmodel_models")
        ]
    assert all('speechmodel_api_calls_total{code="429",verb="GET"} 1.0' in text for text in texts)
    assert all('speechmodel_models{phase="Ready"} 0.0' in text for text in texts)
    assert ["python_info" in text for text in texts] == [True, False]


def test_a_line_of_json_has_the_model_the_stage_and_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    (variable,) = log_env(LogFormat.JSON, OWNER, "train", "espejo-train-1")
    assert variable["name"] == FIELDS_VARIABLE
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(lambda: json.loads(variable["value"])))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        raise ValueError("no\nclips")
    except ValueError:
        log.exception("%s failed", "it", extra={"attempt": 2})
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert {"namespace": "speech", "model": "espejo", "stage": "train", "job": "espejo-train-1"}.items() <= line.items()
    assert (line["level"], line["message"], line["attempt"]) == ("ERROR", "it failed", 2)
    assert "ValueError: no\nclips" in line["exception"]
    assert log_env(LogFormat.TEXT, OWNER, "train") == []
