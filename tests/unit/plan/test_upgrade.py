"""A status that an earlier release wrote is read, and nothing is stopped or started because of the upgrade.

before_the_gate.json was written by the release without Reconciling and Stalled, without evaluation.gate, and with the
kubelet's reasons. first_release.json and with_the_gate.json have models in several situations, with everything around them.
"""

import json
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.status import SpeechModelStatus
from speechmodel_plan.observed import Claim, Run, RunState, Server
from support.places import ROOT
from support.world import World

STATUSES = json.loads((ROOT / "tests" / "fixtures" / "status" / "before_the_gate.json").read_bytes())


def upgraded(name: str) -> World:
    """Return the world of that status, as a new operator finds it."""
    status = SpeechModelStatus.model_validate(STATUSES[name])
    claim = next(stage.claim_uid for stage in status.stages if stage.claim_uid)
    world = World(status=status, now=datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
    world.claim = Claim("espejo-workspace", claim, owned=False)
    if status.model is not None:
        world.server = Server(status.model.version, 1, 1, settled=True)
    return world


def test_a_ready_model_stays_as_it_is() -> None:
    world = upgraded("ready")
    plan = world.step()
    assert (plan.start, plan.stop, world.started) == (None, (), [])
    assert plan.serving
    assert plan.serving.model.version == STATUSES["ready"]["model"]["version"]
    assert world.status.in_effect
    assert world.status.phase == "Ready"
    assert [entry.version for entry in world.status.history] == [STATUSES["ready"]["model"]["version"]]
    assert world.report
    assert world.report.events == ()
    writes = world.writes
    world.step()
    assert world.writes == writes


def test_a_training_goes_on_and_the_model_becomes_ready_at_once() -> None:
    world = upgraded("retraining")
    world.edit(training__maxEpochs=20)
    recorded = world.stage(StageName.TRAIN)
    assert recorded.job
    world.runs[recorded.job] = Run(
        recorded.job,
        StageName.TRAIN,
        recorded.key,
        recorded.attempt,
        recorded.settings or "",
        RunState.RUNNING,
        world.now,
    )
    world.documents[recorded.job] = TrainInput.model_validate(
        {
            "key": recorded.key,
            "attempt": recorded.attempt,
            "workspace": "/workspace/espejo",
            "dataKey": "0000000a",
            "datasetDigest": "0" * 64,
            "lineage": "0000000b",
            "language": "es",
            "maxEpochs": 20,
            "hyperparameters": {},
            "checkpoints": {},
        }
    )
    assert world.condition("Ready").status == "False"
    plan = world.step()
    assert (plan.stop, world.started) == ((), [])
    assert world.condition("Ready").status == "True"
    assert world.condition("Reconciling").reason == "Training"
    world.to_ready()
    assert world.started == ["convert-2", "evaluate-2", "publish-2"]
    assert len(world.status.history) == 2


@pytest.mark.parametrize("edit", [{}, {"training__podTemplate": {"resources": {"limits": {"memory": "4Gi"}}}}])
def test_a_stage_that_waits_for_a_person_goes_on_waiting(edit: dict[str, object]) -> None:
    world = upgraded("outOfMemory")
    world.step(7200)
    assert world.started == []
    assert world.condition("Stalled").reason == "OOMKilled"
    if edit:
        world.edit(**edit)
        world.step()
        assert world.started == ["train-2"]


SITUATIONS = ("ready", "training", "retraining", "rolling", "waiting", "stalled", "suspended")


def as_recorded(file: str, situation: str) -> World:
    """Return a recorded model with its spec, claim, server and Jobs."""
    found = json.loads((ROOT / "tests" / "fixtures" / "status" / f"{file}.json").read_bytes())[situation]
    runs = TypeAdapter(tuple[Run, ...]).validate_python(found["runs"])
    server = found["server"]
    return World(
        spec=found["spec"],
        generation=found["generation"],
        now=datetime.fromisoformat(found["now"]),
        status=SpeechModelStatus.model_validate(found["status"]),
        claim=Claim("espejo-workspace", found["claim"], owned=False),
        server=Server(server["version"], server["replicas"], server["ready"], server["settled"]) if server else None,
        runs={run.name: run for run in runs},
    )


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_status_with_the_gate_starts_and_stops_nothing(situation: str) -> None:
    world = as_recorded("with_the_gate", situation)
    before = world.status
    plan = world.step(0)
    assert (plan.start, plan.stop, world.started) == (None, (), [])
    assert world.status.stages == before.stages
    assert world.status.model == before.model
    writes = world.writes
    world.step(0)
    assert world.writes == writes, "the second step finds nothing to write"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_model_of_the_first_release_goes_on_serving_while_it_is_made_again(situation: str) -> None:
    """Its keys are others, because training hears more and is given more than it was then (CHANGELOG)."""
    world = as_recorded("first_release", situation)
    before = world.status
    ready = world.condition("Ready").status
    plan = world.step(0)
    assert (plan.serving.model.version if plan.serving else None) == (before.model.version if before.model else None)
    assert world.status.model == before.model
    if ready == "True":
        assert world.condition("Ready").status == "True"
    if situation != "suspended":
        world.bury()
        world.to_ready()
