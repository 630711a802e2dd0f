"""A spec that the API server accepts and the types reject is the user's to correct, and no fault of the operator."""

import asyncio
import logging
from typing import Any

import pytest
from speechmodel_api.crd import schema
from speechmodel_api.status import SpeechModelStatus
from speechmodel_operator import supervisor as module
from speechmodel_operator.cluster.api import EVENTS, MODELS, Resource
from speechmodel_operator.cluster.views import Manifest, Model
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry
from support.waiting import STALLED_SECONDS
from support.world import World

from .test_engine import New, engine_of, metadata
from .test_resources import OWNER

WRONG = {"training": {"augmentation": ["revreb[p=0.1]"]}, "decoding": {"intents": {"encender luz": ["enciende"]}}}
SENTENCES = (
    "spec.training.augmentation: 'revreb[p=0.1]': revreb is unknown; use one of add, ",
    "; spec.decoding.intents.encender luz: 'encender luz' does not match ^[A-Za-z_][A-Za-z0-9_./-]*$; write a name such as TurnOn",
)


class Cluster(New):
    """An API server with a SpeechModel that may be edited. It notes every write, and the Events."""

    def __init__(self, status: SpeechModelStatus) -> None:
        super().__init__()
        self.spec: dict[str, Any] = World().spec
        self.status = status.model_dump(by_alias=True, exclude_none=True, mode="json")
        self.generation, self.events, self.looks = 1, list[str](), 0

    async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        if resource is not MODELS:
            return await super().get(resource, namespace, name)
        self.looks += 1
        about = metadata(name, 3, uid=OWNER.uid, generation=self.generation)
        return Model.read({"metadata": about, "spec": self.spec, "status": self.status})

    async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
        if resource is EVENTS:
            self.events.append(manifest["reason"])
        return await super().create(resource, namespace, manifest)

    async def apply(self, resource: Resource[Any], _namespace: str, manifest: Manifest, *, force: bool) -> Any:
        del force
        self.calls.append(f"APPLY {resource.kind}")
        return resource.view.read({**manifest, "metadata": {**manifest["metadata"], "uid": "new"}})

    async def merge_patch(self, resource: Resource[Any], *arguments: Any) -> Any:
        await super().merge_patch(resource)
        (_, name, body, _) = arguments
        changed = {**self.status, **body["status"]}
        self.status = {field: value for field, value in changed.items() if value is not None}
        return await self.get(MODELS, "", name)

    def edit(self, **changes: Any) -> None:
        self.spec, self.generation = World().spec | changes, self.generation + 1

    @property
    def conditions(self) -> dict[str, Any]:
        return {each["type"]: each for each in self.status.get("conditions", [])}

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("GET")]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST_BREAK", 0.01)
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.02)


async def looked_at(cluster: Cluster, telemetry: Telemetry, times: int = 9) -> None:
    """Let the operator look at the model that often."""
    enough = cluster.looks + times
    found = Supervisor(lambda _: engine_of(cluster), telemetry)
    found.notice(OWNER)
    async with asyncio.timeout(STALLED_SECONDS):
        while cluster.looks < enough:
            await asyncio.sleep(0.005)
    await found.stop()


def failed(telemetry: Telemetry, reason: str) -> float:
    return telemetry.registry.get_sample_value("speechmodel_steps_failed_total", {"reason": reason}) or 0


async def test_every_wrong_field_is_in_the_condition_stalled_and_counts_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, telemetry = Cluster(SpeechModelStatus()), Telemetry()
    cluster.spec |= WRONG
    await looked_at(cluster, telemetry)
    stalled, ready = cluster.conditions["Stalled"], cluster.conditions["Ready"]
    assert (stalled["reason"], stalled["status"], stalled["observedGeneration"]) == ("InvalidSpec", "True", 1)
    assert stalled["message"].startswith(SENTENCES[0])
    assert SENTENCES[1] in stalled["message"]
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert (cluster.status["observedGeneration"], cluster.status["phase"]) == (1, "Failed")
    assert (failed(telemetry, "InvalidSpec"), failed(telemetry, "ReconcileError")) == (1, 0)
    assert [(entry.levelno, entry.exc_info) for entry in caplog.records] == [(logging.WARNING, None)]
    assert cluster.events == ["InvalidSpec"]


async def test_what_is_served_goes_on_until_the_spec_is_corrected() -> None:
    world = World()
    world.to_ready()
    version = world.status.latest_version
    cluster = Cluster(world.status)
    cluster.edit(**WRONG)
    await looked_at(cluster, Telemetry())
    assert cluster.writes == ["PATCH SpeechModel", "POST Event"], "the Deployment and the Service stay as they are"
    ready = cluster.conditions["Ready"]
    assert (ready["status"], ready["observedGeneration"]) == ("True", 2)
    assert ready["message"] == f"version {version} is served; the spec is not in effect (InvalidSpec)"
    cluster.edit(training={"maxEpochs": 10})
    await looked_at(cluster, Telemetry(), times=2)
    assert "Stalled" not in cluster.conditions
    assert cluster.status["observedGeneration"] == 3


async def test_a_spec_that_was_corrected_while_a_step_failed_is_not_reported() -> None:
    class Corrected(Cluster):
        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            if resource is MODELS and self.looks == 1:
                self.edit()
            return found

    cluster = Corrected(SpeechModelStatus())
    cluster.spec |= WRONG
    await looked_at(cluster, Telemetry(), times=4)
    assert "InvalidSpec" not in cluster.events
    assert "Stalled" not in cluster.conditions


async def test_a_spec_of_a_newer_release_is_read_without_the_fields_that_are_unknown_here() -> None:
    assert "emotions" not in schema(described=False)["properties"]["spec"]["properties"]
    cluster = Cluster(SpeechModelStatus())
    cluster.spec |= {"emotions": {"enabled": True}, "training": {"maxEpochs": 10, "quantum": 3}}
    await looked_at(cluster, Telemetry(), times=2)
    assert "Stalled" not in cluster.conditions
    assert "POST PersistentVolumeClaim" in cluster.writes
