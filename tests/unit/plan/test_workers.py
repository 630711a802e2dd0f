"""Training by several workers, in the life of one SpeechModel."""

from dataclasses import replace
from typing import Any

import pytest
from speechmodel_api.reasons import Reason
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.status import StageState
from speechmodel_plan.observed import RunState, Trouble
from speechmodel_plan.stages.train import TRAIN
from support.world import SPEC, World


@pytest.fixture
def world() -> World:
    world = World()
    world.edit(training__numWorkers=4)
    world.until(StageName.TRAIN)
    return world


def test_training_gets_the_number_of_workers_and_other_stages_have_one(world: World) -> None:
    assert world.plan and world.plan.start
    assert isinstance(document := world.plan.start.document, TrainInput)
    assert (world.plan.start.workers, document.workers) == (4, 4)
    world.finish()
    world.step()
    assert world.plan.start
    assert (world.plan.start.stage, world.plan.start.workers) == (StageName.CONVERT, 1)


def test_the_status_counts_the_workers_while_they_train(world: World) -> None:
    (name,) = (name for name, run in world.runs.items() if run.state is RunState.RUNNING)
    waiting = Trouble(Reason.WAITING_FOR_WORKERS, "3 of 4 pods run")
    world.runs[name] = replace(world.runs[name], workers_ready=3, trouble=waiting)
    world.step()
    assert world.status.workers_ready == "3/4"
    assert (world.condition("Trained").reason, world.condition("Trained").message) == (waiting.reason, waiting.message)
    world.finish()
    world.step()
    assert world.status.workers_ready is None


def test_the_pods_of_all_workers_cost(world: World) -> None:
    world.step(100)
    world.finish()
    world.step()
    active = world.stage(StageName.TRAIN).active_seconds
    assert world.status.training and active
    assert world.status.training.pod_seconds == 4 * active
    world.edit(training__numWorkers=8)
    world.step()
    assert world.status.training.pod_seconds == 4 * active, "what was spent does not change with the spec"


def test_each_attempt_costs_its_own_workers(world: World) -> None:
    world.step(100)
    world.edit(training__numWorkers=2)
    world.step()
    four = world.stage(StageName.TRAIN).active_seconds
    assert four
    world.bury()
    world.until(StageName.TRAIN)
    world.step(50)
    world.finish()
    world.step()
    total = world.stage(StageName.TRAIN).active_seconds
    assert total and total > four and world.status.training
    assert world.status.training.pod_seconds == 4 * four + 2 * (total - four)


def test_a_training_that_an_earlier_release_finished_keeps_its_cost(world: World) -> None:
    world.to_ready()
    training = world.status.training
    assert training
    stages = tuple(stage.model_copy(update={"pod_seconds": None}) for stage in world.status.stages)
    older = {"stages": stages, "training": training.model_copy(update={"pod_seconds": 1234})}
    world.status = world.status.model_copy(update=older)
    world.step()
    assert world.status.training and world.status.training.pod_seconds == 1234


@pytest.mark.parametrize(
    "ended",
    [
        {"code": 143, "reason": "Stopped"},
        {"code": 75, "reason": "WorkerLost", "trouble": Trouble(Reason.NODE_LOST, "the node is gone")},
    ],
)
def test_a_set_that_was_stopped_or_lost_its_node_starts_again_at_once_and_fails_in_no_way(
    world: World, ended: dict[str, object]
) -> None:
    for attempt in range(1, 20):
        world.fail(**ended)  # type: ignore[arg-type]
        world.step()
        assert world.started[-1] == f"train-{attempt + 1}"
        assert world.stage(StageName.TRAIN).failures == 0


@pytest.mark.parametrize("reason", [Reason.NODE_LOST, Reason.PREEMPTED, Reason.POD_STUCK])
def test_a_set_whose_lost_pod_is_gone_when_it_ends_fails_in_no_way(world: World, reason: Reason) -> None:
    (name,) = (name for name, run in world.runs.items() if run.state is RunState.RUNNING)
    for trouble in (Trouble(reason, "the node is gone"), Trouble(Reason.WAITING_FOR_WORKERS, "3 of 4 pods run"), None):
        world.runs[name] = replace(world.runs[name], trouble=trouble)
        world.step()
        assert world.condition("Trained").reason == reason
    world.fail(75, "WorkerLost", "worker 2 did not answer")
    world.step()
    assert world.started[-1] == "train-2"
    record = world.stage(StageName.TRAIN)
    assert (record.failures, record.reason) == (0, None)


def test_an_error_of_its_own_counts_after_a_lost_worker_too(world: World) -> None:
    (name,) = (name for name, run in world.runs.items() if run.state is RunState.RUNNING)
    world.runs[name] = replace(world.runs[name], trouble=Trouble(Reason.NODE_LOST, "the node is gone"))
    world.step()
    world.fail(75, "SystemError", "the disk is gone", trouble=None)
    world.step()
    assert world.stage(StageName.TRAIN).failures == 1


def test_a_set_that_lost_a_worker_is_retried_after_a_delay(world: World) -> None:
    world.fail(75, "WorkerLost", "worker 2 did not answer")
    world.step()
    record = world.stage(StageName.TRAIN)
    assert (record.state, record.failures, record.reason) == (StageState.WAITING, 1, "WorkerLost")
    world.step(31)
    assert world.started[-1] == "train-2"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"training__numWorkers": 2}, {"training__numWorkers": 8}),
        ({"training__precision": "BFloat16"}, {"training__precision": "Auto"}),
    ],
)
def test_another_way_to_compute_restarts_training_and_trains_nothing_again(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    world = World()
    world.until(StageName.TRAIN)
    world.edit(**first)
    world.step()
    assert world.plan
    assert [run.stage for run in world.plan.stop] == [StageName.TRAIN]
    assert world.condition("Trained").reason == Reason.SUPERSEDED
    world.bury()
    world.to_ready()
    started = list(world.started)
    world.edit(**second)
    world.to_ready()
    assert world.started == started


def test_a_precision_that_coqui_does_not_have_restarts_nothing() -> None:
    def settings(**training: str) -> dict[str, Any]:
        return TRAIN.settings(SpeechModelSpec.model_validate(SPEC | {"training": training}))

    assert settings(engine="CoquiSTT", precision="Float32") == settings(engine="CoquiSTT")
    assert settings(precision="Float32") != settings()
